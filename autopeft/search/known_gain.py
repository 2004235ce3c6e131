"""Expected hypervolume gain by BoTorch's model of one objective beside one that is known.

The closed form of `closed_form`, for studies without adapters (`as_optuna`): the front is drawn
from the joint posterior at what was tried, and the gain over each draw is an integral of expected
improvements.

n: trials with a result; p: running ones; N: candidates; S: draws; a: what a candidate has to beat.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.special import log_ndtr

from autopeft.domain.pareto import Array
from autopeft.search.botorch_acquisition import Fit, Observed
from autopeft.search.gaussian_process import moments
from autopeft.search.staircase import LEAST, gain_over, rising, staircase

_DRAWS = 16
_MANY = 256  # draws that tell who may be on the front
_CHUNK = 128  # candidates that are scored together
_JITTER = 1e-6


def gain_beside_known(
    observed: Observed, fit: Fit, *, known: int, running: Array, reference: Array, seed: int
) -> Callable[[Array, Array], Array]:
    """X (N, d), exact scores (N,) -> (N,) log expected gain; run it inside
    `gaussian_process.deterministic`.

    known: the column of Y that is exact. running: (p,) exact scores. reference: (2,), see
    `botorch_acquisition.expected_gain`.
    """
    rng = np.random.default_rng(seed)
    model = fit(observed.X, observed.Y[:, 1 - known])
    limits = [
        fit(observed.X[there], values[there])
        for values in observed.C.T
        if (there := ~np.isnan(values)).sum() > 1
    ]
    held = observed.feasible
    against = np.vstack([observed.X[held], observed.pending])
    cost = np.append(observed.Y[held, known], running) - reference[known]

    def drawn(rows: Array, count: int) -> tuple[Array, Array, Array]:
        """(a,) mean, (a, a) factor of the covariance, (a, count) normals."""
        mean, covariance = moments(model, rows)
        factor = cholesky(covariance + _JITTER * np.eye(len(rows)), lower=True)
        return mean - reference[1 - known], factor, rng.standard_normal((len(rows), count))

    if len(against):
        mean, factor, normal = drawn(against, _MANY)
        on = rising(cost, mean + (factor @ normal).T)
        on[held.sum() :] = True  # what runs keeps a batch apart
        against, cost = against[on], cost[on]
    mean, factor, normal = drawn(against, _DRAWS) if len(against) else _nothing()
    edges, heights = staircase(cost, mean + (factor @ normal).T)

    def gain(X: Array, exact: Array) -> Array:
        chunks = range(0, len(X), _CHUNK)
        return np.concatenate([_of(X[i : i + _CHUNK], exact[i : i + _CHUNK]) for i in chunks])

    def _of(X: Array, exact: Array) -> Array:
        a = len(against)
        every, covariance = moments(model, np.vstack([against, X]))
        part = (
            solve_triangular(factor, covariance[:a, a:], lower=True) if a else np.zeros((0, len(X)))
        )
        variance = np.diag(covariance)[a:] - (part**2).sum(axis=0)
        means = every[a:] - reference[1 - known] + normal.T @ part
        deviation = np.sqrt(np.maximum(variance, _JITTER))
        total = gain_over(means, deviation, exact - reference[known], edges, heights)
        found = np.log(np.maximum(total, LEAST))
        for limit in limits:
            middle, spread = moments(limit, X)
            found += log_ndtr(-middle / np.sqrt(np.maximum(np.diag(spread), _JITTER)))
        return found

    return gain


def _nothing() -> tuple[Array, Array, Array]:
    """Draws where there is nothing to beat."""
    return np.zeros(0), np.zeros((0, 0)), np.zeros((0, _DRAWS))
