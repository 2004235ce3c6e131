"""The chance that a configuration can be trained, and holds the constraints that are measured."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import log_ndtr

from autopeft.domain.architecture import Configuration
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Trial
from autopeft.search.model.encoding import Array
from autopeft.search.model.memory import Memory, View
from autopeft.search.model.outcomes import Limit, of_constraints, of_failures
from autopeft.search.model.surrogate import Surrogate, condition

_LABEL_NOISE = 0.02  # variance of trained (1) or failed (0)


Odds = Callable[[Sequence[Configuration]], Array]
"""The log probability, (n,), of configurations."""


def make_odds(problem: Problem, history: Sequence[Trial], view: View, memory: Memory) -> Odds:
    """That they can be trained, and hold what is measured."""
    holding = make_holding(problem, history, view, memory)
    lesson = of_failures(history)
    if lesson is None:
        return holding
    trainable = _of_labels(view, history, *lesson, memory)

    def odds(configurations: Sequence[Configuration]) -> Array:
        mean, deviation = trainable.predict(view.rows(configurations).unsized())
        return np.asarray(holding(configurations) + log_ndtr((mean - 0.5) / deviation))

    return odds


def make_holding(problem: Problem, history: Sequence[Trial], view: View, memory: Memory) -> Odds:
    """That they hold, at the end of training, the constraints that are measured."""
    limits = [
        (limit, _of_limit(view, history, limit, memory))
        for limit in of_constraints(problem, history)
    ]

    def holding(configurations: Sequence[Configuration]) -> Array:
        rows, chances = view.rows(configurations), np.zeros(len(configurations))
        for limit, constrained in limits:
            about = rows.alone() if limit.estimated is None else rows.unsized()
            mean, deviation = constrained.predict(about)
            bounds = limit.bounds(problem, configurations)
            chances += log_ndtr(limit.sign * (bounds - mean) / deviation)
        return chances

    return holding


def _of_limit(view: View, history: Sequence[Trial], limit: Limit, memory: Memory) -> Surrogate:
    seen = limit.observations
    rows = view.rows(seen.configurations(history), seen.fidelity)
    # An estimate has the size of the adapter in it.
    rows = rows.alone() if limit.estimated is None else rows.unsized()
    return memory.conditioned(rows, seen, seen.values)


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
