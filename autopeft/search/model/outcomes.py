"""What a history says, as arrays for a model.

Rows: one for every rung of every trial that has the measured objectives there, so that partial
results inform; `fidelity` is the share of training done, and predictions are made at 1.
Scores are normalised by a `scale`.

n: rows; m: objectives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import OutcomeError
from autopeft.domain.objective import Constraint
from autopeft.domain.ports import Problem
from autopeft.domain.results.front import baseline_metrics, feasible
from autopeft.domain.results.replicates import merged, seed_factor
from autopeft.domain.trial import State, Trial
from autopeft.search.model.costs import estimated, log_estimates, log_ratio
from autopeft.search.model.encoding import Array
from autopeft.search.model.progress import at_the_end, told_rungs, told_shares
from autopeft.search.model.scale import Scale

_DIVERGED = 1000.0  # below the reference, in units of how far the best is above it


@dataclass(frozen=True)
class Score:
    """Configurations -> (n,) log of the expected gain of hypervolume; larger is better.

    growth: how much more hypervolume all of these configurations together are expected to bring,
        as a share (`share_of`), by joint draws of the posterior: more of them than it takes to
        choose one candidate from the next, for this is shown and stopped by.
    """

    log_gain: Callable[[Sequence[Configuration]], Array]
    growth: Callable[[Sequence[Configuration]], float]

    def __call__(self, configurations: Sequence[Configuration]) -> Array:
        return self.log_gain(configurations)


def share_of(gain: float, reached: float) -> float:
    """A gain of hypervolume over the one that is reached, at most 1: also where that is nothing.

    Unlike the gain it does not depend on the units of an axis, which grow with the best seen.
    """
    if gain <= 0:
        return 0.0
    return gain / reached if gain < reached else 1.0


@dataclass(frozen=True)
class Observations:
    """Measurements of one quantity.

    trials: (n,) positions in the history. fidelity, values: (n,).
    noise: (n,) variances; None where no standard error is known.
    """

    trials: tuple[int, ...]
    fidelity: Array
    values: Array
    noise: Array | None

    def configurations(self, history: Sequence[Trial]) -> list[Configuration]:
        """(n,) what was observed."""
        return [history[position].configuration for position in self.trials]


@dataclass(frozen=True)
class Limit:
    """A measured constraint, as `sign * (value - bound) <= 0`.

    estimated: the metric, where the observations are of log(measured / estimate) and the bound is
    that of log(measured): then the value of a configuration is above its log(estimate).
    """

    observations: Observations
    bound: float
    sign: float
    estimated: str | None = None

    def bounds(self, problem: Problem, configurations: Sequence[Configuration]) -> Array:
        """(n,) of what is observed."""
        if self.estimated is None:
            return np.full(len(configurations), self.bound)
        return self.bound - log_estimates(problem, self.estimated, configurations)


def compared(problem: Problem, history: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """Trials that a candidate has to improve upon: those with a result, and the pending.

    Every configuration once, completed ones with the mean over their seeds; a replicate that runs
    is no new place on the front. A baseline is tuned against itself: the front of the search is no
    measure for it.
    """
    own = {branch.name for branch in problem.space.branches}
    tuning = not problem.space.searched
    among = [t for t in merged(history) if not tuning or t.configuration.branch in own]
    done = [t for t in among if t.rungs and t.state in (State.COMPLETED, State.PAUSED)]
    return done, [t for t in among if t.state is State.RUNNING]


def rivals(problem: Problem, history: Sequence[Trial]) -> list[Configuration]:
    """What a candidate has to improve upon: what was tried and what runs.

    What breaks a constraint is on no front, and hides nothing that holds it; a cost that grows is
    held against it as it will be at the end.
    """
    told, pending = compared(problem, at_the_end(problem, history))
    held = feasible(problem.constraints, problem.objectives, history, told)
    return [trial.configuration for trial in (*held, *pending)]


def of_objective(
    problem: Problem, history: Sequence[Trial], scale: Scale, index: int
) -> Observations:
    """The normalised observations of one measured objective."""
    objective = scale.objectives[index]
    rows = []
    for position, fidelity, rung in told_rungs(problem, history):
        try:
            value = objective.score(rung.metrics)
        except OutcomeError:
            continue
        deviation = rung.stderr.get(objective.metric)
        if deviation is not None:
            deviation = objective.deviation(rung.metrics[objective.metric], deviation)
        rows.append((position, fidelity, value, deviation))
    factor = seed_factor(history, objective.metric)
    return _observations(rows, float(scale.reference[index]), float(scale.span[index]), factor)


def of_cost(problem: Problem, history: Sequence[Trial], metric: str) -> Observations:
    """log(measured / estimate) of a cost, at every rung where it was measured."""
    rows: list[tuple[int, float, float, float | None]] = []
    for position, share, rung in told_shares(problem, history):
        if rung.metrics.get(metric, 0.0) > 0:
            ratio = log_ratio(problem, metric, history[position], rung, share)
            rows.append((position, share, ratio, None))
    return _observations(rows, 0.0, 1.0, 1.0)


def softened(values: Array) -> Array:
    """Below the reference only the order counts: a diverged run would bend everything else.

    And that only down to what diverged: how far it did says nothing.
    """
    return np.where(values < 0, -np.log1p(np.clip(-values, 0, _DIVERGED)), values)


def of_constraints(problem: Problem, history: Sequence[Trial]) -> list[Limit]:
    """The constraints that have to be measured and whose bound is known by now."""
    baselines = baseline_metrics(problem.objectives, history)
    limits = []
    for constraint in problem.constraints:
        bound = constraint.bound(baselines)
        if constraint.known or bound is None:
            continue
        sign = 1.0 if constraint.operator in ("<", "<=") else -1.0
        if bound > 0 and estimated(problem, constraint.metric):
            seen = of_cost(problem, history, constraint.metric)
            if len(seen.trials) > 1:
                limits.append(Limit(seen, float(np.log(bound)), sign, constraint.metric))
            continue
        rows = [
            (
                position,
                fidelity,
                rung.metrics[constraint.metric],
                rung.stderr.get(constraint.metric),
            )
            for position, fidelity, rung in told_rungs(problem, history)
            if constraint.metric in rung.metrics
        ]
        if len(rows) > 1:
            values = [value for _, _, value, _ in rows]
            span = float(np.std(values)) or 1.0
            factor = seed_factor(history, constraint.metric)
            limits.append(Limit(_observations(rows, bound, span, factor), 0.0, sign))
    return limits


def of_failures(history: Sequence[Trial]) -> tuple[tuple[int, ...], Array] | None:
    """Which trials could be trained: positions and (n,) 1 or 0; None without a lesson.

    Only failures that are the configuration's own fault count.
    """
    rows = [
        (position, float(trial.failure is None))
        for position, trial in enumerate(history)
        if (trial.failure.teaches if trial.failure is not None else bool(trial.rungs))
    ]
    labels = np.array([label for _, label in rows])
    if not len(labels) or labels.min() == labels.max():
        return None
    return tuple(position for position, _ in rows), labels


def known_limits(problem: Problem, history: Sequence[Trial]) -> Callable[[Configuration], bool]:
    """Whether the known metrics of a configuration hold the constraints that follow a baseline."""
    following: list[Constraint] = [c for c in problem.constraints if c.baseline is not None]
    baselines = baseline_metrics(problem.objectives, history) if following else {}

    def holds(configuration: Configuration) -> bool:
        if not following:
            return True
        metrics = problem.known(configuration.architecture)
        return all(constraint.holds(metrics, baselines) for constraint in following)

    return holds


def _observations(
    rows: Sequence[tuple[int, float, float, float | None]],
    origin: float,
    span: float,
    factor: float,
) -> Observations:
    """factor: the variance between seeds over the told one."""
    deviations = [deviation for *_, deviation in rows if deviation is not None]
    noise = None
    if deviations:
        usual = sqrt(float(np.median(np.square(deviations))))
        filled = [usual if deviation is None else deviation for *_, deviation in rows]
        noise = factor * (np.array(filled) / span) ** 2
    return Observations(
        trials=tuple(position for position, *_ in rows),
        fidelity=np.array([fidelity for _, fidelity, _, _ in rows]),
        values=(np.array([value for _, _, value, _ in rows]) - origin) / span,
        noise=noise,
    )
