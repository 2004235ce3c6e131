"""Expected hypervolume improvement where one objective is measured and the other is known.

With cost z known exactly, the front is a staircase over z, and the improvement of a candidate is
an integral of one-dimensional expected improvements (the two-objective EHVI of Emmerich 2011 with
one variance at zero):

    EHVI(x) = sum over steps k of |(0, z(x)] in step k| EI(mean(x), deviation(x); height of k)

The front is noisy, so it is drawn: heights come from joint posterior draws at what was tried
(Daulton 2021, arXiv 2105.08195), and the sum is averaged. Trials that run are believed to end at
their mean. With a single measured objective there is one step, and the score is noisy EI.

Scores are on `outcomes.Scale`: reference at 0. N: candidates; m: tried; S: draws; K: steps.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr, ndtr

from autopeft.domain.architecture import Configuration
from autopeft.domain.front import feasible
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Trial
from autopeft.search.encoding import Array
from autopeft.search.memory import Memory, View
from autopeft.search.outcomes import (
    Observations,
    Scale,
    Score,
    compared,
    of_constraints,
    of_failures,
    of_objective,
    share_of,
)
from autopeft.search.surrogate import Surrogate, condition

_DRAWS = 16
_DRAWS_OF_ONE = 1024  # a gain of a thousandth is told within about a fifth of it
_DRAWS_OF_MANY = 256
_LEAST = 1e-300
_LABEL_NOISE = 0.02  # variance of trained (1) or failed (0)
_USUAL_NOISE = 0.02**2  # where no standard error is told, of the outcomes' range


def applies(problem: Problem) -> bool:
    """One measured objective, and at most one known."""
    known = [objective.known for objective in problem.objectives]
    return known.count(False) == 1 and len(known) <= 2


def make_score(
    problem: Problem,
    history: Sequence[Trial],
    candidates: Sequence[Configuration],
    seed: int,
    memory: Memory,
) -> Score:
    """The log of the expected gain.

    candidates: examples of what will be scored, for the scale.
    """
    view = memory.view(problem, history)
    scale = Scale.of(problem, history, candidates)
    measured = next(j for j, objective in enumerate(problem.objectives) if not objective.known)
    seen = of_objective(history, scale, measured)
    values = _softened(seen.values)
    model = _fitted(view, history, seen, values, memory)
    done, pending = compared(problem, history)
    model = model.believing(view.rows([trial.configuration for trial in pending]))
    limits = [
        (limit, _fitted(view, history, limit.observations, limit.observations.values, memory))
        for limit in of_constraints(problem, history)
    ]
    lesson = of_failures(history)
    trainable = None if lesson is None else _of_labels(view, history, *lesson, memory)

    # What breaks a constraint is on no front, and hides nothing that holds it.
    held = feasible(problem.constraints, problem.objectives, history, done)
    against = [trial.configuration for trial in (*held, *pending)]
    drawn = model.draws(view.rows(against), _DRAWS, np.random.default_rng(seed))
    known = len(problem.objectives) > 1

    def reach(configurations: Sequence[Configuration]) -> Array:
        """(n,) exact scores; 1 where nothing is known."""
        if not known:
            return np.ones(len(configurations))
        return scale.known(problem, configurations)[:, 1 - measured]

    edges, heights = _staircase(reach(against), drawn)

    def score(configurations: Sequence[Configuration]) -> Array:
        mean, deviation = model.predict(view.rows(configurations))
        found = _gain(mean, deviation, reach(configurations), edges, heights)
        return np.asarray(np.log(np.maximum(found, _LEAST)) + odds(configurations))

    def odds(configurations: Sequence[Configuration]) -> Array:
        """(n,) log probability that they can be trained and hold what is measured."""
        rows, found = view.rows(configurations), np.zeros(len(configurations))
        for limit, constrained in limits:
            mean, deviation = constrained.predict(rows)
            found += log_ndtr(limit.sign * (limit.bound - mean) / deviation)
        if trainable is not None:
            mean, deviation = trainable.predict(rows.unsized())
            found += log_ndtr((mean - 0.5) / deviation)
        return found

    def growth(configurations: Sequence[Configuration]) -> float:
        rng = np.random.default_rng([seed, len(configurations)])
        every, before = [*against, *configurations], len(against)
        count = _DRAWS_OF_ONE if len(configurations) == 1 else _DRAWS_OF_MANY
        drawn, cost = model.draws(view.rows(every), count, rng), reach(every)
        kept = np.log(rng.random((count, len(configurations)))) < odds(configurations)
        drawn[:, before:] = np.where(kept, drawn[:, before:], -np.inf)
        reached = _volume(*_staircase(cost[:before], drawn[:, :before]))
        return share_of(_volume(*_staircase(cost, drawn)) - reached, reached)

    return Score(score, growth)


def _softened(values: Array) -> Array:
    """Below the reference only the order counts: a diverged run would bend everything else."""
    return np.where(values < 0, -np.log1p(np.maximum(-values, 0)), values)


def _fitted(
    view: View, history: Sequence[Trial], seen: Observations, values: Array, memory: Memory
) -> Surrogate:
    configurations = [history[position].configuration for position in seen.trials]
    rows = view.rows(configurations, seen.fidelity)
    noise = np.full(len(values), _USUAL_NOISE) if seen.noise is None else seen.noise
    hyperparameters = memory.hyperparameters(rows, values, noise)
    return condition(hyperparameters, rows, values, noise)


def _of_labels(
    view: View,
    history: Sequence[Trial],
    positions: Sequence[int],
    labels: Array,
    memory: Memory,
) -> Surrogate:
    rows = view.rows([history[position].configuration for position in positions]).unsized()
    noise = np.full(len(labels), _LABEL_NOISE)
    return condition(memory.hyperparameters(rows, labels, noise), rows, labels, noise)


def _staircase(cost: Array, drawn: Array) -> tuple[Array, Array]:
    """(K + 1,) edges on the cost axis, from 0 to infinity; (S, K) best value at each cost or more.

    cost: (m,) scores, larger is cheaper. drawn: (S, m).
    """
    order = np.argsort(cost, kind="stable")
    best = np.maximum.accumulate(drawn[:, order][:, ::-1], axis=1)[:, ::-1]
    heights = np.maximum(np.hstack([best, np.zeros((len(drawn), 1))]), 0.0)
    edges = np.concatenate([[0.0], np.maximum(cost[order], 0.0), [np.inf]])
    wide = np.diff(edges) > 0
    heights, ends = heights[:, wide], edges[1:][wide]
    # Of neighbouring steps of one height, the last: the others end inside it.
    last = np.append(np.any(heights[:, 1:] != heights[:, :-1], axis=0), True)
    return np.concatenate([[0.0], ends[last]]), heights[:, last]


def _volume(edges: Array, heights: Array) -> float:
    """The hypervolume under the staircase, the mean over the draws."""
    ends = np.isfinite(edges[1:])  # the last step has no end and no height
    return float((heights[:, ends] @ np.diff(edges)[ends]).mean())


def _gain(mean: Array, deviation: Array, reach: Array, edges: Array, heights: Array) -> Array:
    """(N,) EHVI, the mean over the draws."""
    overlap = np.clip(np.minimum(reach[:, None], edges[None, 1:]) - edges[None, :-1], 0.0, None)
    gain = np.zeros(len(mean))
    for drawn in heights:
        z = (mean[:, None] - drawn[None, :]) / deviation[:, None]
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        gain += (overlap * deviation[:, None] * (density + z * ndtr(z))).sum(axis=1)
    return gain / len(heights)
