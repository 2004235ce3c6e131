"""A space as the flat list of named parameters that general tools take.

    parameters = flat(problem.space)
    values = values_of(problem.space, trial.point)      # only what is active
    point = point_of(problem.space, values)             # what is not active is ignored

The parameters are those that the product gives to Optuna: bits as integers 0 or 1, growing numbers
as their position, other choices as categories. So every tool gets the same space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from autopeft.domain.space import Branch, Parameter, Point, Space
from autopeft.search.optuna_parameters import distributions_of, from_numbers, to_numbers

BRANCH = "branch"


@dataclass(frozen=True)
class Flat:
    """One parameter. given: ((name of a parameter, its value), ...), all needed for it to exist."""

    name: str
    distribution: BaseDistribution
    given: tuple[tuple[str, Any], ...]


def flat(space: Space) -> list[Flat]:
    """The branch first, where there are several; a parameter after those that it depends on."""
    several = len(space.branches) > 1
    names = tuple(branch.name for branch in space.branches)
    found = [Flat(BRANCH, CategoricalDistribution(names), ())] if several else []
    for branch in space.branches:
        root = ((BRANCH, branch.name),) if several else ()
        for parameter in branch.parameters:
            nested = tuple((f"{branch.name}/{name}", at) for name, at in parameter.given)
            found += [
                Flat(name, distribution, (*root, *nested))
                for name, distribution in _distributions(branch, parameter)
            ]
    return found


def values_of(space: Space, point: Point) -> dict[str, Any]:
    """The active parameters of a point."""
    branch = space[point[BRANCH]]
    values = {BRANCH: branch.name} if len(space.branches) > 1 else {}
    for parameter in branch.parameters:
        if parameter.active(point):
            numbers = to_numbers(parameter.variable, point[parameter.name])
            names = [name for name, _ in _distributions(branch, parameter)]
            values |= dict(zip(names, numbers, strict=True))
    return values


def point_of(space: Space, values: Mapping[str, Any]) -> Point:
    """The point of such values; too few bits are repaired as for Optuna."""
    branch = space[values[BRANCH]] if BRANCH in values else space.branches[0]
    point: dict[str, Any] = {BRANCH: branch.name}
    for parameter in branch.parameters:
        if parameter.active(point):
            numbers = [values[name] for name, _ in _distributions(branch, parameter)]
            point[parameter.name] = from_numbers(parameter.variable, numbers)
    return point


def _distributions(branch: Branch, parameter: Parameter) -> Sequence[tuple[str, BaseDistribution]]:
    return distributions_of(f"{branch.name}/{parameter.name}", parameter.variable)
