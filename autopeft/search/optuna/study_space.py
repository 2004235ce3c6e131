"""The search space of an Optuna study in our own words, its conditions learned from the trials.

Optuna's space is whatever an objective asks for, so nobody says that `momentum` exists under
`optimizer = sgd` alone. The trials do: a parameter that is missing in some of them follows the
option or whole number that tells those with it from those without.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autopeft.domain.space import Branch, Choice, Json, Point, Range, Variable
from autopeft.search.points.drawing import dimensions, from_units
from autopeft.search.points.moves import neighbours

_BRANCH = "study"  # the only one
_SPREAD = 256  # a power of 2


@dataclass(frozen=True)
class Condition:
    """A parameter is absent where `parent` is, and where it has one of the values `off`."""

    parent: str
    off: frozenset[Json]

    def holds(self, point: Point) -> bool:
        return self.parent in point and point[self.parent] not in self.off


@dataclass(frozen=True)
class StudySpace:
    """All parameters, as one branch; parents stand before what follows them.

    conditions: of the parameters that have one, by their name in a point.
    """

    distributions: Mapping[str, BaseDistribution]
    branch: Branch
    conditions: Mapping[str, Condition]

    @classmethod
    def of(
        cls, distributions: Mapping[str, BaseDistribution], trials: Sequence[Mapping[str, Any]]
    ) -> "StudySpace":
        """From the distributions, and the parameters of the trials that are over."""
        # Asked for more often is nearer to the root.
        often = {name: sum(name in params for params in trials) for name in distributions}
        order = sorted(distributions, key=lambda name: (-often[name], name))
        ordered = {name: distributions[name] for name in order}
        tree = {_key(name): _variable(d) for name, d in ordered.items()}
        points = [_point(ordered, params) for params in trials]
        return cls(ordered, Branch(_BRANCH, tree), _conditions(tree, points))

    def point(self, params: Mapping[str, Any]) -> Point:
        return _point(self.distributions, params)

    def trimmed(self, point: Point) -> dict[str, Json]:
        """The point without the parameters that nobody will ask for."""
        kept: dict[str, Json] = {"branch": _BRANCH}
        for key in self.branch.tree:
            condition = self.conditions.get(key)
            if key in point and (condition is None or condition.holds(kept)):
                kept[key] = point[key]
        return kept

    def whole(self, point: Point) -> bool:
        """Whether it has every parameter that an objective asks for."""
        conditions = ((key, self.conditions.get(key)) for key in self.branch.tree)
        return all(key in point for key, each in conditions if each is None or each.holds(point))

    def params(self, point: Point) -> dict[str, Any]:
        """The point as the values that Optuna hands to an objective."""
        found = {}
        for name, distribution in self.distributions.items():
            if _key(name) in point:
                found[name] = _value(distribution, point[_key(name)])
        return found


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """A random value of one parameter."""
    return _value(distribution, _variable(distribution).draw(rng))


def spread(space: StudySpace, rng: np.random.Generator) -> Iterator[Point]:
    """Quasi-random points of the whole space."""
    from scipy.stats import qmc

    for u in qmc.Sobol(dimensions(space.branch), rng=rng).random(_SPREAD):
        yield from_units(space.branch, u)


class Untried:
    """The points of a study that were neither tried nor given before."""

    def __init__(self, space: StudySpace, tried: Iterable[Point]) -> None:
        self._space = space
        self._taken = {_identity(point) for point in tried}

    def among(self, points: Iterable[Point]) -> Iterator[Point]:
        for point in points:
            kept = self._space.trimmed(point)
            if _identity(kept) not in self._taken:
                self._taken.add(_identity(kept))
                yield kept

    def near(self, point: Point, rng: np.random.Generator) -> Iterator[Point]:
        whole = {**_complete(self._space, rng), **point}
        yield from self.among(neighbours(self._space.branch, whole, rng))


def _variable(distribution: BaseDistribution) -> Variable:
    """A range, or the positions of the choices; of a single value, one position."""
    match distribution:
        case CategoricalDistribution():
            return Choice(tuple(range(len(distribution.choices))))
        case _ if distribution.single():
            return Choice((0,))
        case IntDistribution(low=low, high=high, log=log, step=step):
            return Range(low, high, log=log, step=None if log else step)
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return Range(low, high, log=log, step=step)
        case _:
            raise TypeError(f"Optuna has no other distribution, got {distribution!r}")


def _value(distribution: BaseDistribution, assigned: Json) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[assigned]
    return distribution.low if distribution.single() else assigned


def _point(distributions: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> Point:
    point: dict[str, Json] = {"branch": _BRANCH}
    for name, distribution in distributions.items():
        if name in params:
            point[_key(name)] = _assigned(distribution, params[name])
    return point


def _key(name: str) -> str:
    """A parameter's name in a point, where `branch` is taken."""
    return f"={name}"


def _assigned(distribution: BaseDistribution, value: Any) -> Json:
    if isinstance(distribution, CategoricalDistribution):
        return int(distribution.to_internal_repr(value))
    return 0 if distribution.single() else value


def _conditions(tree: Mapping[str, Variable], points: Sequence[Point]) -> dict[str, Condition]:
    found: dict[str, Condition] = {}
    parents = [name for name, variable in tree.items() if _tells_apart(variable)]
    for name in tree:
        having = [point for point in points if name in point]
        if not having or len(having) == len(points):
            continue
        best = 0
        for parent in parents:
            without = {p[parent] for p in points if parent in p and name not in p}
            among = sum(parent in point for point in points)
            told = all(parent in p and p[parent] not in without for p in having)
            if parent != name and without and told and among > best:
                found[name], best = Condition(parent, frozenset(without)), among
    return found


def _tells_apart(variable: Variable) -> bool:
    return isinstance(variable, Choice) or (isinstance(variable, Range) and variable.integer)


def _identity(point: Point) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(point.items()))


def _complete(space: StudySpace, rng: np.random.Generator) -> dict[str, Any]:
    """Values for what a change may bring into being."""
    return {p.name: p.variable.draw(rng) for p in space.branch.parameters}
