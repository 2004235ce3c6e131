"""LoRA that starts by data, in a trial: counted, trained, paused to the same bits, loaded."""

import copy
import json
from dataclasses import replace
from itertools import count

import pytest
import torch
from fakes import study_spec
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.counting import known_metrics
from autopeft.domain.fit import refuse_unfit, unfit
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.inject import UnfitError, build
from autopeft.training.model import load_base, model_shape

RECIPE = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "num_train_epochs": 1}
ROLES = ["attention.query", "attention.value", "feed_forward.up", "feed_forward.down"]
LORA = {"peft_type": "LORA", "r": 4, "lora_dropout": 0.1, "target_modules": ROLES}
GPT2 = LORA | {"target_modules": ["c_attn", "mlp.c_proj"]}  # of Conv1D
INITS = {
    "eva": {"init_lora_weights": "eva", "eva_config": {"tau": 0.95}},
    "corda": {"init_lora_weights": "corda"},
    "kpm": {"init_lora_weights": "corda", "corda_config": {"corda_method": "kpm"}},
    "lora_ga": {"init_lora_weights": "lora_ga", "lora_ga_config": {"scale": "weight_svd"}},
}
REWRITING = ("corda", "kpm", "lora_ga")
VARIANTS = {
    "plain": {},
    "an odd rank": {"r": 5},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "biases": {"bias": "lora_only"},
}
NUMBERS = count()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """family -> (spec, evaluator, shape, home), made on demand: 12 steps an epoch."""
    folder = tmp_path_factory.mktemp("inits")
    rows = [{"text": f"after {i % 9} comes {i % 7}", "label": i % 2} for i in range(64)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = {}

    def on(family, **model):
        key = family + "".join(model.values())
        if key not in made:
            make_model(family, folder / family, "SEQ_CLS")
            spec = replace(
                study_spec(name="inits"),
                model={"model_name_or_path": family, "task_type": "SEQ_CLS", **model},
                data={
                    "train": {"path": "json", "data_files": "train.jsonl"},
                    "validation": {"carve": 0.25, "from": "train", "seed": 0},
                },
                training={},
                folder=str(folder),
            )
            shape = model_shape(spec.model, folder=spec.folder, num_labels=2)
            made[key] = spec, TrialEvaluator(spec, folder / key), shape, folder / key
        return made[key]

    return on


def configured(shape, *modules, **tree):
    tree = {"modules": list(modules), **tree}
    return canonical(tree, branch="b", shape=shape, training=RECIPE, defaults=PEFT_DEFAULTS)


def run(evaluator, configuration, trial, *, stop=None, rung=0, last=True):
    segment = Segment("inits", trial, configuration, 0, rung, stop or Stop(), rung > 0, last)
    return evaluator.run(segment, lambda step, metrics: None)


def stored(home, trial):
    return load_file(home / "inits" / "adapters" / f"trial-{trial}" / "adapter_model.safetensors")


def reloaded_loss(bench_of_family, trial):
    """The mean loss on validation of the stored folder, on the base as PEFT loads it."""
    spec, evaluator, shape, home = bench_of_family
    base = load_base(spec.model, folder=spec.folder, labels=("no", "yes"), head=shape.head)
    folder = home / "inits" / "adapters" / f"trial-{trial}"
    model = PeftModel.from_pretrained(copy.deepcopy(base.model), folder).eval()
    rows = evaluator._bench.validation
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows]
    truth = torch.tensor(rows["labels"])
    return torch.nn.functional.cross_entropy(torch.stack(logits).float(), truth).item()


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_counted_is_stored_and_gives_the_outputs_that_were_measured(bench, variant, init):
    spec, evaluator, shape, home = bench("bert")
    configuration = configured(shape, LORA | VARIANTS[variant] | INITS[init])
    refuse_unfit(configuration.architecture, shape=shape, task_type="SEQ_CLS")
    trial = next(NUMBERS)
    result = run(evaluator, configuration, trial)
    assert isinstance(result, Result), result
    known = known_metrics(configuration.architecture, shape)
    tensors = {
        name: tensor
        for name, tensor in stored(home, trial).items()
        if not set(name.split(".")) & set(shape.head)
    }
    assert sum(t.numel() for t in tensors.values()) == known["adapter_params"]
    assert sum(t.numel() * t.itemsize for t in tensors.values()) == known["adapter_bytes"]
    loss = reloaded_loss(bench("bert"), trial)
    assert loss == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "distilbert"])
