"""IncreLoRA grows to its budget, where it matters, and deploys a plain LoRA."""

from itertools import pairwise

import pytest
import torch
from peft import get_peft_model, set_peft_model_state_dict

from autopeft.allocation.grown import cut
from autopeft.allocation.increlora import IncreLora

GROWTH = {"target_r": 4, "init_r": 1, "period": 2, "grown": 3, "warm_up": 4}


def make(lab, family="bert", **fields):
    model = lab.peft(family, **{"r": 7, "lora_alpha": 14, **fields})
    return model, IncreLora(model, **GROWTH)


def test_the_total_rank_rises_to_the_target_and_stays(lab):
    model, strategy = make(lab)
    totals = []

    def watch(step):
        totals.append(sum(strategy.ranks.values()))

    steps = 4 + 2 * (8 * (4 - 1) // 3)  # the warm-up, then three of all ranks every second step
    lab.train(model, strategy, lab.optimizer(model), range(steps + 4), "bert", watch)
    assert totals[:4] == [8] * 4  # the warm-up
    assert all(0 <= after - before <= 3 for before, after in pairwise(totals))
    assert totals[steps - 2] < totals[steps - 1] == totals[-1] == 32
    assert max(strategy.ranks.values()) <= 7
    assert strategy.record() == {"ranks": strategy.ranks, "rank_budget": 32}


def test_a_held_component_stays_zero_and_a_granted_one_begins_with_no_effect(lab):
    model, strategy = make(lab)
    inputs = lab.batch("bert", 99)
    logits, ranks = [], []
    grow = strategy._grow

    def watched():
        model.eval()
        with torch.no_grad():
            before = model(**inputs).logits
            grow()
            logits.append(torch.equal(model(**inputs).logits, before))

    strategy._grow = watched

    def watch(step):
        for name, module in strategy._modules.items():
            assert not module.B[:, module.rank :].any(), name
        ranks.append(strategy.ranks)

    lab.train(model, strategy, lab.optimizer(model), range(22), "bert", watch)
    assert len(logits) > 5
    assert all(logits)
    assert ranks[0] != ranks[-1]
    assert all(module.B[:, : module.rank].any(0).all() for module in strategy._modules.values())


def test_the_modules_with_the_largest_gradients_grow_first(lab):
    model, strategy = make(lab)
    planted = [name for name in strategy.ranks if ".layer.2." in name or ".layer.0." in name]
    for name, module in strategy._modules.items():
        strength = 5.0 if name in planted else 1.0
        with torch.no_grad():
            module.B[:, 0] = 1.0
        module.A.grad = torch.full_like(module.A, strength)
        module.B.grad = torch.full_like(module.B, strength)
    strategy.on_pre_optimizer_step(None, None, None)
    strategy._grow()
    assert {name for name, rank in strategy.ranks.items() if rank == 2} < set(planted)


@pytest.mark.parametrize(
    ("family", "fields"), [("bert", {}), ("gpt2", {}), ("llama", {"use_rslora": True})]
)
def test_what_is_deployed_is_a_smaller_lora_with_the_same_logits(lab, family, fields, tmp_path):
    model, strategy = make(lab, family, **fields)
    lab.train(model, strategy, lab.optimizer(model), range(30), family)
    config, weights = cut(model, strategy.ranks)
    deployed = get_peft_model(lab.base(family), config)
    set_peft_model_state_dict(deployed, weights)
    assert {n: w.shape[0] for n, w in deployed.named_parameters() if "lora_A" in n} == {
        f"base_model.model.{name}.lora_A.default.weight": rank
        for name, rank in strategy.ranks.items()
    }
    assert len(set(strategy.ranks.values())) > 1
    inputs = lab.batch(family, 99)["input_ids"]
    expected = model.eval()(input_ids=inputs).logits
    assert torch.allclose(deployed.eval()(input_ids=inputs).logits, expected, atol=1e-5)
    untrained = lab.base(family).eval()(input_ids=inputs).logits
    assert not torch.allclose(untrained, expected, atol=1e-2)


def test_a_run_that_pauses_goes_on_to_the_same_bits(lab):
    expected, record = lab.unbroken(lambda: make(lab), "bert", 20)
    found, found_record = lab.paused(lambda: make(lab), "bert", 11, 20)
    assert found_record == record
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    forgetful, _ = lab.paused(lambda: make(lab), "bert", 11, 20, restoring=False)
    assert not all(torch.equal(forgetful[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("fields", "growth", "message"),
    [
        ({"r": 3}, {}, "needs 1 <= init_r <= target_r <= r .* target_r=4, r=3"),
        ({}, {"init_r": 0}, "got init_r=0"),
        ({}, {"period": 0}, "period and grown must be 1 or more, got 0 and 3"),
        ({"init_lora_weights": "pissa"}, {}, "needs LoRA that starts at B = 0"),
    ],
)
def test_what_does_not_fit_is_refused(lab, fields, growth, message):
    model = lab.peft("bert", **{"r": 7, **fields})
    with pytest.raises(ValueError, match=message):
        IncreLora(model, **{**GROWTH, **growth})


def test_a_model_without_lora_is_refused(lab):
    with pytest.raises(ValueError, match="grows LORA modules, got a model without any"):
        IncreLora(lab.peft("bert", "IA3"), **GROWTH)
