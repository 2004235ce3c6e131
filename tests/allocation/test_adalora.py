"""AdaLoRA's schedule is really called, and its state survives a pause."""

from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from tiny_models import make_model

from autopeft.allocation.adalora import AdaLoraCallback, allocator_state, restore_allocator
from autopeft.domain.architecture import Architecture, Module, canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.allocation import deployed, schedule
from autopeft.domain.networks.counting import known_metrics
from autopeft.training.inject import build
from autopeft.training.loading.model import load_base
from autopeft.training.loading.shapes import model_shape

STEPS = 10
LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 16, "target_modules": ["query", "value"]}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = make_model("bert", tmp_path_factory.mktemp("bert"), "SEQ_CLS")
    model = {"model_name_or_path": str(folder), "task_type": "SEQ_CLS"}
    shape = model_shape(model, folder=".", num_labels=2)
    return shape, load_base(model, folder=".", labels=("a", "b"), head=shape.head)


@pytest.fixture
def configuration(host):
    tree = {"modules": [LORA], "allocation": "adalora"}
    return canonical(tree, branch="b", shape=host[0], training={}, defaults=PEFT_DEFAULTS)


def make(host, configuration):
    return build(host[1], configuration, task_type="SEQ_CLS", total_steps=STEPS, seed=0)


def train(model, steps, callback):
    """Plain steps, the callback where the Trainer has its hook."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    inputs = torch.arange(48).reshape(4, 12)
    for step in steps:
        model(input_ids=inputs, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
        optimiser.step()
        callback.on_optimizer_step(None, SimpleNamespace(global_step=step), None, model=model)
        optimiser.zero_grad()


def ranks(model):
    return [
        int((parameter != 0).sum())
        for name, parameter in model.named_parameters()
        if "lora_E" in name
    ]


def test_the_ranks_end_at_the_budget_and_without_the_call_they_do_not(host, configuration):
    model, silent = make(host, configuration), make(host, configuration)
    train(model, range(STEPS), AdaLoraCallback())
    train(silent, range(STEPS), SimpleNamespace(on_optimizer_step=lambda *a, **k: None))
    targets = len(configuration.architecture.modules[0].targets)
    assert sum(ranks(model)) == 4 * targets
    assert sum(ranks(silent)) == 6 * targets


def test_the_saved_adapter_is_as_large_as_counted_and_predicts_the_same(
    host, configuration, tmp_path
):
    shape, base = host
    model = make(host, configuration)
    train(model, range(STEPS), AdaLoraCallback())
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base.copy(1), tmp_path)
    stored = sum(p.numel() for name, p in loaded.named_parameters() if "lora_" in name)
    assert stored == known_metrics(configuration.architecture, shape)["adapter_params"]
    inputs = torch.arange(48).reshape(4, 12)
    expected = model.eval()(input_ids=inputs).logits
    assert torch.allclose(loaded.eval()(input_ids=inputs).logits, expected, atol=1e-6)


def test_the_allocator_goes_on_from_its_own_state(host, configuration):
    model = make(host, configuration)
    train(model, range(4), AdaLoraCallback())
    state = {
        kind: {name: tensor.clone() for name, tensor in tensors.items()}
        for kind, tensors in allocator_state(model).items()
    }
    assert set(state) == {"ipt", "exp_avg_ipt", "exp_avg_unc"}
    assert all(state.values())
    other = make(host, configuration)
    pattern = model.peft_config["default"].rank_pattern
    restore_allocator(other, state, pattern)
    assert other.peft_config["default"].rank_pattern == pattern
    for kind, tensors in allocator_state(other).items():
        assert all(torch.equal(tensors[name], state[kind][name]) for name in state[kind])


def test_the_schedule_defaults_to_shares_of_the_run_and_keeps_what_is_given():
    assert schedule({}, 100) == {"tinit": 10, "tfinal": 30, "total_step": 100}
    assert schedule({"tinit": 0, "tfinal": 0}, 100) == {"tinit": 0, "tfinal": 0, "total_step": 100}
    with pytest.raises(ValueError, match="needs tinit < total steps - tfinal, got tinit=8"):
        schedule({"tinit": 8, "tfinal": 2}, 10)


def test_an_explicit_schedule_of_zero_is_not_taken_for_an_absent_one(host):
    module = {"peft_type": "ADALORA", "target_modules": ["query"], "tinit": 0}
    made = canonical(
        {"modules": [module]}, branch="b", shape=host[0], training={}, defaults=PEFT_DEFAULTS
    )
    assert made.architecture.modules[0].fields["tinit"] == 0


def test_a_lora_module_under_adalora_becomes_one_that_starts_larger():
    module = Module("LORA", {"r": 4, "lora_alpha": 16}, targets=("a",), layers=(0,))
    (found,) = deployed(Architecture((module,), ("adalora", {"init_r": 8})))
    assert found.peft_type == "ADALORA"
    assert found.fields == {"lora_alpha": 16, "init_r": 8, "target_r": 4}


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (Module("IA3", {}), {}, "allocation adalora takes LORA modules, got IA3"),
        (Module("LORA", {"r": 4, "use_dora": True}), {}, "has no place for use_dora"),
        (Module("LORA", {"r": 4}), {"init_r": 4}, "needs target_r < init_r, got target_r=4"),
    ],
)
def test_an_allocation_that_does_not_fit_says_why(module, options, message):
    with pytest.raises(ValueError, match=message):
        deployed(Architecture((module,), ("adalora", options)))