def test_other_families_start_by_data_too(bench, family, init):
    _, evaluator, shape, _ = bench(family)
    module = GPT2 if family == "gpt2" else LORA
    trial = next(NUMBERS)
    result = run(evaluator, configured(shape, module | INITS[init], layers={"last": 2}), trial)
    assert isinstance(result, Result), result
    loss = reloaded_loss(bench(family), trial)
    assert loss == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


@pytest.mark.parametrize("init", INITS)
def test_a_pause_changes_no_bit(bench, init):
    _, evaluator, shape, home = bench("bert")
    configuration = configured(shape, LORA | INITS[init])
    whole, paused = next(NUMBERS), next(NUMBERS)
    result = run(evaluator, configuration, whole)
    run(evaluator, configuration, paused, stop=Stop(steps=3), last=False)
    torch.manual_seed(1234)  # what another trial drew in between
    resumed = run(evaluator, configuration, paused, rung=1)
    assert resumed.provenance["resumed"]
    assert resumed.metrics["eval_loss"] == result.metrics["eval_loss"]
    once, again = stored(home, whole), stored(home, paused)
    assert set(once) == set(again)
    assert all((once[name] == again[name]).all() for name in once)


@pytest.mark.parametrize("init", INITS)
def test_trained_is_the_rank_and_nothing_more(bench, init):
    spec, _, shape, _ = bench("bert")
    configuration = configured(shape, LORA | INITS[init])
    base = load_base(spec.model, folder=spec.folder, labels=("no", "yes"), head=shape.head)
    plain = configured(shape, LORA)
    model = build(base, plain, task_type="SEQ_CLS", total_steps=6, seed=0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    known = known_metrics(configuration.architecture, shape)
    assert known["trainable_params"] == trained
    as_plain = known_metrics(plain.architecture, shape)["adapter_params"]
    assert known["adapter_params"] == (2 if init in REWRITING else 1) * as_plain
    with pytest.raises(UnfitError, match="looks at data before training, got none"):
        build(base, configuration, task_type="SEQ_CLS", total_steps=6, seed=0)


@pytest.mark.parametrize("init", INITS)
def test_the_adapter_starts_at_the_outputs_of_the_base_and_not_where_lora_does(bench, init):
    """A step so small that nothing has moved: the loss is the base's, A is not LoRA's."""
    _, evaluator, shape, home = bench("bert")
    still = {"training": {"learning_rate": 1e-12, "max_steps": 1}}
    trials = {}
    for name, fields in {"plain": {}, "by data": INITS[init]}.items():
        trials[name] = next(NUMBERS)
        result = run(evaluator, configured(shape, LORA | fields, **still), trials[name])
        trials[name, "loss"] = result.metrics["eval_loss"]
    assert trials["by data", "loss"] == pytest.approx(trials["plain", "loss"], abs=1e-6)
    plain, started = (stored(home, trials[name]) for name in ("plain", "by data"))
    name = next(name for name in plain if name.endswith("lora_A.weight"))
    assert (started[name][:4] - plain[name]).abs().max() > 1e-3


@pytest.mark.parametrize("init", ["corda", "lora_ga"])
def test_ranks_found_before_training_go_with_a_rewritten_base(bench, init):
    _, evaluator, shape, home = bench("bert")
    module = LORA | INITS[init] | {"target_modules": "attention.query"}
    configuration = configured(shape, module, allocation={"random": {"max_r": 8, "min_r": 1}})
    refuse_unfit(configuration.architecture, shape=shape, task_type="SEQ_CLS")
    trial = next(NUMBERS)
    result = run(evaluator, configuration, trial)
    assert isinstance(result, Result), result
    ranks = {
        name.split("base_model.model.")[1].removesuffix(".lora_A.weight"): len(tensor)
        for name, tensor in stored(home, trial).items()
        if name.endswith("lora_A.weight")
    }
    assert ranks == {name: 2 * rank for name, rank in result.provenance["ranks"].items()}
    loss = reloaded_loss(bench("bert"), trial)
    assert loss == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


@pytest.mark.parametrize("init", REWRITING)
def test_in_half_precision_only_the_rounding_of_the_base_is_lost(bench, init):
    """W - s B0 A0 is rounded to bfloat16, which the stored adapter cannot know."""
    host = bench("llama", dtype="bfloat16")
    trial = next(NUMBERS)
    result = run(host[1], configured(host[2], LORA | INITS[init]), trial)
    assert isinstance(result, Result), result
    assert reloaded_loss(host, trial) == pytest.approx(result.metrics["eval_loss"], abs=5e-3)


REFUSED = [
    ({"init_lora_weights": "corda", "r": 33}, "init corda needs r of 32 or less"),
    ({"init_lora_weights": "lora_ga", "r": 17}, "init lora_ga needs r of 16 or less"),
    ({"init_lora_weights": "eva", "r": 17}, "init eva needs r of 16 or less"),
    ({"init_lora_weights": "eva", "eva_config": {"rho": 2.0}}, "eva_config takes rho 1, got 2.0"),
    ({"init_lora_weights": "eva", "rank_pattern": {"query": 2}}, "leave the pattern out"),
    (
        {"init_lora_weights": "corda", "corda_config": {"corda_method": "spm"}},
        "corda_config takes corda_method ipm, kpm, got 'spm'",
    ),
    (
        {"init_lora_weights": "corda", "corda_config": {"cache_file": "x.pt"}},
        "every trial looks anew",
    ),
    (
        {"init_lora_weights": "lora_ga", "lora_ga_config": {"direction": "up"}},
        "lora_ga_config takes direction ArBr",
    ),
    ({"init_lora_weights": "corda", "kasa_config": {}}, "starts a plain LoRA or DoRA"),
    ({"init_lora_weights": "eva", "lora_bias": True}, "lora_bias starts by init true alone"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_cannot_start_by_data_is_refused_with_the_rule(bench, fields, reason):
    shape = bench("bert")[2]
    (module,) = configured(shape, LORA | fields).architecture.modules
    assert reason in (unfit(module, shape=shape, task_type="SEQ_CLS") or "fits")


@pytest.mark.parametrize("init", INITS)
def test_a_quantised_base_is_refused(bench, init):
    shape = bench("bert")[2]
    (module,) = configured(shape, LORA | INITS[init]).architecture.modules
    reason = unfit(module, shape=shape, task_type="SEQ_CLS", quantized=True)
    assert "looks through the bare base, which no trainer takes quantised" in (reason or "fits")


@pytest.mark.parametrize(
    ("init", "more", "reason"),
    [
        ("corda", {"modules": [{"peft_type": "IA3", "target_modules": "key"}]}, "one module alone"),
        ("eva", {"allocation": "spt"}, "allocation spt finds others"),
        ("lora_ga", {"allocation": "ist"}, "must hold nothing of the pretrained weights"),
    ],
)
def test_company_that_breaks_the_start_is_refused(bench, init, more, reason):
    shape = bench("bert")[2]
    others = more.pop("modules", [])
    configuration = configured(shape, LORA | INITS[init], *others, **more)
    with pytest.raises(ValueError, match=reason):
        refuse_unfit(configuration.architecture, shape=shape, task_type="SEQ_CLS")


def test_too_few_tokens_for_eva_are_a_failure_that_says_so(bench):
    _, evaluator, shape, _ = bench("bert")
    module = LORA | INITS["eva"] | {"r": 16}
    evaluator._open()
    whole = evaluator._bench
    evaluator._bench = replace(whole, train=whole.train.select(range(2)))
    result = run(evaluator, configured(shape, module), next(NUMBERS))
    evaluator._bench = whole
    assert isinstance(result, Failure)
    assert result.reason is FailureReason.UNFIT
    assert "init eva at r=16 needs 32 tokens in a batch" in result.message


def test_components_that_never_settle_are_a_failure_that_says_so(bench):
    _, evaluator, shape, _ = bench("bert")
    module = LORA | {"init_lora_weights": "eva", "eva_config": {"tau": 1.0}}
    result = run(evaluator, configured(shape, module), next(NUMBERS))
    assert isinstance(result, Failure)
    assert "have not settled after" in result.message
