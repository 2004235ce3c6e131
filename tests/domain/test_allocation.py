"""What an allocation makes of the modules, in figures."""

from dataclasses import replace

import pytest
from fakes import bert_shape
from hypothesis import given
from hypothesis import strategies as st

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.allocation import deployed, growth, rank_budget, with_ranks
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.networks.peft_config import peft_arguments
from autopeft.domain.rules.fit import refuse_unfit

SHAPE = bert_shape()
LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 16, "target_modules": ["query", "value"]}


def architecture(allocation, *modules, **branch):
    tree = {"modules": list(modules or (LORA,)), "allocation": allocation, **branch}
    return canonical(
        tree, branch="b", shape=SHAPE, training={}, defaults=PEFT_DEFAULTS
    ).architecture


def scaling(module, target):
    """lora_alpha / r of a target, as PEFT reads the patterns."""
    alpha = module.fields["alpha_pattern"][target]
    rank = module.fields["rank_pattern"][target]
    return alpha / rank**0.5 if module.fields.get("use_rslora") else alpha / rank


@pytest.mark.parametrize("allocation", ["ist", "lisa", {"owlore": {"gamma": 3}}])
def test_what_changes_the_updates_deploys_what_uniform_deploys(allocation):
    sampled, uniform = architecture(allocation), architecture("uniform")
    assert [m.document() for m in deployed(sampled)] == [m.document() for m in deployed(uniform)]
    assert known_metrics(sampled, SHAPE) == known_metrics(uniform, SHAPE)
    assert sampled != uniform


@pytest.mark.parametrize("allocation", ["spt", "random", "eva"])
def test_equal_shapes_cost_their_budget_whatever_ranks_are_found(allocation):
    found = architecture(allocation)
    assert known_metrics(found, SHAPE) == known_metrics(architecture("uniform"), SHAPE)


def test_unequal_shapes_are_counted_at_the_most_that_the_budget_buys():
    wide = LORA | {"target_modules": ["query", "intermediate.dense"]}
    budget = 4 * 2 * SHAPE.layers
    most = known_metrics(architecture({"random": {"max_r": 6}}, wide), SHAPE)["adapter_params"]
    width, inner = 64, next(m.outputs for m in SHAPE.modules if m.role == "feed_forward.up")
    up = 6 * SHAPE.layers  # every feed-forward module at the highest rank
    assert most == up * (width + inner) + (budget - up) * 2 * width


def test_what_grows_is_trained_at_its_largest_and_stored_at_its_budget():
    known = known_metrics(architecture({"increlora": {"max_r": 10}}), SHAPE)
    uniform = known_metrics(architecture("uniform"), SHAPE)
    largest = known_metrics(architecture("uniform", LORA | {"r": 10}), SHAPE)
    assert known["adapter_params"] == uniform["adapter_params"]
    assert known["trainable_params"] == largest["trainable_params"]


@pytest.mark.parametrize("rslora", [False, True])
def test_ranks_change_no_scaling_and_zero_leaves_a_target_out(rslora):
    (module,) = architecture("random", LORA | {"use_rslora": rslora}).modules
    ranks = dict.fromkeys(module.targets, 4) | {module.targets[0]: 0, module.targets[1]: 8}
    found = with_ranks(module, ranks)
    assert found.targets == module.targets[1:]
    uniform = 16 / 4**0.5 if rslora else 16 / 4
    assert all(scaling(found, target) == pytest.approx(uniform) for target in found.targets)


def test_ranks_that_nobody_found_yet_are_no_config():
    found = architecture("spt")
    with pytest.raises(ValueError, match="spt finds the ranks before the first step"):
        peft_arguments(found, task_type="SEQ_CLS", total_steps=10)
    ranks = dict.fromkeys(found.modules[0].targets, 4)
    (arguments,) = peft_arguments(found, task_type="SEQ_CLS", total_steps=10, ranks=ranks)
    assert arguments["rank_pattern"] == ranks


@given(steps=st.integers(30, 5000), rank=st.integers(1, 16), least=st.integers(1, 16))
def test_growth_spends_its_budget_before_the_end(steps, rank, least):
    lora = LORA | {"r": max(rank, least)}
    found = architecture({"increlora": {"init_r": least}}, lora)
    plan = growth(found, steps)
    components = (max(rank, least) - least) * len(found.modules[0].targets)
    rounds = -(-components // min(plan.grown, len(found.modules[0].targets)))
    assert plan.warm_up + rounds * plan.period <= steps


def test_a_run_too_short_to_grow_is_refused():
    with pytest.raises(ValueError, match=r"IncreLoRA needs .* steps to spend its budget of"):
        growth(architecture({"increlora": {"period": 50, "grown": 1}}), 100)


@pytest.mark.parametrize(
    ("allocation", "module", "message"),
    [
        ("adalora", {"peft_type": "IA3", "target_modules": "key"}, "adalora takes LORA modules"),
        ("spt", LORA | {"use_dora": True}, "spt has no place for use_dora"),
        ("eva", LORA | {"lora_bias": True}, "eva has no place for lora_bias"),
        ("increlora", LORA | {"init_lora_weights": "pissa"}, "a LoRA that starts at B = 0"),
        ("ist", LORA | {"init_lora_weights": "olora"}, "nothing of the pretrained weights"),
        ("ist", {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, "modules inside layers"),
        ({"random": {"max_r": 3}}, LORA, "needs 0 <= r <= 3, its bounds of a module's rank"),
        ({"lisa": {"gamma": 9}}, LORA, "chooses among 9 layers or more, got 6"),
    ],
)
def test_what_does_not_fit_together_is_refused(allocation, module, message):
    found = architecture(allocation, module)
    with pytest.raises(ValueError, match=message):
        _refuse(found)


def _refuse(found):
    known_metrics(found, SHAPE)
    refuse_unfit(found, shape=SHAPE, task_type="SEQ_CLS")


def test_options_at_their_default_are_no_other_architecture():
    assert architecture("lisa") == architecture({"lisa": {"gamma": 2, "period": 20}})
    assert architecture("lisa") != architecture({"lisa": {"gamma": 3}})


def test_two_modules_do_not_grow_together():
    found = architecture("increlora", LORA, LORA | {"target_modules": ["key"]})
    with pytest.raises(ValueError, match="increlora grows one LORA module, got 2"):
        deployed(found)


def test_a_budget_is_that_of_its_module():
    found = architecture({"eva": {"rho": 1.5}})
    (module,) = found.modules
    assert vars(rank_budget(found, module)) == {"r": 4, "lowest": 0, "highest": 6}
    assert vars(rank_budget(found, replace(module, fields={"r": 10})))["highest"] == 15
