"""LISA, layerwise importance sampled AdamW (Pan et al. 2024, arXiv 2403.17919, Algorithm 1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autopeft.allocation.strategy import LayerSampling


class Lisa(LayerSampling):
    """Trains gamma random layers for a period of steps, then others; embeddings and head always.

    For full fine-tuning, where it is at home, and for adapters. The optimiser forgets a layer that
    it leaves: its moments start anew when it is drawn again.

    Changes the updates, not the deployed architecture. Costs nothing; saves the gradients and the
    optimiser's moments of all but gamma layers.
    """

    def __init__(self, model: Any, *, seed: int, gamma: int = 2, period: int = 20) -> None:
        """gamma: layers that move at a time; period: optimiser steps between two draws.

        Raises:
            ValueError: gamma layers do not exist, or the period is empty.
        """
        super().__init__(model, seed=seed)
        if not 1 <= gamma <= len(self.layers):
            raise ValueError(
                f"gamma must be 1 to the {len(self.layers)} layers that are trained, got {gamma}"
            )
        if period < 1:
            raise ValueError(f"period must be at least 1 step, got {period}")
        self._gamma = gamma
        self._period = period

    @property
    def weights(self) -> NDArray[np.float64]:
        """(L,) what a layer is drawn in proportion to."""
        return np.ones(len(self.layers))

    def choose(self, step: int, optimizer: Any) -> tuple[int, ...]:
        if step % self._period:
            return self.moving
        self._moving = self.draw(self.weights, self._gamma)
        for parameter in self.frozen():
            optimizer.state.pop(parameter, None)
        return self._moving

    def record(self) -> dict[str, Any]:
        weights = self.weights / self.weights.sum()
        return {
            "layer_probabilities": {
                str(layer): float(p) for layer, p in zip(self.layers, weights, strict=True)
            }
        }
