"""A Gaussian process that knows what it models: an adapter that vanishes leaves the base.

    f(x) = (1 - s(x)) b + s(x) (m + g(x)),   s(x) = 1 - exp(-sqrt(p(x) / p0))

p: parameters of the adapter; b: the score of the frozen base; m: the mean of trained adapters; g: a
process with an RBF kernel, one length scale per feature. b and m are standard normal on
standardised outcomes and integrated out. How soon an adapter counts, p0, is chosen with the length
scales by the likelihood, and nothing at all (s = 1) is among the choices: where small adapters do
well the prior switches itself off.

Length scales have the dimension-scaled log-normal prior of Hvarfner 2024 (arXiv 2402.02746).
Analytic gradients keep a fit of 200 points in tens of milliseconds, which BoTorch's, by autograd,
is not. Units: X (n, d) in [0, 1]; y (n,); noise (n,) variances of y.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from autopeft.search.encoding import Array

_ITERATIONS = 40  # of L-BFGS
_JITTER = 1e-6
_SPREAD = 3.0  # variance of a prior in log space
_SIGNAL = 0.1  # the same, of the signal: outcomes are standardised
_NOISE = 0.1  # the same, of the noise: standard errors are told
_VANISHING = (0.0, 0.3, 1.0, 3.0)  # p0, in units of the smallest adapter; 0 is no prior


@dataclass(frozen=True)
class Hyperparameters:
    """scales: (d,) length scales. signal: variance of g. noise: factor on the told variances.
    vanishing: p0, in the units of `size`; 0 where adapters do not vanish."""

    scales: Array
    signal: float
    noise: float
    vanishing: float


@dataclass(frozen=True)
class Surrogate:
    """A fitted process on standardised outcomes.

    X: (n, d). size: (n,) parameters of each adapter. y: (n,) standardised. factor: (n, n) lower
    Cholesky factor of the kernel with noise. weights: (n,) the kernel's inverse times y.
    """

    hyperparameters: Hyperparameters
    X: Array
    size: Array
    y: Array
    factor: Array
    weights: Array
    shift: float
    spread: float

    def predict(self, X: Array, size: Array) -> tuple[Array, Array]:
        """(n,) mean and standard deviation of f, noise left out, on the outcomes' own scale."""
        cross = _kernel(self.hyperparameters, X, size, self.X, self.size)
        mean = cross @ self.weights
        solved = solve_triangular(self.factor, cross.T, lower=True)
        variance = _variance(self.hyperparameters, size) - (solved**2).sum(axis=0)
        deviation = np.sqrt(np.maximum(variance, _JITTER))
        return self.shift + self.spread * mean, self.spread * deviation

    def draws(self, X: Array, size: Array, count: int, rng: np.random.Generator) -> Array:
        """(count, n) joint draws of f."""
        cross = _kernel(self.hyperparameters, X, size, self.X, self.size)
        solved = solve_triangular(self.factor, cross.T, lower=True)
        prior = _kernel(self.hyperparameters, X, size, X, size)
        covariance = prior - solved.T @ solved
        covariance[np.diag_indices_from(covariance)] += _JITTER * 10
        root = _root(covariance)
        found = cross @ self.weights + (root @ rng.standard_normal((len(X), count))).T
        return np.asarray(self.shift + self.spread * found)

    def believing(self, X: Array, size: Array) -> "Surrogate":
        """The process after its own mean was seen at X: for trials that are running."""
        if not len(X):
            return self
        mean, _ = self.predict(X, size)
        noise = np.full(len(X), 10 * _JITTER)
        told = np.append(self.y, (mean - self.shift) / self.spread)
        base = self.factor @ self.factor.T
        kernel = _kernel(self.hyperparameters, X, size, X, size)
        cross = _kernel(self.hyperparameters, self.X, self.size, X, size)
        whole = np.block([[base, cross], [cross.T, kernel + np.diag(noise)]])
        return _solved(
            self.hyperparameters,
            np.vstack([self.X, X]),
            np.append(self.size, size),
            told,
            whole,
            self.shift,
            self.spread,
        )

    def left_out_error(self) -> float:
        """Mean squared error of each outcome, predicted from the others, over their variance.

        In closed form (Rasmussen and Williams 2006, equations 5.10 to 5.12); 1 is the mean's own.
        """
        inverse = cho_solve((self.factor, True), np.eye(len(self.y)))
        errors = self.weights / np.diag(inverse)
        return float(np.mean(errors**2) / max(float(np.var(self.y)), 1e-12))


def condition(
    hyperparameters: Hyperparameters, X: Array, size: Array, y: Array, noise: Array
) -> Surrogate:
    """The process with these hyperparameters, after (X, y) was seen."""
    shift, spread = float(np.mean(y)), float(np.std(y)) or 1.0
    kernel = _kernel(hyperparameters, X, size, X, size)
    kernel[np.diag_indices_from(kernel)] += hyperparameters.noise * noise / spread**2 + _JITTER
    return _solved(hyperparameters, X, size, (y - shift) / spread, kernel, shift, spread)


