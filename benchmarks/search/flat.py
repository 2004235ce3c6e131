"""A space as the flat list of named parameters that general tools take.

    space = FlatSpace(problem.space, shared=True)
    values = space.values(trial.point)      # only what is active
    point = space.point(values)             # what is not active is ignored

The parameters are those that the product gives to Optuna: bits as integers 0 or 1, growing numbers
as their position, other choices as categories. So every tool gets the same space.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autopeft.domain.space import Point, Space
from autopeft.search.optuna.parameters import Parameters, distributions_of
from autopeft.search.points.flat_space import flat

BRANCH = "branch"


@dataclass(frozen=True)
class Flat:
    """One parameter. given: ((name of a parameter, values), ...): it exists with one of each."""

    name: str
    distribution: BaseDistribution
    given: tuple[tuple[str, tuple[Any, ...]], ...]


class FlatSpace:
    """parameters: the branch first, where there are several; one after those it depends on.

    shared: what several branches have alike is one parameter.
    """

    def __init__(self, space: Space, *, shared: bool) -> None:
        self._branches = tuple(branch.name for branch in space.branches)
        self._optuna = Parameters(space, shared=shared)
        self.parameters = tuple(self._all(space, shared=shared))

    def values(self, point: Point) -> dict[str, Any]:
        """The active parameters of a point."""
        values, _ = self._optuna.of(point)
        return {name: values[name] for name in values if self._branching or name != BRANCH}

    def point(self, values: Mapping[str, Any]) -> Point:
        """The point of such values; too few bits are repaired as for Optuna."""
        whole = values if self._branching else {BRANCH: self._branches[0], **values}
        return self._optuna.point(lambda name, _: whole[name])

    @property
    def _branching(self) -> bool:
        return len(self._branches) > 1

    def _all(self, space: Space, *, shared: bool) -> Iterator[Flat]:
        if self._branching:
            yield Flat(BRANCH, CategoricalDistribution(self._branches), ())
        parameters = flat(space.branches, shared=shared)
        keys = {(branch, p.name): p.key for p in parameters for branch in p.branches}
        for parameter in parameters:
            everywhere = len(parameter.branches) == len(self._branches)
            root = () if everywhere else ((BRANCH, parameter.branches),)
            first = parameter.branches[0]
            nested = tuple((keys[first, name], (at,)) for name, at in parameter.given)
            for name, distribution in distributions_of(parameter.key, parameter.variable):
                yield Flat(name, distribution, (*root, *nested))


def lowest(distribution: BaseDistribution) -> Any:
    """What stands for a value where there is none: the first or lowest one."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low
