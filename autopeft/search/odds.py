"""The chance that a configuration can be trained, and holds the constraints that are measured."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import log_ndtr

from autopeft.domain.architecture import Configuration
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Trial
from autopeft.search.encoding import Array
from autopeft.search.memory import Memory, View
from autopeft.search.outcomes import Limit, of_constraints, of_failures
from autopeft.search.surrogate import Surrogate, condition

_LABEL_NOISE = 0.02  # variance of trained (1) or failed (0)


def make_odds(
    problem: Problem, history: Sequence[Trial], view: View, memory: Memory
) -> Callable[[Sequence[Configuration]], Array]:
    """The log probability, (n,), that configurations can be trained and hold what is measured."""
    limits = [
        (limit, _of_limit(view, history, limit, memory))
        for limit in of_constraints(problem, history)
    ]
    lesson = of_failures(history)
    trainable = None if lesson is None else _of_labels(view, history, *lesson, memory)

    def odds(configurations: Sequence[Configuration]) -> Array:
        rows, chances = view.rows(configurations), np.zeros(len(configurations))
        for limit, constrained in limits:
            about = rows.alone() if limit.estimated is None else rows.unsized()
            mean, deviation = constrained.predict(about)
            bounds = limit.bounds(problem, configurations)
            chances += log_ndtr(limit.sign * (bounds - mean) / deviation)
        if trainable is not None:
            mean, deviation = trainable.predict(rows.unsized())
            chances += log_ndtr((mean - 0.5) / deviation)
        return chances

    return odds


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
