"""Points as numbers for a model that knows nothing of adapters.

A row holds the branch, one column each, then every parameter of every branch: a choice as one
column per option, bits as they are, a range on [0, 1]. What is not active in a point is 0.

n: points; d: columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.domain.pareto import Array
from autopeft.domain.space import Bits, Branch, Choice, Json, Point, Range, Subset, Variable
from autopeft.search.points.flat_space import FlatParameter, flat


@dataclass(frozen=True)
class Slot:
    """The columns of one parameter: `width` of them from `start`."""

    parameter: FlatParameter
    start: int
    width: int


@dataclass(frozen=True)
class PointEncoding:
    """branches: their names, none where there is only one. slots: in the order of the columns.

    ordered: whether growing options are one column, the position on [0, 1], instead of one each.
    """

    branches: tuple[str, ...]
    slots: tuple[Slot, ...]
    ordered: bool

    @classmethod
    def of(
        cls, branches: Sequence[Branch], *, ordered: bool = False, shared: bool = False
    ) -> "PointEncoding":
        """shared: see `flat_space.flat`."""
        names = tuple(branch.name for branch in branches) if len(branches) > 1 else ()
        slots, start = [], len(names)
        for parameter in flat(branches, shared=shared):
            width = _width(parameter.variable, ordered)
            slots.append(Slot(parameter, start, width))
            start += width
        return cls(names, tuple(slots), ordered)

    @property
    def columns(self) -> int:
        return len(self.branches) + sum(slot.width for slot in self.slots)

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) rows; a number outside its range falls outside [0, 1]."""
        X = np.zeros((len(points), self.columns))
        for row, point in zip(X, points, strict=True):
            if point["branch"] in self.branches:
                row[self.branches.index(point["branch"])] = 1.0
            for slot in self.slots:
                parameter = slot.parameter
                if point["branch"] in parameter.branches and parameter.name in point:
                    columns = slice(slot.start, slot.start + slot.width)
                    row[columns] = _code(parameter.variable, point[parameter.name], slot.width)
        return X


def growing(options: Sequence[Json]) -> bool:
    """Whether the options are numbers in growing order: their position means something."""
    numbers = all(isinstance(o, int | float) and not isinstance(o, bool) for o in options)
    return numbers and len(options) > 1 and list(options) == sorted(options)


def freedoms(branches: Sequence[Branch]) -> int:
    """How many values a space has to choose: its parameters, every bit for itself."""
    variables = [parameter.variable for branch in branches for parameter in branch.parameters]
    return sum(1 if isinstance(v, Choice | Range) else _width(v, False) for v in variables)


def _width(variable: Variable, ordered: bool) -> int:
    match variable:
        case Choice(options):
            return 1 if ordered and growing(options) else len(options)
        case Range():
            return 1
        case Subset(options):
            return len(options)
        case Bits(length):
            return length


def _code(variable: Variable, value: Json, width: int) -> Array:
    match variable:
        case Choice(options) if width < len(options):
            return np.array([value / (len(options) - 1)])
        case Choice():
            return np.eye(width)[value]
        case Range():
            return np.array([variable.unit(value)])
        case Subset() | Bits():
            return np.array(value, dtype=np.float64)
