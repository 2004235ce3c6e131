"""A Gaussian process that knows what it models: adapters that vanish, and learning rates.

    f(x) = (1 - s) b + s (m + w h + g(x)),   s = 1 - exp(-sqrt(p / p0)),   h = (2 u - 1)^2

p: parameters of the adapter; p0: how large one has to be to count; b: the score of the frozen base,
which trained adapters are expected to beat; m: their mean; u: where the learning rate lies in its
range, 0 to 1, and w what the ends of the range cost; g: a process with an RBF kernel, one length
scale per feature. b, m and w are normal and integrated out; p0 is chosen with the length scales by
the likelihood, and nothing at all (s = 1) is among the choices: where small adapters do well this
prior switches itself off.

Length scales have the dimension-scaled log-normal prior of Hvarfner 2024 (arXiv 2402.02746).
Analytic gradients keep a fit of 200 points in tenths of a second, which BoTorch's, by autograd, is
not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from autopeft.search.encoding import Array

_ITERATIONS = 40  # of L-BFGS
_JITTER = 1e-6
_SPREAD = 3.0  # variance of a prior in log space
_SIGNAL = 0.1  # the same, of the signal: outcomes are standardised
_NOISE = 0.1  # the same, of the noise: standard errors are told
_VANISHING = (0.1, 0.3, 0.5)  # p0: quantiles of the sizes seen, beside 0, which is no prior
_MEANS = np.array([-1.0, 0.0, -0.7])  # of b, m and w, on standardised outcomes
_VARIANCES = np.array([0.25, 1.0, 0.5])


@dataclass(frozen=True)
class Rows:
    """Configurations as the process sees them.

    X: (n, d) features in [0, 1]. groups: (d,) features of one number share a length scale.
    size: (n,) parameters of the adapters. edge: (n,) h.
    """

    X: Array
    groups: NDArray[np.intp]
    size: Array
    edge: Array

    def __len__(self) -> int:
        return len(self.X)

    def at(self, positions: NDArray[np.intp]) -> "Rows":
        return Rows(self.X[positions], self.groups, self.size[positions], self.edge[positions])

    def beside(self, other: "Rows") -> "Rows":
        return Rows(
            np.vstack([self.X, other.X]),
            self.groups,
            np.append(self.size, other.size),
            np.append(self.edge, other.edge),
        )

    def unsized(self) -> "Rows":
        """Of what has nothing to do with an adapter's size or rate."""
        return Rows(self.X, self.groups, np.zeros(len(self)), np.zeros(len(self)))


@dataclass(frozen=True)
class Hyperparameters:
    """scales: (d,) length scales. signal: variance of g. noise: factor on the told variances.
    vanishing: p0, in parameters; 0 where adapters do not vanish."""

    scales: Array
    signal: float
    noise: float
    vanishing: float


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
        h = self.hyperparameters
        cross = _kernel(h, rows, self.rows)
        mean = _basis(h, rows) @ _MEANS + cross @ self.weights
        solved = solve_triangular(self.factor, cross.T, lower=True)
        variance = _variance(h, rows) - (solved**2).sum(axis=0)
        deviation = np.sqrt(np.maximum(variance, _JITTER))
        return self.shift + self.spread * mean, self.spread * deviation

    def draws(self, rows: Rows, count: int, rng: np.random.Generator) -> Array:
        """(count, n) joint draws of f."""
        h = self.hyperparameters
        cross = _kernel(h, rows, self.rows)
        solved = solve_triangular(self.factor, cross.T, lower=True)
        covariance = _kernel(h, rows, rows) - solved.T @ solved
        covariance[np.diag_indices_from(covariance)] += _JITTER * 10
        mean = _basis(h, rows) @ _MEANS + cross @ self.weights
        found = mean + (_root(covariance) @ rng.standard_normal((len(rows), count))).T
        return np.asarray(self.shift + self.spread * found)

    def left_out(self, y: Array) -> Array:
        """(n,) what would be expected of each observation had it not been seen; y: the observed.

        Rasmussen and Williams 2006, equation 5.12.
        """
        inverse = cho_solve((self.factor, True), np.eye(len(y)))
        return np.asarray(y - self.spread * self.weights / np.diag(inverse))

    def believing(self, rows: Rows) -> "Surrogate":
        """The process after its own mean was seen there: for trials that are running."""
        if not len(rows):
            return self
        h = self.hyperparameters
        cross = _kernel(h, rows, self.rows)
        kernel = _kernel(h, rows, rows)
        kernel[np.diag_indices_from(kernel)] += 10 * _JITTER
        whole = np.block([[self.factor @ self.factor.T, cross.T], [cross, kernel]])
        told = np.append(self.y, cross @ self.weights)
        return _solved(h, self.rows.beside(rows), told, whole, self.shift, self.spread)


def condition(h: Hyperparameters, rows: Rows, y: Array, noise: Array) -> Surrogate:
    """The process with these hyperparameters, after y, (n,), was seen; noise: (n,) variances."""
    shift, spread = float(np.mean(y)), float(np.std(y)) or 1.0
    kernel = _kernel(h, rows, rows)
    kernel[np.diag_indices_from(kernel)] += h.noise * noise / spread**2 + _JITTER
    standard = (y - shift) / spread - _basis(h, rows) @ _MEANS
    return _solved(h, rows, standard, kernel, shift, spread)


