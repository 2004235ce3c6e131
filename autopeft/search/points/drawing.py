"""Points of a space: from the unit cube, and at random.

u: (d,) coordinates in [0, 1); every parameter of a branch owns as many as it has degrees of
   freedom, active or not, so that a branch has one cube. The sizes of a module by layer own one
   more: the share of them that is not like the first (see `Space.draw`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.architecture import Configuration
from autopeft.domain.ports import Problem
from autopeft.domain.space import (
    Bits,
    Branch,
    Choice,
    Json,
    Point,
    Range,
    Space,
    Subset,
    Variable,
)
from autopeft.domain.trial import Trial

Candidate = tuple[Point, Configuration]
"""A point that the problem admits, and what it builds."""

LEARNING_RATE = "training.learning_rate"  # the parameter of a branch, where it has one
UNKNOWN_EDGE = 0.3  # the mean over a range
BLOCK = 16  # random points that are drawn together


def block(space: Space, seed: tuple[int, int]) -> Sequence[Point]:
    """`BLOCK` random points of a space, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [space.draw(rng) for _ in range(BLOCK)]


def dimensions(branch: Branch) -> int:
    """Coordinates of the branch's unit cube."""
    families = {p.family for p in branch.parameters if p.by_layer}
    return sum(_width(p.variable) for p in branch.parameters) + len(families)


def from_units(branch: Branch, u: NDArray[np.float64]) -> dict[str, Json]:
    """Map u, (dimensions(branch),), to a point; coordinates of inactive parameters are ignored."""
    point: dict[str, Json] = {"branch": branch.name}
    families = dict.fromkeys(p.family for p in branch.parameters if p.by_layer)
    shares = dict(zip(families, u, strict=False))
    start, like = len(shares), dict[str, Json]()
    for parameter in branch.parameters:
        own = u[start : start + _width(parameter.variable)]
        start += len(own)
        if not parameter.active(point):
            continue
        if parameter.family not in like:
            point[parameter.name] = _value(parameter.variable, own)
        elif own[0] < (share := shares[parameter.family]):
            point[parameter.name] = _value(parameter.variable, own / share)
        else:
            point[parameter.name] = like[parameter.family]
        if parameter.by_layer:
            like.setdefault(parameter.family, point[parameter.name])
    return point


def fits(problem: Problem, point: Point) -> bool:
    """Whether a point (of a trial) assigns exactly the active parameters of one of the branches."""
    names = {branch.name: branch for branch in problem.space.branches}
    if point.get("branch") not in names:
        return False
    parameters = names[point["branch"]].parameters
    active = {parameter.name for parameter in parameters if parameter.active(point)}
    return active == set(point) - {"branch"}


def evaluated(history: Sequence[Trial]) -> set[str]:
    """Keys of the configurations that were tried or are running."""
    return {trial.configuration.key for trial in history}


def draw_new(
    problem: Problem, taken: set[str], rng: np.random.Generator, *, count: int, tries: int
) -> list[Candidate]:
    """Up to `count` different random candidates that are not in `taken`."""
    found: dict[str, Candidate] = {}
    for _ in range(tries):
        if len(found) == count:
            break
        point = problem.space.draw(rng)
        configuration = problem.admissible(point)
        if configuration is not None and configuration.key not in taken:
            found.setdefault(configuration.key, (point, configuration))
    return list(found.values())


def rates(branch: Branch) -> tuple[float, float] | None:
    """The logarithms of the lowest and the highest learning rate; None where there is one."""
    for parameter in branch.parameters:
        variable = parameter.variable
        if parameter.name == LEARNING_RATE:
            ends = [variable.low, variable.high] if isinstance(variable, Range) else []
            if isinstance(variable, Choice):
                ends = [o for o in variable.options if isinstance(o, int | float) and o > 0]
            if len(ends) > 1 and min(ends) > 0:
                return float(np.log(min(ends))), float(np.log(max(ends)))
    return None


def edge(ends: tuple[float, float] | None, configuration: Configuration) -> float:
    """How near the learning rate is to an end of its range: 0 in the middle, 1 there.

    ends: what `rates` says of the configuration's branch.
    """
    rate = configuration.recipe.get("learning_rate")
    if ends is None or not isinstance(rate, int | float):
        return UNKNOWN_EDGE
    low, high = ends
    place = (np.log(rate) - low) / (high - low)
    return float(np.clip(2 * place - 1, -1, 1) ** 2)


def _width(variable: Variable) -> int:
    match variable:
        case Bits():
            return 1 + variable.length
        case Subset():
            return 1 + len(variable.options)
        case _:
            return 1


def _value(variable: Variable, u: NDArray[np.float64]) -> Json:
    match variable:
        case Choice():
            return min(int(u[0] * len(variable.options)), len(variable.options) - 1)
        case Range():
            return variable.at(float(u[0]))
        case Subset():
            return _dense_bits(u, variable.min)
        case Bits():
            return _dense_bits(u, 1)


def _dense_bits(u: NDArray[np.float64], at_least: int) -> tuple[int, ...]:
    # The first coordinate says how many are on: plain coin flips leave only half-full ones.
    length = len(u) - 1
    count = min(at_least + int(u[0] * (length - at_least + 1)), length)
    on = set(np.argsort(-u[1:], kind="stable")[:count].tolist())
    return tuple(int(i in on) for i in range(length))
