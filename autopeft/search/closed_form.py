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
    softened,
)
from autopeft.search.surrogate import Rows, Surrogate, condition

_DRAWS = 16
_DOUBT = 0.1  # deviation of what earlier studies expect, of their outcomes' spread
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
    scale, measured = Scale.of(problem, history, candidates), _measured(problem)
    model = _of_objective(view, history, scale, measured, memory)
    done, pending = compared(problem, history)
    model = model.believing(view.rows([trial.configuration for trial in pending]))
    limits = [
        (limit, _of_limit(view, history, limit.observations, memory))
        for limit in of_constraints(problem, history)
    ]
    lesson = of_failures(history)
    trainable = None if lesson is None else _of_labels(view, history, *lesson, memory)

    # What breaks a constraint is on no front, and hides nothing that holds it.
    held = feasible(problem.constraints, problem.objectives, history, done)
    against = [trial.configuration for trial in (*held, *pending)]
    drawn = model.draws(view.rows(against), _DRAWS, np.random.default_rng(seed))
    known = len(problem.objectives) > 1
    cost = scale.known(problem, against)[:, 1 - measured] if known else np.ones(len(against))
    edges, heights = _staircase(cost, drawn)

    def score(configurations: Sequence[Configuration]) -> Array:
        rows = view.rows(configurations)
        mean, deviation = model.predict(rows)
        reach = np.ones(len(rows))
        if known:
            reach = scale.known(problem, configurations)[:, 1 - measured]
        found = np.log(np.maximum(_gain(mean, deviation, reach, edges, heights), _LEAST))
        for limit, constrained in limits:
            mean, deviation = constrained.predict(rows.alone())
            found += log_ndtr(limit.sign * (limit.bound - mean) / deviation)
        if trainable is not None:
            mean, deviation = trainable.predict(rows.unsized())
            found += log_ndtr((mean - 0.5) / deviation)
        return np.asarray(found)

    return score


def make_first_score(
    problem: Problem,
    history: Sequence[Trial],
    candidates: Sequence[Configuration],
    memory: Memory,
) -> Score:
    """The log of the gain that earlier studies expect, before anything is known of this one.

    Each trial of the history is believed to be what they expect of it, so the next is another
    step of the front that they predict. candidates: examples of what will be scored, for the scale.
    """
    view, measured = memory.view(problem, history), _measured(problem)
    scale = Scale.of_known(problem, [*candidates, *(t.configuration for t in history)])

    def reach(configurations: Sequence[Configuration]) -> Array:
        if len(problem.objectives) == 1:
            return np.ones(len(configurations))
        return scale.known(problem, configurations)[:, 1 - measured]

    def expected(configurations: Sequence[Configuration]) -> Array:
        told = view.rows(configurations).earlier
        assert told is not None
        return np.asarray(told.mean(axis=1))

    usual = float(np.median(expected(candidates)))
    own = {branch.name for branch in problem.space.branches}
    tried = [t.configuration for t in history if t.configuration.branch in own]
    edges, heights = _staircase(reach(tried), expected(tried)[None, :] - usual)

    def score(configurations: Sequence[Configuration]) -> Array:
        mean = expected(configurations) - usual
        doubt = np.full(len(mean), _DOUBT)
        gain = _gain(mean, doubt, reach(configurations), edges, heights)
        return np.asarray(np.log(np.maximum(gain, _LEAST)))

    return score


def trust(problem: Problem, history: Sequence[Trial], memory: Memory) -> float:
    """How far the results bear out earlier studies, from 0, not at all, to below 1."""
    view, scale = memory.view(problem, history), Scale.of(problem, history, ())
    model = _of_objective(view, history, scale, _measured(problem), memory)
    return model.hyperparameters.trust


def _measured(problem: Problem) -> int:
    return next(j for j, objective in enumerate(problem.objectives) if not objective.known)


def _of_objective(
    view: View, history: Sequence[Trial], scale: Scale, index: int, memory: Memory
) -> Surrogate:
    seen = of_objective(history, scale, index)
    rows = view.rows(_configurations(history, seen), seen.fidelity)
    return _fitted(rows, seen, softened(seen.values), memory)


def _configurations(history: Sequence[Trial], seen: Observations) -> list[Configuration]:
    return [history[position].configuration for position in seen.trials]


def _fitted(rows: Rows, seen: Observations, values: Array, memory: Memory) -> Surrogate:
    noise = np.full(len(values), _USUAL_NOISE) if seen.noise is None else seen.noise
    return condition(memory.hyperparameters(rows, values, noise), rows, values, noise)


def _of_limit(
    view: View, history: Sequence[Trial], seen: Observations, memory: Memory
) -> Surrogate:
    rows = view.rows(_configurations(history, seen), seen.fidelity).alone()
    return _fitted(rows, seen, seen.values, memory)


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


def _gain(mean: Array, deviation: Array, reach: Array, edges: Array, heights: Array) -> Array:
    """(N,) EHVI, the mean over the draws."""
    overlap = np.clip(np.minimum(reach[:, None], edges[None, 1:]) - edges[None, :-1], 0.0, None)
    gain = np.zeros(len(mean))
    for drawn in heights:
        z = (mean[:, None] - drawn[None, :]) / deviation[:, None]
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        gain += (overlap * deviation[:, None] * (density + z * ndtr(z))).sum(axis=1)
    return gain / len(heights)
