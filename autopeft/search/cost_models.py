"""A measured cost as a BoTorch model: a process on log(measured / estimate), put on its estimate.

Where a process on the cost itself would have to learn how cost grows with depth, tokens and
parameters, this one learns a level and what the formula got wrong.
"""

from dataclasses import dataclass
from typing import Any

import torch
from botorch.models.model import Model
from botorch.posteriors import Posterior, TransformedPosterior

from autopeft.domain.objective import Objective

_LARGEST = 50.0  # of a logarithm: an extreme draw stays a number


@dataclass(frozen=True)
class Normalised:
    """log(cost) -> the objective's score, as `scale.Scale` normalises it."""

    objective: Objective
    reference: float
    span: float

    def __call__(self, logarithm: torch.Tensor) -> torch.Tensor:
        value = logarithm
        if self.objective.scale == "linear":
            value = torch.exp(logarithm.clamp(-_LARGEST, _LARGEST))
        sign = 1.0 if self.objective.goal == "maximize" else -1.0
        return (sign * value - self.reference) / self.span


class Recalibrated(Model):  # type: ignore[misc]
    """Draws of log(measured / estimate) plus log(estimate), on an objective's scale or as they are.

    Args:
        process: of log(measured / estimate). column: of X, with log(estimate).
        score: None: log(measured) itself.
    """

    num_outputs = 1

    def __init__(self, process: Model, column: int, score: Normalised | None = None) -> None:
        super().__init__()
        self.process = process
        self._column = column
        self._score = score

    @property
    def batch_shape(self) -> torch.Size:
        return self.process.batch_shape

    def posterior(self, X: torch.Tensor, *args: Any, **kwargs: Any) -> Posterior:
        offset = X[..., self._column : self._column + 1]

        def measured(ratio: torch.Tensor) -> torch.Tensor:
            logarithm = ratio + offset
            return logarithm if self._score is None else self._score(logarithm)

        return TransformedPosterior(self.process.posterior(X), measured)