def fit(X: Array, size: Array, y: Array, noise: Array) -> Hyperparameters:
    """The most probable hyperparameters; deterministic. n >= 2."""
    spread = float(np.std(y)) or 1.0
    standard, variances = (y - np.mean(y)) / spread, noise / spread**2
    squares = (X[:, None, :] - X[None, :, :]) ** 2
    smallest = float(size[size > 0].min()) if np.any(size > 0) else 1.0
    best: tuple[float, Array, float] | None = None
    for vanishing in _VANISHING if np.any(size > 0) else (0.0,):
        p0 = vanishing * smallest
        loss = _Loss(squares, _strength(size, p0), standard, variances)
        # The first is fitted in full, the others go on from there.
        start = _start(X.shape[1]) if best is None else best[1]
        options = {"maxiter": _ITERATIONS if best is None else _ITERATIONS // 4}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        if best is None or found.fun < best[0]:
            best = (float(found.fun), found.x, p0)
    assert best is not None
    _, theta, p0 = best
    scales, signal, noise_factor = np.exp(theta[:-2]), np.exp(theta[-2]), np.exp(theta[-1])
    return Hyperparameters(scales, float(signal), float(noise_factor), p0)


class _Loss:
    """Negative log posterior of (log scales, log signal, log noise) and its gradient."""

    def __init__(self, squares: Array, strength: Array, y: Array, noise: Array) -> None:
        self._flat = squares.reshape(-1, squares.shape[2])
        self._both = np.outer(strength, strength)
        # b and m, each of variance 1.
        self._means = self._both + np.outer(1 - strength, 1 - strength)
        self._y, self._noise = y, noise
        self._centre = _centre(squares.shape[2])

    def __call__(self, theta: Array) -> tuple[float, Array]:
        theta = np.clip(theta, -8.0, 8.0)
        inverse_squares = np.exp(-2 * theta[:-2])
        signal, factor = np.exp(theta[-2]), np.exp(theta[-1])
        n = len(self._y)
        shape = np.exp(-0.5 * (self._flat @ inverse_squares)).reshape(n, n)
        part = signal * self._both * shape
        kernel = part + self._means
        kernel[np.diag_indices(n)] += factor * self._noise + _JITTER
        try:
            lower = cholesky(kernel, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        weights = cho_solve((lower, True), self._y)
        inverse = cho_solve((lower, True), np.eye(n))
        slope = inverse - np.outer(weights, weights)  # twice the gradient with respect to K
        by_scale = 0.5 * ((slope * part).reshape(-1) @ self._flat) * inverse_squares
        by_signal = 0.5 * float(np.sum(slope * part))
        by_noise = 0.5 * factor * float(np.diag(slope) @ self._noise)
        away = theta - self._centre
        spread = np.append(np.full(len(theta) - 2, _SPREAD), [_SIGNAL, _NOISE])
        loss = 0.5 * float(self._y @ weights) + float(np.log(np.diag(lower)).sum())
        loss += 0.5 * float((away**2 / spread).sum())
        gradient = np.concatenate([by_scale, [by_signal, by_noise]]) + away / spread
        return loss, gradient


def _centre(features: int) -> Array:
    """The prior's centre: scales that grow with the dimension, signal and noise factor 1."""
    scale = np.sqrt(2) + 0.5 * np.log(features)
    return np.append(np.full(features, scale), [0.0, 0.0])


def _start(features: int) -> Array:
    """At the prior's mode: from long scales a fit may stay where every feature is irrelevant."""
    found = _centre(features)
    found[:features] -= _SPREAD
    return found


def _strength(size: Array, p0: float) -> Array:
    """(n,) s: how far each adapter is from none."""
    return np.ones(len(size)) if p0 <= 0 else 1 - np.exp(-np.sqrt(size / p0))


def _kernel(h: Hyperparameters, X: Array, size: Array, Z: Array, other: Array) -> Array:
    left, right = X / h.scales, Z / h.scales
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    one, two = _strength(size, h.vanishing), _strength(other, h.vanishing)
    shape = h.signal * np.exp(-0.5 * np.maximum(squares, 0.0)) + 1
    return np.asarray(np.outer(one, two) * shape + np.outer(1 - one, 1 - two))


def _variance(h: Hyperparameters, size: Array) -> Array:
    strength = _strength(size, h.vanishing)
    return np.asarray(strength**2 * (h.signal + 1) + (1 - strength) ** 2)


def _solved(
    h: Hyperparameters, X: Array, size: Array, y: Array, kernel: Array, shift: float, spread: float
) -> Surrogate:
    factor = _root(kernel)
    return Surrogate(h, X, size, y, factor, cho_solve((factor, True), y), shift, spread)


def _root(kernel: Array) -> Array:
    """The lower Cholesky factor, with as much jitter as that takes."""
    tries: Sequence[float] = (0.0, 1e-6, 1e-4, 1e-2)
    for jitter in tries:
        try:
            return np.asarray(cholesky(kernel + jitter * np.eye(len(kernel)), lower=True))
        except np.linalg.LinAlgError:
            continue
    raise np.linalg.LinAlgError("the kernel has no Cholesky factor")
