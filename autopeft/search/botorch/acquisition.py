"""BoTorch's acquisition functions over plain arrays.

    noisy EI                 one objective (Letham 2019), in the log form of Ament 2023
    noisy EHVI               several: Daulton 2021, arXiv 2105.08195, in the same log form
    noisy ParEGO             several: EI of a random Chebyshev scalarisation (Daulton 2020)

n: trials with a result; d: columns; m: objectives; k: constraints; p: running trials.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
from botorch.acquisition.multi_objective.parego import qLogNParEGO
from botorch.acquisition.objective import LinearMCObjective
from botorch.models import ModelListGP
from botorch.models.model import Model
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.sampling import sample_simplex
from numpy.typing import NDArray
from scipy.special import ndtri

from autopeft.domain.pareto import Array, non_dominated
from autopeft.search.botorch.torch_state import tensor

# BoTorch would compile a C++ kernel on first use.
logei._load_attempted = True

Fit = Callable[[Array, Array], Model]
"""X (n, d), y (n,) -> a fitted model of one outcome."""

_SAMPLES = 64  # quasi Monte Carlo samples of the posterior
_CHUNK = 128  # candidates that are scored together
_MARGIN = 0.1  # of a range: what is worst of all gains a little, too


@dataclass(frozen=True)
class Observed:
    """What was seen.

    X: (n, d). Y: (n, m) outcomes, maximised, on scales of about 1. pending: (p, d).
    C: (n, k) feasible at most 0, on scales of about 1; NaN where it was not measured.
    """

    X: Array
    Y: Array
    pending: Array
    C: Array

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(n,) mask; a constraint that was not measured refuses nothing."""
        return np.asarray(~np.any(self.C > 0, axis=1))


def reference_of(observed: Observed) -> Array:
    """(m,) a tenth of the front's range below its worst values (Ishibuchi 2011)."""
    Y = _compared(observed)
    return np.asarray(infer_reference_point(tensor(Y[non_dominated(Y)])).numpy())


def worst_of(observed: Observed) -> Array:
    """(m,) a tenth of their range below the worst results."""
    Y = _compared(observed)
    low, high = Y.min(axis=0), Y.max(axis=0)
    return np.asarray(low - _MARGIN * np.where(high > low, high - low, 1.0))


def _compared(observed: Observed) -> Array:
    """(n, m) outcomes of what holds the constraints, of everything where nothing does."""
    return observed.Y[observed.feasible] if observed.feasible.any() else observed.Y


def expected_gain(
    observed: Observed, fit: Fit, *, reference: Array, seed: int, scalarised: bool = False
) -> Callable[[Array], Array]:
    """X (N, d) -> (N,) log expected gain; run it inside `torch_state.deterministic`.

    reference: (m,) on the scales of Y. scalarised: noisy ParEGO instead of noisy EHVI.
    """
    objectives = observed.Y.shape[1]
    models = [fit(observed.X, observed.Y[:, j]) for j in range(objectives)]
    for values in observed.C.T:
        measured = ~np.isnan(values)
        if measured.sum() > 1:
            models.append(fit(observed.X[measured], values[measured]))
    outcomes = range(len(models))
    shared: dict[str, Any] = {
        "model": ModelListGP(*models),
        "X_baseline": tensor(observed.X),
        "X_pending": tensor(observed.pending) if len(observed.pending) else None,
        "sampler": SobolQMCNormalSampler(torch.Size([_SAMPLES]), seed=seed % 2**31),
        "constraints": [_at_most_zero(column) for column in outcomes[objectives:]] or None,
        "prune_baseline": True,
    }
    if objectives == 1:
        function = _improvement(len(models), shared)
    else:
        shared["objective"] = IdentityMCMultiOutputObjective(
            outcomes=list(range(objectives)), num_outcomes=len(models)
        )
        if scalarised:
            weights = sample_simplex(objectives, seed=seed % 2**31, dtype=torch.float64)
            function = qLogNParEGO(scalarization_weights=weights.view(-1), **shared)
        else:
            function = qLogNoisyExpectedHypervolumeImprovement(
                ref_point=reference.tolist(), **shared
            )

    def gain(X: Array) -> Array:
        with torch.no_grad():
            parts = [function(part) for part in tensor(X)[:, None, :].split(_CHUNK)]
            return np.asarray(torch.cat(parts).numpy())

    return gain


def _improvement(outcomes: int, shared: dict[str, Any]) -> Any:
    weights = torch.zeros(outcomes, dtype=torch.float64)
    weights[0] = 1.0
    return qLogNoisyExpectedImprovement(objective=LinearMCObjective(weights), **shared)


def _at_most_zero(column: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda Y: Y[..., column]


def standardised(y: Array, values: Array) -> Array:
    """Values in units of the outcomes y: their mean is 0, their deviation 1."""
    spread = float(y.std())
    noticed = spread > 1e-12 * float(np.abs(y).max())  # else it is rounding
    return np.asarray((values - y.mean()) / (spread if noticed else 1.0))


def normal_scores(y: Array, values: Array) -> Array:
    """Values by their rank among the outcomes y (n,), as quantiles of a standard normal.

    This is the copula transform of AutoPEFT with the middle of a rank for its upper end, which puts
    the best outcome 3.7 deviations up whatever n is.
    """
    below = (y[None, :] < values[:, None]).sum(axis=1)
    equal = (y[None, :] == values[:, None]).sum(axis=1)
    share = (below + equal / 2) / len(y)
    return np.asarray(ndtri(np.clip(share, 0.25 / len(y), 1.0 - 0.25 / len(y))))
