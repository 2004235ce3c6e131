"""A budget of ranks divided among modules in proportion to their weights."""

import heapq
import math
from collections.abc import Mapping


def apportioned(
    weights: Mapping[str, float], budget: int, *, lowest: int = 0, highest: int
) -> dict[str, int]:
    """Whole ranks that sum exactly to the budget, as proportional as whole numbers can be.

    Webster's method: rank after rank goes to the module with the largest weight / (2 rank + 1)
    that is below the highest; of equals to the smaller rank, then to the earlier module.

    Args:
        weights: module -> weight, 0 or more and finite.
        budget: sum of the ranks.
        lowest, highest: bounds of every rank.

    Raises:
        ValueError: the budget does not fit the bounds, or a weight is negative or not finite.
    """
    _check(weights, budget, lowest, highest)
    ranks = dict.fromkeys(weights, lowest)
    queue = [
        (-weight / (2 * lowest + 1), lowest, place, name)
        for place, (name, weight) in enumerate(weights.items())
        if lowest < highest
    ]
    heapq.heapify(queue)
    for _ in range(budget - lowest * len(weights)):
        _, rank, place, name = heapq.heappop(queue)
        ranks[name] = rank + 1
        if rank + 1 < highest:
            quotient = weights[name] / (2 * rank + 3)
            heapq.heappush(queue, (-quotient, rank + 1, place, name))
    return ranks


def _check(weights: Mapping[str, float], budget: int, lowest: int, highest: int) -> None:
    count = len(weights)
    if not lowest * count <= budget <= highest * count:
        raise ValueError(
            f"{count} modules of rank {lowest} to {highest} take a budget of {lowest * count} to "
            f"{highest * count}, got {budget}: change the budget or the bounds"
        )
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"a weight must be finite and 0 or more, got {weight} for {name}")
