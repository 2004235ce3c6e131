"""LoRA whose ranks a strategy finds: what the budget can hold.

The ranks decide the size where targets are of unequal shape, and data or training decide the ranks.
Counted is the most that the budget buys; where all targets are of one shape, that is exact.
"""

from dataclasses import replace

from autopeft.domain.architecture import Module
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.allocation import RankBudget
from autopeft.domain.networks.counting.count import Placed


def largest(module: Module, budget: RankBudget, shape: ModelShape) -> Module:
    """The module with the budget spent where a rank is largest."""
    targets = sorted(Placed.on(shape, module).targets, key=lambda t: -(t.inputs + t.outputs))
    left = (budget.r - budget.lowest) * len(targets)
    ranks = {}
    for target in targets:
        more = min(budget.highest - budget.lowest, left)
        ranks[target.name] = budget.lowest + more
        left -= more
    on = tuple(name for name in module.targets if ranks[name])
    pattern = {name: ranks[name] for name in on}
    return replace(module, targets=on, fields={**module.fields, "rank_pattern": pattern})
