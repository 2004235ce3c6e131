"""What counts as tried: a network, and recipes too close to its own for noise to tell them apart.

Parameters of the user's own code are compared as those of a recipe are.

Without it a lucky result draws trial after trial at learning rates a few per cent apart, and the
luckiest of them stands on the front. (Layered landscapes where capacity hurts, 60 trials, 5 seeds:
hypervolume of what was found .483 without it, .556 with it; benchmarks/README.md.)
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import log

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.ports import Problem
from autopeft.domain.space import Json, Range

_APART = 0.03  # of a range, in one of the numbers at least
_NUMBERED = ("training", "parameters")

_Name = tuple[str, str]  # of a recipe's field or a parameter: which of the two, and its own
_Options = tuple[tuple[_Name, str], ...]


class Tried:
    """The configurations so far.

    Two are one where their architectures and options are the same and every number that has a
    continuous range lies within 3 % of it.
    """

    def __init__(self, problem: Problem, configurations: Iterable[Configuration] = ()) -> None:
        self._ranges = _ranges(problem)
        self._places: dict[Architecture, list[tuple[_Options, tuple[float, ...]]]]
        self._places = defaultdict(list)
        for configuration in configurations:
            self.add(configuration)

    def add(self, configuration: Configuration) -> None:
        self._places[configuration.architecture].append(self._split(configuration))

    def __contains__(self, configuration: Configuration) -> bool:
        alike = self._places.get(configuration.architecture)
        if alike is None:  # most candidates
            return False
        options, numbers = self._split(configuration)
        return any(
            all(abs(one - two) < _APART for one, two in zip(numbers, others, strict=True))
            for same, others in alike
            if same == options
        )

    def _split(self, configuration: Configuration) -> tuple[_Options, tuple[float, ...]]:
        """What its recipe and parameters name, and where their numbers lie in the ranges."""
        kept, numbers = [], []
        parts = (configuration.recipe, configuration.parameters)
        for part, values in zip(_NUMBERED, parts, strict=True):
            for name, value in sorted(values.items()):
                variable = self._ranges.get((part, name))
                if variable is not None and _fits(variable, value):
                    numbers.append(variable.unit(value))
                    kept.append(((part, name), ""))
                else:
                    kept.append(((part, name), str(value)))
        return tuple(kept), tuple(numbers)


def _ranges(problem: Problem) -> Mapping[_Name, Range]:
    """The continuous ranges of recipe fields and parameters; of several branches' the widest."""
    found: dict[_Name, Range] = {}
    for branch in problem.space.branches:
        for parameter in branch.parameters:
            variable = parameter.variable
            part, _, name = parameter.name.partition(".")
            if (
                part in _NUMBERED
                and isinstance(variable, Range)
                and variable.continuous
                and ((part, name) not in found or _width(variable) > _width(found[part, name]))
            ):
                found[part, name] = variable
    return found


def _width(variable: Range) -> float:
    low, high = float(variable.low), float(variable.high)
    return log(high / low) if variable.log else high - low


def _fits(variable: Range, value: Json) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (value > 0 or not variable.log)
