"""What a space contains, counted without training.

A branch's number of architectures multiplies the options of its variables outside `training`;
a continuous range there makes it infinite. Spellings of one network count once each: the number
is of parameter sets, and says so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autopeft.domain.ports import Problem
from autopeft.domain.space import Bits, Branch, Choice, Json, Range, Subset

_SAMPLES = 500


@dataclass(frozen=True)
class BranchPlan:
    """One row of the plan.

    architectures: parameter sets outside the recipe; inf with a continuous range.
    adapter_params: (smallest, largest) over `sampled` random points; None when none is admissible.
    refused: share of the sampled points that the model or a known constraint refuses.
    """

    name: str
    baseline: bool
    architectures: float
    recipe: tuple[str, ...]
    sampled: int
    adapter_params: tuple[float, float] | None
    trainable_params: tuple[float, float] | None
    refused: float


def plan_branch(branch: Branch, problem: Problem, *, seed: int = 0) -> BranchPlan:
    """Count a branch and sample its sizes."""
    rng = np.random.default_rng(seed)
    space = problem.space.only(branch.name)
    drawn = [problem.admissible(space.draw(rng)) for _ in range(_SAMPLES)]
    known = [problem.known(c.architecture) for c in drawn if c is not None]
    tree = {key: value for key, value in branch.tree.items() if key != "training"}
    return BranchPlan(
        name=branch.name,
        baseline=branch.baseline,
        architectures=count(tree),
        recipe=tuple(
            p.name.removeprefix("training.")
            for p in branch.parameters
            if p.name.startswith("training.")
        ),
        sampled=_SAMPLES,
        adapter_params=_extent(known, "adapter_params"),
        trainable_params=_extent(known, "trainable_params"),
        refused=1 - len(known) / _SAMPLES,
    )


def count(tree: Json) -> float:
    """The number of literal trees that a tree with variables stands for."""
    match tree:
        case Choice():
            return sum(count(option) for option in tree.options)
        case Range():
            if not (tree.integer or tree.step):
                return math.inf
            return math.floor((tree.high - tree.low) / (tree.step or 1)) + 1
        case Subset():
            n = len(tree.options)
            return sum(math.comb(n, k) for k in range(tree.min, n + 1))
        case Bits():
            return 2.0**tree.length - 1
        case Mapping():
            return math.prod(count(value) for value in tree.values())
        case list() | tuple():
            return math.prod(count(value) for value in tree)
        case _:
            return 1


def _extent(rows: list[Mapping[str, float]], metric: str) -> tuple[float, float] | None:
    values = [row[metric] for row in rows]
    return (min(values), max(values)) if values else None
