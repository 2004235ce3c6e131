"""The pick: which trial of a front to train and serve, and why.

A limit (`--when`) cuts first; of what is left the knee is taken, or the best by one metric.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from autopeft.domain.errors import AutopeftError
from autopeft.domain.nearest import nearest
from autopeft.domain.objective import METRICS, Constraint, Metric, Objective
from autopeft.domain.pareto import Array
from autopeft.domain.results.figures import amount, seeds
from autopeft.domain.results.front import baseline_metrics, feasible, front, outcomes
from autopeft.domain.results.prices import Neighbour, neighbours, prices
from autopeft.domain.results.replicates import averaged, standing
from autopeft.domain.trial import Trial

_NONE: Mapping[str, Metric] = {}


@dataclass(frozen=True)
class Pick:
    """The chosen trial, with the mean over its seeds, and in a sentence why.

    beside: its neighbours among those that hold the limits.
    """

    trial: Trial
    reason: str
    beside: tuple[Neighbour, ...] = ()


def pick(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    trials: Sequence[Trial],
    *,
    when: Sequence[Constraint] = (),
    prefer: str | None = None,
    declared: Mapping[str, Metric] = _NONE,
) -> Pick:
    """Choose one trial of the front.

    declared: the study's own metrics, by name.
    prefer: a metric to take the best of; without it, the knee: the member farthest above the
    straight line between the front's ends (Das 1999), on normalised scales.

    Raises:
        AutopeftError: no completed trial, or none that holds `when`; a metric that nobody measured.
    """
    members = front(objectives, constraints, trials)
    if not members:
        raise AutopeftError(
            "best needs a completed trial that holds the constraints, got none: "
            "wait for the search, or loosen the constraints"
        )
    goals = _goals(objectives, declared)
    _refuse_unmeasured(when, prefer, objectives, trials, goals)
    # A limit cuts first: inside it, a dominated trial may be the best there is.
    among = members
    if when:
        done = feasible(constraints, objectives, trials, averaged(trials))
        measured = [t for t in done if all(limit.metric in t.metrics for limit in when)]
        held = feasible(when, objectives, trials, measured)
        among = front(objectives, (), standing(trials, held) or held)
    if not among:
        limits = " and ".join(constraint.text for constraint in when)
        raise AutopeftError(
            f"no completed trial holds {limits}: loosen it "
            f"({_ranges(when, averaged(trials))} in this study)"
        )
    if prefer is not None:
        more = goals[prefer] == "maximize"
        sign = 1 if more else -1
        trial = max(among, key=lambda t: sign * t.metrics.get(prefer, -sign * math.inf))
        reason = f"{'highest' if more else 'lowest'} {prefer}"
    else:
        trial = among[int(np.argmax(_knee(outcomes(objectives, among))))]
        reason = "the knee"
    limits = "".join(f", with {constraint.text}" for constraint in when)
    place = f"{reason} of {len(among)}" if len(among) > 1 else "alone"
    told: dict[str, Objective | Metric | str] = {o.metric: o for o in objectives}
    if prefer in trial.metrics:
        told.setdefault(prefer, declared.get(prefer, prefer))
    text = f"trial {trial.number} is {place} on the front{limits}: " + ", ".join(
        f"{name} {amount(metric, trial.metrics[name])}" for name, metric in told.items()
    )
    said = prices(objectives, among, trial, beyond=members if when else ())
    beside = tuple(neighbours(objectives, among, trial))
    return Pick(trial, f"{text}{_over(trial, trials)}. {said}".strip(), beside)


def _over(trial: Trial, trials: Sequence[Trial]) -> str:
    text = seeds(trial, trials)
    return f", means of {text}" if text else ""


def _refuse_unmeasured(
    when: Sequence[Constraint],
    prefer: str | None,
    objectives: Sequence[Objective],
    trials: Sequence[Trial],
    goals: Mapping[str, str],
) -> None:
    """A limit on what nobody measured would hold for all."""
    measured = {metric for trial in averaged(trials) for metric in trial.metrics}
    for limit in when:
        if limit.metric not in measured:
            _refuse("--when", limit.metric, measured)
    baselines = baseline_metrics(objectives, trials)
    for limit in when:
        if limit.bound(baselines) is None:
            there = [f"{name}.{metric}" for name, told in baselines.items() for metric in told]
            _refuse("--when", f"{limit.baseline}.{limit.baseline_metric}", there, of="baselines.")
    if prefer is not None and prefer not in goals.keys() & measured:
        _refuse("--prefer", prefer, goals.keys() & measured)


def _refuse(option: str, name: str, there: Collection[str], of: str = "") -> NoReturn:
    hint = nearest(name, there, f"it has {', '.join(sorted(there)) or 'none'}", of)
    raise AutopeftError(f"{option} takes what this study measured, got {of}{name}: {hint}")


def _goals(objectives: Sequence[Objective], declared: Mapping[str, Metric]) -> Mapping[str, str]:
    goals = {name: metric.goal for name, metric in {**METRICS, **declared}.items()}
    return goals | {objective.metric: objective.goal for objective in objectives}


def _knee(Y: Array) -> Array:
    low, high = Y.min(axis=0), Y.max(axis=0)
    return np.asarray(((Y - low) / np.where(high > low, high - low, 1.0)).sum(axis=1))


def _ranges(constraints: Sequence[Constraint], trials: Sequence[Trial]) -> str:
    parts = []
    for metric in dict.fromkeys(constraint.metric for constraint in constraints):
        values = [t.metrics[metric] for t in trials if metric in t.metrics]
        if values:
            low, high = amount(metric, min(values)), amount(metric, max(values))
            parts.append(f"{metric} runs from {low} to {high}")
        else:
            parts.append(f"{metric} was not measured")
    return ", ".join(parts)


_WHEN = re.compile(r"\s+and\s+|,")
_LONGEST_WHEN = 5000  # characters; splitting takes their square


def parse_when(text: str) -> tuple[Constraint, ...]:
    """Read `trainable_params <= 50000 and accuracy >= 0.8`.

    Raises:
        AutopeftError: a part is no constraint.
    """
    if len(text) > _LONGEST_WHEN:
        raise AutopeftError(f"--when takes {_LONGEST_WHEN} characters or fewer, got {len(text)}")
    try:
        return tuple(Constraint.parse(part) for part in _WHEN.split(text) if part.strip())
    except ValueError as error:
        raise AutopeftError(f"--when: {error}") from error
