"""Points of a space as Optuna's parameters, and back.

A branch is one categorical parameter; its variables exist under it, named `branch/path`. A choice
of growing numbers is an integer (its order means something), other choices are categorical, a bit
is an integer 0 or 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autopeft.domain.space import (
    Bits,
    Branch,
    Choice,
    Json,
    Parameter,
    Point,
    Range,
    Space,
    Subset,
    Variable,
)
from autopeft.search.points.flat_space import flat
from autopeft.search.points.plain_encoding import growing

Params = dict[str, Any]
Distributions = dict[str, BaseDistribution]


class Parameters:
    """A space as Optuna's parameters.

    shared: what several branches have alike, a learning rate or a layer, is one parameter.
    """

    def __init__(self, space: Space, *, shared: bool) -> None:
        self._space = space
        self._branches = CategoricalDistribution(tuple(branch.name for branch in space.branches))
        self._parts = {
            (branch, parameter.name): distributions_of(parameter.key, parameter.variable)
            for parameter in flat(space.branches, shared=shared)
            for branch in parameter.branches
        }

    def of(self, point: Point) -> tuple[Params, Distributions]:
        """Those of a point."""
        params: Params = {"branch": point["branch"]}
        distributions: Distributions = {"branch": self._branches}
        branch = self._space[point["branch"]]
        for parameter in branch.parameters:
            if parameter.active(point):
                self._put(params, distributions, branch, parameter, point[parameter.name])
        return params, distributions

    def fill(self, params: Params, distributions: Distributions, number: int) -> None:
        """Add random values of all that the trial of this number does not have."""
        rng = np.random.default_rng(number)
        for branch in self._space.branches:
            for parameter in branch.parameters:
                drawn = parameter.variable.draw(rng)
                if self._parts[branch.name, parameter.name][0][0] not in params:
                    self._put(params, distributions, branch, parameter, drawn)

    def asked(self, study: optuna.study.Study) -> Point:
        """The point that a study proposes."""
        trial = study.ask()
        point = self.point(partial(_suggest, trial))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return point

    def point(self, value: Callable[[str, BaseDistribution], Any]) -> Point:
        """value: (name, distribution) of a parameter -> its value; asked for what is active."""
        point: dict[str, Json] = {"branch": value("branch", self._branches)}
        for parameter in self._space[point["branch"]].parameters:
            if parameter.active(point):
                parts = self._parts[point["branch"], parameter.name]
                numbers = [value(name, distribution) for name, distribution in parts]
                point[parameter.name] = from_numbers(parameter.variable, numbers)
        return point

    def _put(
        self,
        params: Params,
        distributions: Distributions,
        branch: Branch,
        parameter: Parameter,
        value: Json,
    ) -> None:
        parts, numbers = (
            self._parts[branch.name, parameter.name],
            to_numbers(parameter.variable, value),
        )
        for (name, distribution), number in zip(parts, numbers, strict=True):
            params[name], distributions[name] = number, distribution


def _suggest(trial: optuna.trial.Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case IntDistribution():
            return trial.suggest_int(
                name, distribution.low, distribution.high, log=distribution.log
            )
        case FloatDistribution():
            return trial.suggest_float(
                name, distribution.low, distribution.high, log=distribution.log
            )
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case _:
            raise TypeError(f"no other distribution is made here, got {distribution!r}")


def distributions_of(name: str, variable: Variable) -> list[tuple[str, BaseDistribution]]:
    """The parameters that stand for one variable, in order."""
    match variable:
        case Choice(options):
            count = len(options)
            if growing(options):
                return [(name, IntDistribution(0, count - 1))]
            return [(name, CategoricalDistribution(tuple(range(count))))]
        case Range():
            return [(name, of_range(variable))]
        case Subset(options):
            return [(f"{name}#{i}", IntDistribution(0, 1)) for i in range(len(options))]
        case Bits(length):
            return [(f"{name}#{i}", IntDistribution(0, 1)) for i in range(length)]


def of_range(variable: Range) -> BaseDistribution:
    if variable.step is not None:  # steps are counted: Optuna would move an uneven upper end
        steps = int((variable.high - variable.low) / variable.step + 1e-9)
        return IntDistribution(0, steps)
    if variable.integer:
        return IntDistribution(int(variable.low), int(variable.high), log=variable.log)
    return FloatDistribution(variable.low, variable.high, log=variable.log)


def to_numbers(variable: Variable, value: Json) -> list[Any]:
    match variable:
        case Range(step=float() | int() as step):
            return [round((value - variable.low) / step)]
        case Subset() | Bits():
            return list(value)
        case _:
            return [value]


def from_numbers(variable: Variable, numbers: list[Any]) -> Json:
    match variable:
        case Range(step=float() | int() as step):
            value = variable.low + step * numbers[0]
            return variable.at(variable.unit(value))
        case Subset():
            return _at_least(numbers, variable.min)
        case Bits():
            return _at_least(numbers, 1)
        case _:
            return numbers[0]


def _at_least(bits: list[int], least: int) -> tuple[int, ...]:
    """Turn on the first bits that are off until enough are on."""
    missing = least - sum(bits)
    for i, bit in enumerate(bits):
        if missing > 0 and not bit:
            bits[i], missing = 1, missing - 1
    return tuple(bits)