def fit(rows: Rows, y: Array, noise: Array) -> Hyperparameters:
    """The most probable hyperparameters; deterministic. n >= 2."""
    spread = float(np.std(y)) or 1.0
    standard, variances = (y - np.mean(y)) / spread, noise / spread**2
    squares = (rows.X[:, None, :] - rows.X[None, :, :]) ** 2
    sized = rows.size[rows.size > 0]
    choices = [0.0, *(np.quantile(sized, _VANISHING) if len(sized) else ())]
    best: tuple[float, Array, float] | None = None
    for p0 in choices:
        basis = _columns(_strength(rows.size, p0), rows.edge)
        loss = _Loss(squares, rows.groups, basis, standard, variances)
        # The first is fitted in full, the others go on from there.
        start = _start(rows.groups) if best is None else best[1]
        options = {"maxiter": _ITERATIONS if best is None else _ITERATIONS // 4}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        if best is None or found.fun < best[0]:
            best = (float(found.fun), found.x, float(p0))
    assert best is not None
    _, theta, p0 = best
    scales, signal, factor = np.exp(theta[:-2])[rows.groups], np.exp(theta[-2]), np.exp(theta[-1])
    return Hyperparameters(scales, float(signal), float(factor), p0)


class _Loss:
    """Negative log posterior of (log scales, log signal, log noise) and its gradient."""

    def __init__(
        self,
        squares: Array,
        groups: NDArray[np.intp],
        basis: Array,
        y: Array,
        noise: Array,
    ) -> None:
        self._groups = groups
        self._flat = squares.reshape(-1, squares.shape[2])
        self._both = np.outer(basis[:, 1], basis[:, 1])
        self._means = (basis * _VARIANCES) @ basis.T
        self._y, self._noise = y - basis @ _MEANS, noise
        self._centre = _centre(groups)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        theta = np.clip(theta, -8.0, 8.0)
        inverse_squares = np.exp(-2 * theta[:-2])[self._groups]
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
        by_scale = np.bincount(self._groups, by_scale)
        by_signal = 0.5 * float(np.sum(slope * part))
        by_noise = 0.5 * factor * float(np.diag(slope) @ self._noise)
        away = theta - self._centre
        spread = np.append(np.full(len(theta) - 2, _SPREAD), [_SIGNAL, _NOISE])
        loss = 0.5 * float(self._y @ weights) + float(np.log(np.diag(lower)).sum())
        loss += 0.5 * float((away**2 / spread).sum())
        gradient = np.concatenate([by_scale, [by_signal, by_noise]]) + away / spread
        return loss, gradient


def _centre(groups: NDArray[np.intp]) -> Array:
    """The prior's centre: scales that grow with the dimension, signal and noise factor 1."""
    scale = np.sqrt(2) + 0.5 * np.log(len(groups))
    return np.append(np.full(groups.max() + 1, scale), [0.0, 0.0])


def _start(groups: NDArray[np.intp]) -> Array:
    """At the prior's mode: from long scales a fit may stay where every feature is irrelevant."""
    found = _centre(groups)
    found[:-2] -= _SPREAD
    return found


def _strength(size: Array, p0: float) -> Array:
    """(n,) s: how far each adapter is from none."""
    return np.ones(len(size)) if p0 <= 0 else 1 - np.exp(-np.sqrt(size / p0))


def _columns(strength: Array, edge: Array) -> Array:
    """(n, 3) what b, m and w are multiplied by."""
    return np.column_stack([1 - strength, strength, strength * edge])


def _basis(h: Hyperparameters, rows: Rows) -> Array:
    return _columns(_strength(rows.size, h.vanishing), rows.edge)


def _kernel(h: Hyperparameters, rows: Rows, others: Rows) -> Array:
    left, right = rows.X / h.scales, others.X / h.scales
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    one, two = _basis(h, rows), _basis(h, others)
    shape = h.signal * np.exp(-0.5 * np.maximum(squares, 0.0))
    return np.asarray(np.outer(one[:, 1], two[:, 1]) * shape + (one * _VARIANCES) @ two.T)


def _variance(h: Hyperparameters, rows: Rows) -> Array:
    basis = _basis(h, rows)
    return np.asarray(basis[:, 1] ** 2 * h.signal + basis**2 @ _VARIANCES)


def _solved(
    h: Hyperparameters, rows: Rows, y: Array, kernel: Array, shift: float, spread: float
) -> Surrogate:
    factor = _root(kernel)
    return Surrogate(h, rows, y, factor, cho_solve((factor, True), y), shift, spread)


def _root(kernel: Array) -> Array:
    """The lower Cholesky factor, with as much jitter as that takes."""
    tries: Sequence[float] = (0.0, 1e-6, 1e-4, 1e-2)
    for jitter in tries:
        try:
            return np.asarray(cholesky(kernel + jitter * np.eye(len(kernel)), lower=True))
        except np.linalg.LinAlgError:
            continue
    raise np.linalg.LinAlgError("the kernel has no Cholesky factor")
