"""A Gaussian process that knows what it models: adapters that vanish, and learning rates.

    f(x) = (1 - s) b + s (m + w h + g(x)),   s = 1 - exp(-sqrt(p / p0)),   h = (2 u - 1)^2

p: parameters of the adapter; p0: how large one has to be to count; b: the score of the frozen base,
which trained adapters are expected to beat; m: their mean; u: where the learning rate lies in its
range, 0 to 1, and w what the ends of the range cost; g: a process with an RBF kernel, one length
scale per feature. b, m and w are normal and integrated out; p0 is chosen with the length scales by
the likelihood, and nothing at all (s = 1) is among the choices: where small adapters do well this
prior switches itself off.

Length scales have the dimension-scaled log-normal prior of Hvarfner 2024 (arXiv 2402.02746), each
in the dimension of its own group; that of the learning rate is expected to be short.
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
_SPREAD = 3.0  # variance of a length scale's prior in log space
_SHARP = (np.log(0.5), 1.0)  # centre and variance of the prior of a scale that matters
_SIGNAL = 0.1  # the same, of the signal: outcomes are standardised
_NOISE = 0.1  # the same, of the noise: standard errors are told
_VANISHING = (0.1, 0.3, 0.5)  # p0: quantiles of the sizes seen, beside 0, which is no prior
_MEANS = np.array([-1.0, 0.0, -0.7])  # of b, m and w, on standardised outcomes
_VARIANCES = np.array([0.25, 1.0, 0.5])


@dataclass(frozen=True)
class Lengths:
    """The prior of the length scales.

    groups: (d,) features of one number share a scale. centre, variance: (g,) of its logarithm.
    """

    groups: NDArray[np.intp]
    centre: Array
    variance: Array

    @classmethod
    def of(cls, groups: NDArray[np.intp], sharp: Sequence[int] = ()) -> "Lengths":
        """The prior of so many features; sharp: the groups that are expected to matter."""
        centre = np.sqrt(2) + 0.5 * np.log(np.bincount(groups))
        variance = np.full(len(centre), _SPREAD)
        centre[list(sharp)], variance[list(sharp)] = _SHARP
        return cls(groups, centre, variance)


@dataclass(frozen=True)
class Rows:
    """Configurations as the process sees them.

    X: (n, d) features in [0, 1]. lengths: what is expected of their scales.
    size: (n,) parameters of the adapters. edge: (n,) h.
    """

    X: Array
    lengths: Lengths
    size: Array
    edge: Array

    def __len__(self) -> int:
        return len(self.X)

    def at(self, positions: NDArray[np.intp]) -> "Rows":
        return Rows(self.X[positions], self.lengths, self.size[positions], self.edge[positions])

    def unsized(self) -> "Rows":
        """Of what has nothing to do with an adapter's size or rate."""
        return Rows(self.X, self.lengths, np.zeros(len(self)), np.zeros(len(self)))


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

    def draws(self, rows: Rows, count: int, rng: np.random.Generator) -> "Draws":
        """Joint draws of f there, to be predicted from."""
        solved = self.solved(rows)
        covariance = _kernel(self.hyperparameters, rows, rows) - solved.T @ solved
        covariance[np.diag_indices_from(covariance)] += _JITTER * 10
        return Draws(self, rows, solved, _root(covariance), rng.standard_normal((len(rows), count)))

    def solved(self, rows: Rows) -> Array:
        """(n of self, n of rows) the factor's inverse times the kernel between them."""
        cross = _kernel(self.hyperparameters, self.rows, rows)
        return np.asarray(solve_triangular(self.factor, cross, lower=True))

    def left_out_error(self, groups: Sequence[int]) -> float:
        """Squared error of the outcomes, each predicted without its group, over the mean's error.

        The mean is that of the other groups: above 1 the process says less than no model at all.
        In closed form (Rasmussen and Williams 2006, equations 5.10 to 5.12, by blocks).

        groups: (n,) outcomes of one trial belong together; two groups at least.
        """
        inverse = cho_solve((self.factor, True), np.eye(len(self.y)))
        y = self.y + _basis(self.hyperparameters, self.rows) @ _MEANS
        own, plain = 0.0, 0.0
        for group in set(groups):
            inside = np.array(groups) == group
            own += float(
                (np.linalg.solve(inverse[np.ix_(inside, inside)], self.weights[inside]) ** 2).sum()
            )
            plain += float(((y[inside] - y[~inside].mean()) ** 2).sum())
        return own / plain if plain > 0 else 0.0


@dataclass(frozen=True)
class Draws:
    """Joint draws of f at m rows, and f elsewhere given each of them.

    solved: (n, m), see `Surrogate.solved`. factor: (m, m) lower Cholesky factor of the covariance.
    normal: (m, S) what was drawn.
    """

    surrogate: Surrogate
    rows: Rows
    solved: Array
    factor: Array
    normal: Array

    @property
    def values(self) -> Array:
        """(S, m)."""
        mean, _ = self.surrogate.predict(self.rows)
        return np.asarray(mean + self.surrogate.spread * (self.factor @ self.normal).T)

    def given(self, rows: Rows) -> tuple[Array, Array]:
        """(S, n) mean and (n,) standard deviation of f elsewhere, where each draw is true."""
        model = self.surrogate
        mean, deviation = model.predict(rows)
        kernel = _kernel(model.hyperparameters, self.rows, rows)
        part = solve_triangular(
            self.factor, kernel - self.solved.T @ model.solved(rows), lower=True
        )
        variance = (deviation / model.spread) ** 2 - (part**2).sum(axis=0)
        means = mean + model.spread * (self.normal.T @ part)
        return means, model.spread * np.sqrt(np.maximum(variance, _JITTER))


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
        loss = _Loss(squares, rows.lengths, basis, standard, variances)
        # The first is fitted in full, the others go on from there.
        start = _start(rows.lengths) if best is None else best[1]
        options = {"maxiter": _ITERATIONS if best is None else _ITERATIONS // 4}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        if best is None or found.fun < best[0]:
            best = (float(found.fun), found.x, float(p0))
    assert best is not None
    _, theta, p0 = best
    scales, signal, factor = (
        np.exp(theta[:-2])[rows.lengths.groups],
        np.exp(theta[-2]),
        np.exp(theta[-1]),
    )
    return Hyperparameters(scales, float(signal), float(factor), p0)


class _Loss:
    """Negative log posterior of (log scales, log signal, log noise) and its gradient."""

    def __init__(
        self,
        squares: Array,
        lengths: Lengths,
        basis: Array,
        y: Array,
        noise: Array,
    ) -> None:
        self._groups = lengths.groups
        self._flat = squares.reshape(-1, squares.shape[2])
        self._both = np.outer(basis[:, 1], basis[:, 1])
        self._means = (basis * _VARIANCES) @ basis.T
        self._y, self._noise = y - basis @ _MEANS, noise
        self._centre = np.append(lengths.centre, [0.0, 0.0])  # signal and noise factor 1
        self._variance = np.append(lengths.variance, [_SIGNAL, _NOISE])

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
        loss = 0.5 * float(self._y @ weights) + float(np.log(np.diag(lower)).sum())
        loss += 0.5 * float((away**2 / self._variance).sum())
        gradient = np.concatenate([by_scale, [by_signal, by_noise]]) + away / self._variance
        return loss, gradient


def _start(lengths: Lengths) -> Array:
    """At the prior's mode: from long scales a fit may stay where every feature is irrelevant."""
    return np.append(lengths.centre - lengths.variance, [0.0, 0.0])


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
