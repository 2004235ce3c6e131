"""LoRA that starts by data, in a trial: counted, trained, paused to the same bits, loaded."""

from dataclasses import replace
from functools import cache
from itertools import count

import pytest
from benches import make_bench

from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.rules.fit import refuse_unfit, unfit
from autopeft.domain.trial import Failure, FailureReason, Result
from autopeft.training.inject import UnfitError, build

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
LONG = pytest.mark.long
NUMBERS = count()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """family -> a bench, made on demand: 12 steps an epoch."""
    return cache(lambda family: make_bench(tmp_path_factory.mktemp(family), family, rows=64))


def configured(on, *modules, **tree):
    return on.configured({"modules": list(modules), **tree}, RECIPE)


def reloaded_loss(on, trial):
    return on.loss(on.reloaded(trial))


@pytest.mark.parametrize(
    ("variant", "init"),
    [
        pytest.param(variant, init, marks=() if variant == "plain" or init == "corda" else LONG)
        for variant in VARIANTS
        for init in INITS
    ],
)
def test_what_is_counted_is_stored_and_gives_the_outputs_that_were_measured(bench, variant, init):
    on = bench("bert")
    configuration = configured(on, LORA | VARIANTS[variant] | INITS[init])
    refuse_unfit(configuration.architecture, shape=on.shape, task_type="SEQ_CLS")
    trial = next(NUMBERS)
    result = on.run(configuration, trial)
    assert isinstance(result, Result), result
    known = known_metrics(configuration.architecture, on.shape)
    tensors = on.stored_adapter(trial)
    assert sum(t.numel() for t in tensors.values()) == known["adapter_params"]
    assert sum(t.numel() * t.itemsize for t in tensors.values()) == known["adapter_bytes"]
    assert reloaded_loss(on, trial) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("family", "init"),
    [
        *(("gpt2", init) for init in INITS),  # whose maps are transposed
        ("llama", "lora_ga"),
        *(pytest.param("llama", init, marks=LONG) for init in ("eva", "corda", "kpm")),
        *(pytest.param("distilbert", init, marks=LONG) for init in INITS),
    ],
)
def test_other_families_start_by_data_too(bench, family, init):
    on = bench(family)
    module = GPT2 if family == "gpt2" else LORA
    trial = next(NUMBERS)
    result = on.run(configured(on, module | INITS[init], layers={"last": 2}), trial)
    assert isinstance(result, Result), result
    assert reloaded_loss(on, trial) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


@pytest.mark.parametrize("init", INITS)
def test_a_pause_changes_no_bit(bench, init):
    on = bench("bert")
    on.check_pause(configured(on, LORA | INITS[init]), next(NUMBERS), next(NUMBERS))


@pytest.mark.parametrize("init", INITS)
def test_trained_is_the_rank_and_nothing_more(bench, init):
    on = bench("bert")
    configuration = configured(on, LORA | INITS[init])
    base = on.base()
    plain = configured(on, LORA)
    model = build(base, plain, task_type="SEQ_CLS", total_steps=6, seed=0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    known = known_metrics(configuration.architecture, on.shape)
    assert known["trainable_params"] == trained
    as_plain = known_metrics(plain.architecture, on.shape)["adapter_params"]
    assert known["adapter_params"] == (2 if init in REWRITING else 1) * as_plain
    with pytest.raises(UnfitError, match="looks at data before training, got none"):
        build(base, configuration, task_type="SEQ_CLS", total_steps=6, seed=0)


@pytest.mark.parametrize("init", INITS)
def test_the_adapter_starts_at_the_outputs_of_the_base_and_not_where_lora_does(bench, init):
    """A step so small that nothing has moved: the loss is the base's, A is not LoRA's."""
    on = bench("bert")
    still = {"training": {"learning_rate": 1e-12, "max_steps": 1}}
    trials = {}
    for name, fields in {"plain": {}, "by data": INITS[init]}.items():
        trials[name] = next(NUMBERS)
        result = on.run(configured(on, LORA | fields, **still), trials[name])
        trials[name, "loss"] = result.metrics["eval_loss"]
    assert trials["by data", "loss"] == pytest.approx(trials["plain", "loss"], abs=1e-6)
    plain, started = (on.stored(trials[name]) for name in ("plain", "by data"))
    name = next(name for name in plain if name.endswith("lora_A.weight"))
    assert (started[name][:4] - plain[name]).abs().max() > 1e-3


@pytest.mark.parametrize("init", ["corda", "lora_ga"])
def test_ranks_found_before_training_go_with_a_rewritten_base(bench, init):
    on = bench("bert")
    module = LORA | INITS[init] | {"target_modules": "attention.query"}
    configuration = configured(on, module, allocation={"random": {"max_r": 8, "min_r": 1}})
    refuse_unfit(configuration.architecture, shape=on.shape, task_type="SEQ_CLS")
    trial = next(NUMBERS)
    result = on.run(configuration, trial)
    assert isinstance(result, Result), result
    ranks = {
        name.split("base_model.model.")[1].removesuffix(".lora_A.weight"): len(tensor)
        for name, tensor in on.stored(trial).items()
        if name.endswith("lora_A.weight")
    }
    assert ranks == {name: 2 * rank for name, rank in result.provenance["ranks"].items()}
    assert reloaded_loss(on, trial) == pytest.approx(result.metrics["eval_loss"], abs=1e-5)


@pytest.fixture(scope="module")
def half_precision(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("half"), "llama", rows=64, dtype="bfloat16")


@pytest.mark.parametrize("init", REWRITING)
def test_in_half_precision_only_the_rounding_of_the_base_is_lost(half_precision, init):
    """W - s B0 A0 is rounded to bfloat16, which the stored adapter cannot know."""
    on = half_precision
    trial = next(NUMBERS)
    result = on.run(configured(on, LORA | INITS[init]), trial)
    assert isinstance(result, Result), result
    assert reloaded_loss(on, trial) == pytest.approx(result.metrics["eval_loss"], abs=5e-3)


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
    on = bench("bert")
    (module,) = configured(on, LORA | fields).architecture.modules
    assert reason in (unfit(module, shape=on.shape, task_type="SEQ_CLS") or "fits")


@pytest.mark.parametrize("init", INITS)
def test_a_quantised_base_is_refused(bench, init):
    on = bench("bert")
    (module,) = configured(on, LORA | INITS[init]).architecture.modules
    reason = unfit(module, shape=on.shape, task_type="SEQ_CLS", quantized=True)
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
    on = bench("bert")
    others = more.pop("modules", [])
    configuration = configured(on, LORA | INITS[init], *others, **more)
    with pytest.raises(ValueError, match=reason):
        refuse_unfit(configuration.architecture, shape=on.shape, task_type="SEQ_CLS")


def test_too_few_tokens_for_eva_are_a_failure_that_says_so(bench):
    on = bench("bert")
    module = LORA | INITS["eva"] | {"r": 16}
    on.evaluator._open()
    whole = on.evaluator._bench
    on.evaluator._bench = replace(whole, train=whole.train.select(range(2)))
    result = on.run(configured(on, module), next(NUMBERS))
    on.evaluator._bench = whole
    assert isinstance(result, Failure)
    assert result.reason is FailureReason.UNFIT
    assert "init eva at r=16 needs 32 tokens in a batch" in result.message


def test_components_that_never_settle_are_a_failure_that_says_so(bench):
    on = bench("bert")
    module = LORA | {"init_lora_weights": "eva", "eva_config": {"tau": 1.0}}
    result = on.run(configured(on, module), next(NUMBERS))
    assert isinstance(result, Failure)
    assert "have not settled after" in result.message
