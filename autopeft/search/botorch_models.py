"""The models of the competitors: X (n, d), y (n,) on a scale of about 1."""

from contextlib import suppress

from botorch.models import EnsembleMapSaasSingleTaskGP
from botorch.models.model import Model
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NanError, NotPSDError

from autopeft.domain.pareto import Array
from autopeft.search.gaussian_process import fitted, tensor

_TAUS = 4  # degrees of sparsity that are averaged over: BoTorch's number
_ITERATIONS = 200  # of L-BFGS


def plain(X: Array, y: Array) -> Model:
    """BoTorch's SingleTaskGP as it comes."""
    return fitted(X, y, None, features=X.shape[1])


def saas(X: Array, y: Array) -> Model:
    """An ensemble of maximum-a-posteriori fits under sparse axis-aligned priors.

    The degrees of sparsity are drawn: run it inside `gaussian_process.deterministic`.
    """
    model = EnsembleMapSaasSingleTaskGP(
        tensor(X), tensor(y)[:, None], num_taus=_TAUS, outcome_transform=None
    )
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    # Without a fit, the prior's own length scales are a usable model.
    with suppress(NanError, NotPSDError):
        fit_gpytorch_mll_scipy(likelihood, options={"maxiter": _ITERATIONS})
    model.eval()
    return model
