"""A Gaussian process after observations; `prior` says what it expects, `fitting` how it is fitted.

n: observations; m: places of draws; S: draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from autopeft.search.model import prior
from autopeft.search.model.encoding import Array
from autopeft.search.model.fitting import JITTER
from autopeft.search.model.prior import Hyperparameters, Rows, kernel


@dataclass(frozen=True)
class Surrogate:
    """A process after observations.

    rows: n of them. y: (n,) standardised, the prior mean taken off. factor: (n, n) lower Cholesky
    factor of the kernel with noise. weights: (n,) the kernel's inverse times y.
    shift, spread: what outcomes are standardised by.
    """

    hyperparameters: Hyperparameters
    rows: Rows
    y: Array
    factor: Array
    weights: Array
    shift: float
    spread: float

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """(n,) mean and standard deviation of f, noise left out, on the outcomes' own scale."""
        mean, variance, _ = self._at(rows)
        deviation = np.sqrt(np.maximum(variance, JITTER))
        return self.shift + self.spread * mean, self.spread * deviation

    def joint(self, rows: Rows) -> tuple[Array, Array]:
        """(m,) mean and (m, m) covariance of f, noise left out, on the outcomes' own scale."""
        mean, _, solved = self._at(rows)
        covariance = kernel(self.hyperparameters, rows, rows) - solved.T @ solved
        return self.shift + self.spread * mean, self.spread**2 * covariance

    def draws(self, rows: Rows, count: int, rng: np.random.Generator) -> "Draws":
        """Joint draws of f there, to be predicted from."""
        mean, _, solved = self._at(rows)
        covariance = kernel(self.hyperparameters, rows, rows) - solved.T @ solved
        covariance[np.diag_indices_from(covariance)] += JITTER * 10
        normal = rng.standard_normal((len(rows), count))
        return Draws(self, rows, mean, solved, root(covariance), normal)

    def _at(self, rows: Rows) -> tuple[Array, Array, Array]:
        """(m,) mean and variance of f at m rows, and (n, m) the factor's inverse times the kernel
        between; standardised."""
        h = self.hyperparameters
        cross = kernel(h, self.rows, rows)
        solved = solve_triangular(self.factor, cross, lower=True, check_finite=False)
        mean = prior.mean(h, rows) + self.weights @ cross
        return mean, prior.variance(h, rows) - (solved**2).sum(axis=0), solved

    def left_out(self, y: Array) -> Array:
        """(n,) what would be expected of each observation had it not been seen; y: the observed.

        Rasmussen and Williams 2006, equation 5.12.
        """
        inverse = cho_solve((self.factor, True), np.eye(len(y)))
        return np.asarray(y - self.spread * self.weights / np.diag(inverse))

    def left_out_error(self, groups: Sequence[int]) -> float:
        """Squared error of the outcomes, each predicted without its group, over the mean's error.

        The mean is that of the other groups: above 1 the process says less than no model at all.
        In closed form (Rasmussen and Williams 2006, equations 5.10 to 5.12, by blocks).

        groups: (n,) outcomes of one trial belong together; two groups at least.
        """
        inverse = cho_solve((self.factor, True), np.eye(len(self.y)))
        y = self.y + prior.mean(self.hyperparameters, self.rows)
        _, place, count = np.unique(groups, return_inverse=True, return_counts=True)
        total = np.bincount(place, y)
        others = (y.sum() - total) / (len(y) - count)  # by group, the mean of all others
        errors = self.weights / np.diag(inverse)  # of those that are alone in their group
        for group in np.flatnonzero(count > 1):
            inside = np.flatnonzero(place == group)
            errors[inside] = np.linalg.solve(inverse[np.ix_(inside, inside)], self.weights[inside])
        plain = float(((y - others[place]) ** 2).sum())
        return float((errors**2).sum()) / plain if plain > 0 else 0.0


@dataclass(frozen=True)
class Draws:
    """Joint draws of f at m rows, and f elsewhere given each of them.

    mean: (m,), standardised. solved: (n, m), see `Surrogate._at`.
    factor: (m, m) lower Cholesky factor of the covariance. normal: (m, S) what was drawn.
    """

    surrogate: Surrogate
    rows: Rows
    mean: Array
    solved: Array
    factor: Array
    normal: Array

    @property
    def values(self) -> Array:
        """(S, m)."""
        drawn = self.mean + (self.factor @ self.normal).T
        return np.asarray(self.surrogate.shift + self.surrogate.spread * drawn)

    def given(self, rows: Rows) -> tuple[Array, Array]:
        """(S, n) mean and (n,) standard deviation of f elsewhere, where each draw is true."""
        model = self.surrogate
        mean, variance, solved = model._at(rows)
        left = kernel(model.hyperparameters, self.rows, rows) - self.solved.T @ solved
        part = solve_triangular(self.factor, left, lower=True, check_finite=False)
        variance = np.maximum(variance, JITTER) - (part**2).sum(axis=0)
        means = model.shift + model.spread * (mean + self.normal.T @ part)
        return means, model.spread * np.sqrt(np.maximum(variance, JITTER))


def condition(h: Hyperparameters, rows: Rows, y: Array, noise: Array) -> Surrogate:
    """The process with these hyperparameters, after y, (n,), was seen; noise: (n,) variances."""
    shift, spread = float(np.mean(y)), float(np.std(y)) or 1.0
    covariance = kernel(h, rows, rows)
    covariance[np.diag_indices_from(covariance)] += h.noise * noise / spread**2 + JITTER
    standard = (y - shift) / spread - prior.mean(h, rows)
    factor = root(covariance)
    weights = cho_solve((factor, True), standard)
    return Surrogate(h, rows, standard, factor, weights, shift, spread)


def root(covariance: Array) -> Array:
    """The lower Cholesky factor, with as much jitter as that takes."""
    for jitter in (0.0, 1e-6, 1e-4, 1e-2):
        steadied = covariance + jitter * np.eye(len(covariance)) if jitter else covariance
        try:
            return np.asarray(cholesky(steadied, lower=True))
        except np.linalg.LinAlgError:
            continue
    raise np.linalg.LinAlgError("the kernel has no Cholesky factor")
