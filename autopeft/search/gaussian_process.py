"""Gaussian processes for what has to be measured, and exact columns for what is known.

Kernel and priors are BoTorch's SingleTaskGP: RBF with one length scale per feature under a
dimension-scaled log-normal prior (Hvarfner 2024, arXiv 2402.02746), outcomes standardised, the
marginal likelihood maximised once.

X: (n, d) inputs of a model list: features, fidelity, then one column per known objective.
"""

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from botorch.models import ModelList, SingleTaskGP
from botorch.models.deterministic import GenericDeterministicModel
from botorch.models.model import Model
from botorch.models.transforms.input import FilterFeatures
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NanError, NotPSDError

from autopeft.search.encoding import Array

_ITERATIONS = 60  # of L-BFGS; fitting is most of a suggestion's time
_NOISE_FLOOR = 1e-4  # of the outcomes' variance: below it the Cholesky factor is not stable


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Run torch on one thread from this seed, and leave its state as it was."""
    threads, numpy_state, python_state = (
        torch.get_num_threads(),
        np.random.get_state(),
        random.getstate(),
    )
    try:
        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        torch.set_num_threads(threads)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def tensor(values: Array | Sequence[Any]) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def fitted(X: Array, y: Array, noise: Array | None, *, features: int) -> Model:
    """A GP on the first `features` columns of X.

    Args:
        X: (n, d), n >= 2. y: (n,). noise: (n,) variances, or None to infer one.
    """
    floor = _NOISE_FLOOR * (float(np.var(y)) or 1.0)
    variances = None if noise is None else tensor(np.maximum(noise, floor))[:, None]
    chosen = FilterFeatures(torch.arange(features))
    model = SingleTaskGP(tensor(X), tensor(y)[:, None], variances, input_transform=chosen)
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    # Without a fit, the prior's own length scales are a usable model.
    with suppress(NanError, NotPSDError):
        fit_gpytorch_mll_scipy(likelihood, options={"maxiter": _ITERATIONS})
    model.eval()
    return model


def exact(column: int) -> Model:
    """A model that reads its value off one column of X."""
    return GenericDeterministicModel(lambda X: X[..., column : column + 1], num_outputs=1)


def together(models: Sequence[Model]) -> Model:
    return ModelList(*models)


def moments(model: Model, X: Array) -> tuple[Array, Array]:
    """(n,) mean and (n, n) covariance of the model's joint posterior, its noise left out."""
    with torch.no_grad():
        joint = model.posterior(tensor(X)).distribution
        return np.asarray(joint.mean.numpy()), np.asarray(joint.covariance_matrix.numpy())


def log_probability_above(model: Model, X: Array, bound: float) -> Array:
    """(n,) log P(value > bound) under the model's posterior, its noise left out."""
    with torch.no_grad():
        posterior = model.posterior(tensor(X))
        deviation = posterior.variance.clamp_min(1e-6).sqrt()
        z = (posterior.mean - bound) / deviation
        return np.asarray(torch.special.log_ndtr(z).squeeze(-1).numpy())
