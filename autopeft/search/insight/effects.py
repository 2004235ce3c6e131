"""What mattered: the effect of every choice of a space on a measured objective, by the surrogate.

In each branch, configurations are drawn at random, and one parameter after another is set to each
of its levels while the others stay (partial dependence; Friedman 2001, equation 53, over the space
instead of the trials, which crowd around what is good). With a the contrast of one level's rows
against the rows of all levels, the effect is normal,

    a' f ~ N(a' mean, a' covariance a)

with the joint posterior of f. So the interval is what the trials leave open of the average, not how
much the effect differs from one configuration to the next. Below the reference of the hypervolume
scores are softened (`outcomes.softened`): what diverges counts less than it lost.

B: configurations drawn in a branch; L: levels.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.objective import Objective
from autopeft.domain.ports import Problem
from autopeft.domain.results.insight import Effect, Effects
from autopeft.domain.results.intervals import Z95
from autopeft.domain.space import Bits, Branch, Choice, Json, Parameter, Point, Range, Subset
from autopeft.domain.trial import State, Trial
from autopeft.search.gain import closed_form
from autopeft.search.model.encoding import Array
from autopeft.search.model.memory import Memory
from autopeft.search.model.trimming import trimmed
from autopeft.search.points.drawing import Candidate, draw_new
from autopeft.search.points.moves import settled

_DRAWN = 16  # B
_FEWEST = 4  # configurations that take every level, or there is no effect to tell
_FEWEST_TRIALS = 6  # completed; of fewer, no left-out error means anything
_PLACES = 5  # levels of a range
_MOST_LEVELS = 9
_SWITCH = ("off", "on")

Rows = list[list[Configuration]]
"""(L, B) the same configurations at every level."""

Level = tuple[str, Callable[[Json], Json]]
"""What it is called, and the value of the parameter there, from the one that was drawn."""


def effects_of(problem: Problem, history: Sequence[Trial], memory: Memory) -> tuple[Effects, ...]:
    """For every measured objective what mattered, or why the model cannot say.

    problem: the branches to search. memory: what it fits is kept there.
    """
    measured = [objective for objective in problem.objectives if not objective.known]
    completed = [trial for trial in history if trial.state is State.COMPLETED]
    if len(completed) < _FEWEST_TRIALS:
        silent = f"effects need {_FEWEST_TRIALS} completed trials, got {len(completed)}"
        return tuple(Effects(o.metric, silent=silent) for o in measured)
    problem, seen = memory.remembering(problem), trimmed(problem, history)
    return tuple(_of_objective(problem, o, seen, memory) for o in measured)


def _of_objective(
    problem: Problem, objective: Objective, history: Sequence[Trial], memory: Memory
) -> Effects:
    alone = replace(problem, objectives=(objective,))
    model = closed_form.Model.of(alone, history, [t.configuration for t in history], memory)
    error = model.left_out_error
    told = Effects(objective.metric, objective.scale == "log", error)
    if error >= 1:
        silent = (
            "the model predicts a trial from the others no better than their mean does "
            f"(squared error {error:.2f} of it): more trials may tell"
        )
        return replace(told, silent=silent)
    found: list[Effect] = []
    for scope, factor, levels, rows in _factors(problem):
        switch = levels == list(_SWITCH)
        for level, (change, deviation) in zip(levels, _contrasts(model, rows), strict=True):
            if switch:  # there is one thing to say: on against off
                change, deviation = 2 * change, 2 * deviation
            if switch and level == _SWITCH[0]:
                continue
            ends = change - Z95 * deviation, change, change + Z95 * deviation
            low, middle, high = sorted(_as_metric(model, objective, end) for end in ends)
            found.append(Effect(scope, factor, level, middle, low, high))
    return replace(told, effects=tuple(found))


def _contrasts(model: closed_form.Model, rows: Rows) -> list[tuple[float, float]]:
    """Mean and deviation of the mean of f at each level against that of all levels."""
    sizes = [len(level) for level in rows]
    rows_of_all = model.view.rows([each for level in rows for each in level])
    mean, covariance = model.surrogate.joint(rows_of_all)
    of_level: Array = np.repeat(np.eye(len(rows)) / np.array(sizes)[:, None], sizes, axis=1)
    contrast = of_level - of_level.mean(axis=0)
    variance = np.einsum("ij,jk,ik->i", contrast, covariance, contrast)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    return list(zip((contrast @ mean).tolist(), deviation.tolist(), strict=True))


def _as_metric(model: closed_form.Model, objective: Objective, change: float) -> float:
    """A change of the normalised score, in the metric's unit or as a share of its value."""
    score = change * float(model.scale.span[model.measured])
    raw = score if objective.goal == "maximize" else -score
    return float(np.expm1(raw)) if objective.scale == "log" else raw


