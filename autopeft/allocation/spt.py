"""Ranks by sensitivity, after SPT, sensitivity-aware PEFT (He et al. 2023, arXiv 2303.08566).

Sensitivity of a weight w with gradient g: the first-order fall of the loss for one step of
gradient descent on w alone, which is proportional to g^2. SPT gives every matrix no module, a
sparse mask or a low-rank one by it; here the budget of a low-rank method is spread.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from autopeft.allocation.apportion import apportioned
from autopeft.allocation.probing import Batch, loss_of, probing


def spt_ranks(
    model: Any,
    targets: Sequence[str],
    batches: Iterable[Batch],
    *,
    r: int,
    max_r: int,
    min_r: int = 0,
) -> dict[str, int]:
    """Ranks in proportion to the modules' sensitivity, r on average.

    Changes the deployed architecture, before training. Costs a forward and a backward pass a
    batch, and memory for the gradients of all target weights.

    Args:
        model: the pretrained model, before PEFT. It is left as it was.
        targets: full names of the modules.
        batches: a few of the training split, with labels.
        r: average rank: the budget is r times the number of modules.
        min_r, max_r: bounds of every rank; 0 leaves the module out.

    Returns:
        Module -> rank; the ranks sum exactly to the budget.

    Raises:
        ValueError: the budget does not fit the bounds, a weight is quantised, or no batch.
    """
    return apportioned(
        sensitivities(model, targets, batches), r * len(targets), lowest=min_r, highest=max_r
    )


def sensitivities(model: Any, targets: Sequence[str], batches: Iterable[Batch]) -> dict[str, float]:
    """The mean over a module's weights of their squared gradients, summed over batches.

    Raises:
        ValueError: a weight is quantised, or no batch.
    """
    weights = {name: _weight(model, name) for name in targets}
    required = {weight: weight.requires_grad for weight in weights.values()}
    sums = dict.fromkeys(targets, 0.0)
    found = False
    try:
        for weight in required:
            weight.requires_grad_(True)
        with probing(model):
            for batch in batches:
                found = True
                for name, square in _squares(model, weights, batch).items():
                    sums[name] += square
    finally:
        for weight, flag in required.items():
            weight.requires_grad_(flag)
    if not found:
        raise ValueError("sensitivities need at least one batch, got none")
    return sums


def _squares(model: Any, weights: dict[str, torch.nn.Parameter], batch: Batch) -> dict[str, float]:
    gradients = torch.autograd.grad(
        loss_of(model, batch), list(weights.values()), allow_unused=True
    )
    return {
        name: 0.0 if gradient is None else gradient.double().square().mean().item()
        for name, gradient in zip(weights, gradients, strict=True)
    }


def _weight(model: Any, name: str) -> torch.nn.Parameter:
    weight: torch.nn.Parameter = model.get_submodule(name).weight
    if not weight.is_floating_point():
        raise ValueError(
            f"sensitivity needs weights with gradients, got {weight.dtype} in {name}: "
            "allocate on the model before it is quantised"
        )
    return weight
