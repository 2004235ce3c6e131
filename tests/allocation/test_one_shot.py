"""Allocators before training spend exactly the budget, on what they look for, and leave no trace."""

import pytest
import torch

from autopeft.allocation.eva import eva_ranks, explained_variances
from autopeft.allocation.random_ranks import random_ranks
from autopeft.allocation.spt import sensitivities, spt_ranks

R, MAX_R = 4, 10


@pytest.fixture
def model(lab):
    return lab.base("bert").requires_grad_(False)


@pytest.fixture
def targets(model):
    return [n for n, _ in model.named_modules() if n.endswith((".query", "output.dense"))]


@pytest.fixture
def batches(lab):
    return [lab.batch("bert", seed) for seed in range(3)]


def allocations(model, targets, batches):
    return {
        "spt": spt_ranks(model, targets, batches, r=R, max_r=MAX_R),
        "random": random_ranks(targets, r=R, max_r=MAX_R, seed=1),
        "eva": eva_ranks(model, targets, batches, r=R, rho=2.5),
    }


def test_the_budget_is_spent_exactly_within_the_bounds(model, targets, batches):
    for ranks in allocations(model, targets, batches).values():
        assert list(ranks) == targets
        assert sum(ranks.values()) == R * len(targets)
        assert all(0 <= rank <= MAX_R for rank in ranks.values())
        assert len(set(ranks.values())) > 1


def test_the_same_again_gives_the_same_and_leaves_the_model_as_it_was(lab, model, targets, batches):
    before, modes = lab.snapshot(model), [m.training for m in model.train().modules()]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = allocations(model, targets, batches)
    torch.manual_seed(1)
    assert allocations(model, targets, batches) == first
    torch.manual_seed(0)
    allocations(model, targets, batches)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert [module.training for module in model.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_random_ranks_follow_their_seed_and_their_lowest(targets):
    first, second = (random_ranks(targets, r=R, max_r=MAX_R, seed=seed) for seed in (1, 2))
    assert first != second
    assert min(random_ranks(targets, r=R, max_r=MAX_R, min_r=2, seed=1).values()) == 2


def test_spt_gives_most_to_the_module_with_the_planted_gradient(model, targets, batches):
    planted = targets[3]
    # The same output with a thousand times the gradient.
    model.get_submodule(planted).register_forward_hook(
        lambda module, args, out: out + 999 * (out - out.detach())
    )
    found = sensitivities(model, targets, batches)
    assert max(found, key=found.get) == planted
    ranks = spt_ranks(model, targets, batches, r=R, max_r=MAX_R)
    assert max(ranks, key=ranks.get) == planted


def test_sensitivity_is_the_mean_squared_gradient_of_each_batch(model, targets, batches):
    name = targets[0]
    weight = model.get_submodule(name).weight
    found = sensitivities(model, [name], batches)[name]
    expected = 0.0
    weight.requires_grad_(True)
    for batch in batches:
        (gradient,) = torch.autograd.grad(model.eval()(**batch).loss, weight)
        expected += gradient.square().mean().item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_explained_variance_is_that_of_the_inputs_without_padding(model, targets, lab):
    name = "bert.encoder.layer.0.attention.self.query"
    batch = lab.batch("bert", 0, rows=8)
    mask = torch.ones(8, 12, dtype=torch.long)
    mask[:, 9:] = 0
    inputs = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda m, a: inputs.append(a[0]))
    model.eval()(**batch, attention_mask=mask)
    handle.remove()
    x = inputs[0][mask.bool()]
    variances = torch.linalg.svdvals(x - x.mean(0)).square()
    found = explained_variances(model, [name], [{**batch, "attention_mask": mask}], components=5)
    assert torch.allclose(found[name], (variances / variances.sum())[:5], atol=1e-4)


def test_eva_gives_most_to_the_module_whose_inputs_have_the_fewest_directions(model, batches):
    targets = [f"bert.encoder.layer.{i}.output.dense" for i in range(4)]
    with torch.no_grad():
        dense = model.bert.encoder.layer[2].intermediate.dense
        dense.weight[4:] = 0  # four directions that vary, the others constant
        torch.nn.init.orthogonal_(dense.weight[:4])
    ranks = eva_ranks(model, targets, batches, r=2, rho=2)
    assert ranks.pop(targets[2]) > max(ranks.values())
    assert eva_ranks(model, targets, batches, r=3, rho=1) == dict.fromkeys(targets, 3)


@pytest.mark.parametrize(
    ("rho", "chosen", "message"),
    [
        (0.5, slice(None), "rho must be 1 or more, got 0.5"),
        (2, slice(0, 0), "explained variance needs at least one batch"),
        (20, slice(None), "80 components need as many tokens and features, got 48 and 32"),
    ],
)
def test_eva_says_what_does_not_fit(model, targets, batches, rho, chosen, message):
    with pytest.raises(ValueError, match=message):
        eva_ranks(model, targets, batches[chosen], r=R, rho=rho)


def test_spt_says_what_does_not_fit(model, targets):
    with pytest.raises(ValueError, match="sensitivities need at least one batch"):
        spt_ranks(model, targets, [], r=R, max_r=MAX_R)
    layer = model.get_submodule(targets[0])
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(ValueError, match="needs weights with gradients, got torch.int8"):
        spt_ranks(model, targets, [], r=R, max_r=MAX_R)
