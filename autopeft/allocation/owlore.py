"""OwLore, outlier-weighed layerwise sampling (Li et al. 2024, arXiv 2405.18380).

Here is its sampling of layers; the low-rank projection of gradients (GaLore) that the paper adds
is an optimiser's matter (`optim: galore_adamw`) and not part of this.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel

from autopeft.allocation.lisa import Lisa
from autopeft.allocation.strategy import layer_of

_OUTLIER = 5.0  # M: times the mean magnitude of the layer's weights


class OwLore(Lisa):
    """LISA whose layers are drawn in proportion to their share of outlier weights.

    A weight is an outlier of its layer when |w| > M mean |w|. The paper multiplies |w| by the norm
    of the input feature, which needs calibration data; this is the form that needs none.

    Changes the updates, not the deployed architecture. Costs one pass over the weights, before
    training; saves what LISA saves.
    """

    def __init__(
        self, model: Any, *, seed: int, gamma: int = 2, period: int = 20, outlier: float = _OUTLIER
    ) -> None:
        """outlier: M, above 0. model: with its pretrained weights.

        Raises:
            ValueError: as LISA; or M is not above 0.
        """
        super().__init__(model, seed=seed, gamma=gamma, period=period)
        if not outlier > 0:
            raise ValueError(f"outlier must be a factor above 0, got {outlier}")
        shares = outlier_shares(model, outlier)
        self._weights: NDArray[np.float64] = np.array([shares[layer] for layer in self.layers])

    @property
    def weights(self) -> NDArray[np.float64]:
        return self._weights

    def state(self) -> dict[str, Any]:
        # A full fine-tuning that goes on has other weights than it began with.
        return {**super().state(), "weights": self._weights.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._weights = np.array(state["weights"])


def outlier_shares(model: Any, outlier: float) -> dict[int, float]:
    """The share of outliers among the pretrained weights of every layer, by layer index.

    Counted from one more than there are, so that a layer without outliers can be drawn too.
    """
    matrices: dict[int, list[torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        layer = layer_of(name)
        pretrained = not (isinstance(model, PeftModel) and parameter.requires_grad)
        if layer is not None and parameter.ndim > 1 and pretrained:
            matrices.setdefault(layer, []).append(parameter)
    return {layer: _share(found, outlier) for layer, found in matrices.items()}


def _share(matrices: list[torch.Tensor], outlier: float) -> float:
    size = sum(int(matrix.numel()) for matrix in matrices)
    magnitudes = [matrix.detach().abs() for matrix in matrices]
    mean = sum(float(magnitude.double().sum()) for magnitude in magnitudes) / size
    outliers = sum(int((magnitude > outlier * mean).sum()) for magnitude in magnitudes)
    return (outliers + 1) / (size + 1)
