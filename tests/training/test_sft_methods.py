"""Every method that fits a language model trains with TRL's own trainer, or is refused before."""

import pytest
import torch
from domain.matrix import module_of, placed, tiny_shape
from training.test_sft import no_report, segment, shape, spec  # noqa: F401 - two are fixtures

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.networks.capabilities import SEARCHABLE
from autopeft.domain.rules.fit import unfit
from autopeft.domain.rules.trainer_rules import refuse_untrainable
from autopeft.domain.trial import Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator

KINDS = sorted(SEARCHABLE)
RECIPE = {"learning_rate": 5e-3, "per_device_train_batch_size": 4, "max_steps": 3}
REFUSED = {
    "ADAPTION_PROMPT": "stands between the model and the head",
    "CARTRIDGE": "gradient_checkpointing: false",
    "CPT": "SFTTrainer does not make",
    "PREFIX_TUNING": "gradient_checkpointing: false",
}


@pytest.fixture(scope="module")
def worker(spec, tmp_path_factory):  # noqa: F811
    return TrialEvaluator(spec, tmp_path_factory.mktemp("home"))


def configuration_of(kind, **recipe):
    module = module_of(kind, "llama", tiny_shape("llama"))
    return Configuration("b", Architecture((module,)), RECIPE | recipe)


def run(worker, configuration):
    trial = KINDS.index(configuration.architecture.modules[0].peft_type)
    return worker.run(Segment("sft", trial, configuration, 0, 0, Stop(), False, True), no_report)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in REFUSED])
def test_it_trains(worker, kind):
    result = run(worker, configuration_of(kind))
    assert isinstance(result, Result), result
    assert result.step == 3
    assert result.metrics["eval_loss"] > 0


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_trainer_cannot_train_is_refused_before(worker, shape, kind):  # noqa: F811
    configuration = configuration_of(kind)
    assert unfit(configuration.architecture.modules[0], shape=shape, task_type="CAUSAL_LM") is None
    with pytest.raises(ValueError, match=REFUSED[kind]):
        refuse_untrainable(configuration, shape, "trl.SFTTrainer")
    if "checkpointing" in REFUSED[kind]:
        stored = configuration_of(kind, gradient_checkpointing=False)
        refuse_untrainable(stored, shape, "trl.SFTTrainer")
        assert isinstance(run(worker, stored), Result)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("PROMPT_TUNING", "label_smoothing_factor", 0.1),
        ("P_TUNING", "neftune_noise_alpha", 5.0),
        ("P_TUNING", "packing", True),
        ("PREFIX_TUNING", "padding_free", True),
    ],
)
def test_prompts_are_refused_with_what_does_not_know_them(shape, kind, field, value):  # noqa: F811
    length = None if field == "padding_free" else 64  # what is not padded is not cut
    recipe = {"gradient_checkpointing": False, "max_length": length, field: value}
    with pytest.raises(ValueError, match=f"{field} .*{value}: remove it"):
        refuse_untrainable(configuration_of(kind, **recipe), shape, "trl.SFTTrainer")
    for other in ("LORA", "LAYER_PREFIX"):
        refuse_untrainable(configuration_of(other, **recipe), shape, "trl.SFTTrainer")


@pytest.mark.parametrize(
    ("kind", "apart"), [("LAYER_PREFIX", True), ("PREFIX_TUNING", False), ("PROMPT_TUNING", False)]
)
def test_texts_that_share_a_row_see_each_other_under_the_prompts_of_peft(kind, apart):
    model = placed(kind, "llama").model().eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    first, second = torch.randint(3, 90, (1, 6)), torch.randint(3, 90, (1, 5))
    positions = torch.tensor([[*range(6), *range(5)]])
    with torch.no_grad():
        alone = model(input_ids=second, use_cache=False).logits[:, -5:]
        row = torch.cat([first, second], 1)
        packed = model(input_ids=row, position_ids=positions, use_cache=False).logits[:, -5:]
    assert torch.allclose(alone, packed, atol=1e-5) == apart


def test_trained_tokens_are_refused_where_the_head_is_tied_to_them():
    gpt2 = tiny_shape("gpt2")
    module = module_of("TRAINABLE_TOKENS", "gpt2", gpt2)
    with pytest.raises(ValueError, match="SFTTrainer takes no wrapped head"):
        refuse_untrainable(
            Configuration("b", Architecture((module,)), RECIPE), gpt2, "trl.SFTTrainer"
        )
