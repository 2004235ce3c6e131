"""What a space contains, counted without training.

A branch's number of parameter sets multiplies the options of its variables outside `training`;
a continuous range there makes it infinite. Its architectures are those sets in which some module
lives in some layer: sets that spell one network differently still count once each, and so do those
whose sizes by layer are 0 just where a varying placement has put the module.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.domain.budget.baselines import own_problem
from autopeft.domain.budget.purchase import share_of_run
from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.ports import Problem
from autopeft.domain.space import Bits, Branch, Choice, Json, Range, Subset
from autopeft.domain.study import Rungs

_SAMPLES = 500
_RECIPE = ("training", "parameters")


@dataclass(frozen=True)
class BranchPlan:
    """One row of the plan.

    parameter_sets: outside the recipe; inf with a continuous range.
    architectures: those that hold a module; 0 where the branch offers none.
    recipe: what varies in it, and the parameters of the user's own code that do.
    adapter_params: (smallest, largest) over `sampled` random points; None when none is admissible.
    refused: share of the sampled points that the model or a known constraint refuses.
    breaks: known constraints that a baseline is trained without, as no point of it holds them all.
    peak_memory_gib: (smallest, largest) estimate of training's peak; None also without estimates.
    steps: (fewest, most) of a full run. train_seconds: (shortest, longest) estimate of a full run;
        mean_seconds: of a trial, with what the rungs leave of it; full_seconds: without rungs.
    """

    name: str
    baseline: bool
    parameter_sets: float
    architectures: float
    recipe: tuple[str, ...]
    sampled: int
    adapter_params: tuple[float, float] | None
    trainable_params: tuple[float, float] | None
    refused: float
    breaks: tuple[str, ...]
    peak_memory_gib: tuple[float, float] | None = None
    steps: tuple[float, float] | None = None
    train_seconds: tuple[float, float] | None = None
    mean_seconds: float | None = None
    full_seconds: float | None = None


def plan_branch(
    branch: Branch, problem: Problem, *, rungs: Rungs | None = None, seed: int = 0
) -> BranchPlan:
    """Count a branch and sample its sizes and costs."""
    rng = np.random.default_rng(seed)
    held = problem.constraints
    if branch.baseline:
        problem = own_problem(problem, branch.name)
    space = problem.space.only(branch.name)
    drawn = [problem.admissible(space.draw(rng)) for _ in range(_SAMPLES)]
    found = [c for c in drawn if c is not None]
    known = [problem.known(c.architecture) for c in found]
    estimated = [dict(problem.estimates(c)) for c in found] if problem.estimates else []
    for costs in estimated:
        share = share_of_run(rungs, steps=costs["steps"], epochs=costs["epochs"])
        costs["seconds"] = costs["train_seconds"] * share
    tree = {key: value for key, value in branch.tree.items() if key not in _RECIPE}
    names = [p.name.split(".", 1) for p in branch.parameters]
    return BranchPlan(
        name=branch.name,
        baseline=branch.baseline,
        parameter_sets=count(tree),
        architectures=count_architectures(tree) if tree else 0,
        recipe=tuple(name for part, *rest in names if part in _RECIPE for name in rest),
        sampled=_SAMPLES,
        adapter_params=_extent(known, "adapter_params"),
        trainable_params=_extent(known, "trainable_params"),
        refused=1 - len(known) / _SAMPLES,
        breaks=tuple(c.text for c in held if c not in problem.constraints),
        peak_memory_gib=_extent(estimated, "peak_memory_gib"),
        steps=_extent(estimated, "steps"),
        train_seconds=_extent(estimated, "train_seconds"),
        mean_seconds=_mean(estimated, "seconds"),
        full_seconds=_mean(estimated, "train_seconds"),
    )


def count(tree: Json) -> float:
    """The number of literal trees that a tree with variables stands for."""
    match tree:
        case Choice():
            return sum(count(option) for option in tree.options)
        case Range():
            if tree.continuous:
                return math.inf
            return math.floor((tree.high - tree.low) / (tree.step or 1) + 1e-9) + 1
        case Subset():
            n = len(tree.options)
            return sum(math.comb(n, k) for k in range(tree.min, n + 1))
        case Bits():
            return 2.0**tree.length
        case Mapping():
            return math.prod(count(value) for value in tree.values())
        case list() | tuple():
            return math.prod(count(value) for value in tree)
        case _:
            return 1


def count_architectures(tree: Mapping[str, Json]) -> float:
    """The number of those literal trees of a branch in which some module lives in some layer."""
    modules = tree.get("modules", ())
    if not modules:
        return count(tree)
    rest = count({k: v for k, v in tree.items() if k not in ("modules", "layers")})
    placed = _placed(tree.get("layers"))
    whole = math.prod(count(module) for module in modules)
    return rest * placed * (whole - math.prod(_absent(module) for module in modules))


def _placed(layers: Json) -> float:
    """The placements that name a layer."""
    bits = layers.get("bits") if isinstance(layers, Mapping) else layers
    return count(layers) - (1 if isinstance(bits, Bits) else 0)


def _absent(module: Mapping[str, Json]) -> float:
    """The literal trees of a module that leave it out: of size 0, or in no layer."""
    field = size_field(module["peft_type"])
    size, layers = module.get(field), module.get("layers")
    others = count({k: v for k, v in module.items() if k not in (field, "layers")})
    nowhere = count(layers) - _placed(layers)
    return others * (_zeros(size) * count(layers) + (count(size) - _zeros(size)) * nowhere)


def _zeros(size: Json) -> float:
    """The literal sizes that are 0, in every layer where there are several."""
    match size:
        case {"per_layer": sizes} | {"per_group": sizes}:
            return math.prod(_zeros(one) for one in sizes)
        case Choice():
            return sum(_zeros(option) for option in size.options)
        case Range():
            return float(size.low == 0)
        case _:
            return float(size == 0)


def _mean(rows: Sequence[Mapping[str, float]], metric: str) -> float | None:
    return float(np.mean([row[metric] for row in rows])) if rows else None


def _extent(rows: Sequence[Mapping[str, float]], metric: str) -> tuple[float, float] | None:
    values = [row[metric] for row in rows if metric in row]
    return (min(values), max(values)) if values else None