def _factors(problem: Problem) -> Iterator[tuple[str, str, list[str], Rows]]:
    """Every factor of the space: branch, name, its levels, and the configurations at each."""
    drawn = {branch.name: _drawn(problem, branch) for branch in problem.space.branches}
    fewest = min(len(candidates) for candidates in drawn.values())
    if len(drawn) > 1 and fewest >= _FEWEST:
        rows = [[built for _, built in candidates[:fewest]] for candidates in drawn.values()]
        yield "", "branch", list(drawn), rows
    for branch in problem.space.branches:
        points = [point for point, _ in drawn[branch.name]]
        for parameter in branch.parameters:
            active = [point for point in points if parameter.active(point)]
            for factor, levels in _levels(parameter):
                rows = _at_levels(problem, branch, parameter, levels, active)
                if len(rows[0]) >= _FEWEST:
                    yield branch.name, factor, [level for level, _ in levels], rows


def _drawn(problem: Problem, branch: Branch) -> list[Candidate]:
    alone = replace(problem, space=problem.space.only(branch.name))
    return draw_new(alone, set(), np.random.default_rng(0), count=_DRAWN, tries=20 * _DRAWN)


def _at_levels(
    problem: Problem,
    branch: Branch,
    parameter: Parameter,
    levels: Sequence[Level],
    points: Sequence[Point],
) -> Rows:
    """Those of the points that the problem admits at every level; (L, up to B)."""
    rows: Rows = [[] for _ in levels]
    for i, point in enumerate(points):
        built = []
        for _, value in levels:
            changes = {parameter.name: value(point[parameter.name])}
            # What a level brings with it is drawn alike for all of them.
            same = np.random.default_rng(i)
            built.append(problem.admissible(settled(branch, point, changes, same)))
        whole = [configuration for configuration in built if configuration is not None]
        if len(whole) == len(levels):
            for row, configuration in zip(rows, whole, strict=True):
                row.append(configuration)
    return rows


def _levels(parameter: Parameter) -> Iterator[tuple[str, list[Level]]]:
    """The factors of a parameter: their names and levels. Of a set, every member is one."""
    name, variable = parameter.name, parameter.variable
    match variable:
        case Choice():
            count = len(variable.options)
            chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_LEVELS)).round())
            options = [(_text(variable.options[int(i)]), _always(int(i))) for i in chosen]
            if len(options) > 1:
                yield name, options
        case Range():
            values = dict.fromkeys(variable.at(unit) for unit in np.linspace(0, 1, _PLACES))
            yield name, [(f"{value:.3g}", _always(value)) for value in values]
        case Subset():
            for i, option in enumerate(variable.options):
                yield f"{name} {_text(option)}", _switch(i)
        case Bits():
            for layer in range(variable.length):
                yield f"layer {layer}", _switch(layer)


def _always(value: Json) -> Callable[[Json], Json]:
    return lambda _: value


def _switch(position: int) -> list[Level]:
    return [(level, _bit(position, value)) for value, level in enumerate(_SWITCH)]


def _bit(position: int, value: int) -> Callable[[Json], Json]:
    return lambda bits: tuple(value if i == position else bit for i, bit in enumerate(bits))


def _text(option: Json) -> str:
    """An option in a few words: a dictionary with variables by its keys."""
    match option:
        case str():
            return option
        case Mapping():
            return ", ".join(
                f"{k} {v}" if isinstance(v, int | float | str) else str(k)
                for k, v in option.items()
            )
        case list() | tuple():
            return ", ".join(_text(each) for each in option)
        case _:
            return json.dumps(option, default=str)
