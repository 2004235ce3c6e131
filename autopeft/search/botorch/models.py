"""BoTorch's models over plain arrays: X (n, d), y (n,) on a scale of about 1."""

from contextlib import suppress

import numpy as np
import torch
from botorch.models import EnsembleMapSaasSingleTaskGP, SingleTaskGP
from botorch.models.model import Model
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NanError, NotPSDError

from autopeft.domain.pareto import Array
from autopeft.search.botorch.torch_state import tensor

_PLAIN_ITERATIONS = 60  # of L-BFGS; fitting is most of a suggestion's time
_TAUS = 4  # degrees of sparsity that are averaged over: BoTorch's number
_SAAS_ITERATIONS = 200


def plain(X: Array, y: Array) -> Model:
    """BoTorch's SingleTaskGP as it comes.

    An RBF kernel with one length scale per feature under a dimension-scaled log-normal prior
    (Hvarfner 2024, arXiv 2402.02746), outcomes standardised, the noise inferred.
    """
    model = SingleTaskGP(tensor(X), tensor(y)[:, None])
    return _fitted(model, _PLAIN_ITERATIONS)


def saas(X: Array, y: Array) -> Model:
    """An ensemble of maximum-a-posteriori fits under sparse axis-aligned priors.

    The degrees of sparsity are drawn: run it inside `torch_state.deterministic`.
    """
    model = EnsembleMapSaasSingleTaskGP(
        tensor(X), tensor(y)[:, None], num_taus=_TAUS, outcome_transform=None
    )
    return _fitted(model, _SAAS_ITERATIONS)


def _fitted(model: SingleTaskGP, iterations: int) -> Model:
    """The marginal likelihood is maximised once."""
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    # Without a fit, the prior's own length scales are a usable model.
    with suppress(NanError, NotPSDError):
        fit_gpytorch_mll_scipy(likelihood, options={"maxiter": iterations})
    model.eval()
    return model


def moments(model: Model, X: Array) -> tuple[Array, Array]:
    """(n,) mean and (n, n) covariance of the model's joint posterior, its noise left out."""
    with torch.no_grad():
        joint = model.posterior(tensor(X)).distribution
        return np.asarray(joint.mean.numpy()), np.asarray(joint.covariance_matrix.numpy())
