"""Expected hypervolume gain by BoTorch's models over plain arrays, some objectives known.

For studies without adapters (`as_optuna`): the front is drawn from the joint posterior at what was
tried and at what runs, and the gain over each draw is a sum over boxes (`box_gain`). With one
objective it is noisy EI (Letham 2019, arXiv 1706.07094), with several noisy EHVI (Daulton 2021,
arXiv 2105.08195).

N: candidates; d: columns; m: objectives, k of them known; p: running trials.
"""

from collections.abc import Callable, Sequence

import numpy as np
from botorch.models.model import Model
from scipy.linalg import solve_triangular
from scipy.special import log_ndtr

from autopeft.domain.pareto import Array
from autopeft.search.botorch.acquisition import Fit, Observed
from autopeft.search.botorch.models import moments
from autopeft.search.gain import beliefs
from autopeft.search.gain.beliefs import Belief, Drawn, drawn_at, stacked
from autopeft.search.gain.box_gain import Boxes, Excess, on_a_front
from autopeft.search.gain.staircase import LEAST, improvement
from autopeft.search.model.surrogate import root

_DRAWS = 16
_MANY = 64  # draws that tell who may be on the front
_CHUNK = 128  # candidates that are scored together
_JITTER = 1e-8


def expected_gain(
    observed: Observed,
    fit: Fit,
    *,
    known: Sequence[int],
    running: Array,
    reference: Array,
    seed: int,
) -> Callable[[Array, Array], Array]:
    """X (N, d), exact scores (N, k) -> (N,) log expected gain; run it inside
    `torch_state.deterministic`.

    known: the columns of Y that are exact. running: (p, k) exact scores. reference: (m,).
    """
    width = observed.X.shape[1]
    believed = _believed(observed, fit, known, reference)
    limits = [
        fit(observed.X[there], values[there])
        for values in observed.C.T
        if (there := ~np.isnan(values)).sum() > 1
    ]
    tried = np.hstack([observed.X, observed.Y[:, list(known)]])[observed.feasible]
    against = np.vstack([tried, np.hstack([observed.pending, running])])
    if len(against):
        may = on_a_front(stacked(drawn_at(believed, against, _MANY, [seed, _MANY])))
        may[len(tried) :] = True  # what runs keeps a batch apart
        against = against[may]
    front = drawn_at(believed, against, _DRAWS, [seed, _DRAWS])
    boxes = [Boxes.above(Y) for Y in stacked(front)]

    def gain(X: Array, exact: Array) -> Array:
        rows = np.hstack([X, exact])
        return np.concatenate([_of(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)])

    def _of(rows: Array) -> Array:
        excess = [each.given(rows) for each in front]
        total = np.mean([each.gain(excess, s) for s, each in enumerate(boxes)], axis=0)
        found = np.log(np.maximum(total, LEAST))
        for limit in limits:
            middle, spread = moments(limit, rows[:, :width])
            found += log_ndtr(-middle / np.sqrt(np.maximum(np.diag(spread), _JITTER)))
        return np.asarray(found)

    return gain


def _believed(
    observed: Observed, fit: Fit, known: Sequence[int], reference: Array
) -> list[Belief[Array]]:
    """Of every objective, over rows that have the exact scores behind the columns of X."""
    width = observed.X.shape[1]
    found: list[Belief[Array]] = []
    for j, (y, origin) in enumerate(zip(observed.Y.T, reference, strict=True)):
        if j in known:
            found.append(beliefs.known(_column(width + list(known).index(j), float(origin))))
        else:
            found.append(_modelled(fit(observed.X, y - origin), width))
    return found


def _column(at: int, reference: float) -> Callable[[Array], Array]:
    return lambda rows: rows[:, at] - reference


def _modelled(model: Model, width: int) -> Belief[Array]:
    """By the posterior at the first `width` columns."""

    def belief(there: Array, count: int, rng: np.random.Generator) -> Drawn[Array]:
        before = len(there)
        mean, factor = np.zeros(0), np.zeros((0, 0))
        if before:
            mean, covariance = moments(model, there[:, :width])
            factor = root(covariance + _JITTER * np.eye(before))
        normal = rng.standard_normal((before, count))

        def given(others: Array) -> Excess:
            every, covariance = moments(model, np.vstack([there, others])[:, :width])
            part = np.zeros((0, len(others)))
            if before:
                part = solve_triangular(factor, covariance[:before, before:], lower=True)
            variance = np.diag(covariance)[before:] - (part**2).sum(axis=0)
            means = every[before:] + normal.T @ part
            deviation = np.sqrt(np.maximum(variance, _JITTER))[:, None]
            return lambda draw, heights: improvement(means[draw][:, None], deviation, heights)

        return Drawn(mean + (factor @ normal).T, given)

    return belief
