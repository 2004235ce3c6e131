"""Points of a space as Optuna's parameters, and back.

A branch is one categorical parameter; its variables exist under it, named `branch/path`. A choice
of growing numbers is an integer (its order means something), other choices are categorical, a bit
is an integer 0 or 1.

shared: what several branches have alike, a learning rate or a layer, is one parameter.
"""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autopeft.domain.ports import Problem
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
from autopeft.search.plain_encoding import growing


def parameters_of(
    problem: Problem, point: Point, *, shared: bool
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """A point as Optuna's parameters."""
    space = problem.space
    branches = tuple(branch.name for branch in space.branches)
    params: dict[str, Any] = {"branch": point["branch"]}
    distributions: dict[str, BaseDistribution] = {"branch": CategoricalDistribution(branches)}
    branch = space[point["branch"]]
    for parameter in branch.parameters:
        if parameter.active(point):
            name = _name(space, branch, parameter, shared=shared)
            _put(params, distributions, name, parameter.variable, point[parameter.name])
    return params, distributions


def fill(
    params: dict[str, Any], distributions: dict[str, BaseDistribution], space: Space, number: int
) -> None:
    """Add random values of all that the trial of this number does not have."""
    rng = np.random.default_rng(number)
    for branch in space.branches:
        for parameter in branch.parameters:
            name, variable = _name(space, branch, parameter, shared=True), parameter.variable
            drawn = variable.draw(rng)
            if distributions_of(name, variable)[0][0] not in params:
                _put(params, distributions, name, variable, drawn)


def _put(
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    name: str,
    variable: Variable,
    value: Json,
) -> None:
    numbers = to_numbers(variable, value)
    for (part, distribution), number in zip(distributions_of(name, variable), numbers, strict=True):
        params[part], distributions[part] = number, distribution


def _name(space: Space, branch: Branch, parameter: Parameter, *, shared: bool) -> str:
    if shared:
        branch = next(
            other
            for other in space.branches
            if any(
                p.name == parameter.name and p.variable == parameter.variable
                for p in other.parameters
            )
        )
    return f"{branch.name}/{parameter.name}"


def asked(problem: Problem, study: optuna.study.Study, *, shared: bool) -> Point:
    trial = study.ask()
    branches = tuple(branch.name for branch in problem.space.branches)
    point: dict[str, Json] = {"branch": trial.suggest_categorical("branch", branches)}
    branch = problem.space[point["branch"]]
    for parameter in branch.parameters:
        if parameter.active(point):
            name = _name(problem.space, branch, parameter, shared=shared)
            numbers = [
                _suggest(trial, part, distribution)
                for part, distribution in distributions_of(name, parameter.variable)
            ]
            point[parameter.name] = from_numbers(parameter.variable, numbers)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return point


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
