"""IST, importance-aware sparse tuning (Yao et al. 2024, arXiv 2410.11772).

I: (L,) one score per layer, 0 at the start; s = sigmoid(I). A high score means UNimportant.
It follows the authors' code where that is more exact than the paper.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autopeft.allocation.probing import Batch, loss_of, probing
from autopeft.allocation.strategy import LayerSampling
from autopeft.allocation.suppression import adapters_by_layer, suppressed

_UPDATED = 0.25  # share of the layers that move at a step
_SUPPRESSED = 0.5  # share of the layers that a candidate turns down
_EFFECT = 0.25  # what is left of a suppressed adapter's effect
_CANDIDATES = 3
_PROBE_EVERY = 10  # optimiser steps
_RATE = 10.0  # learning rate of the scores


class ImportanceSparseTuning(LayerSampling):
    """Updates the layers that matter: a quarter of them a step, drawn by sigmoid(-I).

    Every 10 steps three sets of half the layers, drawn by s, are turned down in turn while one
    probe batch is evaluated. A set whose loss L_k stays low was not needed: with the reward
    r_k = exp(-L_k) - mean_j exp(-L_j), its layers get I_i += 10 r_k s_i (1 - s_i).

    Changes the updates, not the deployed architecture. Costs three forward passes in 10 steps
    (six where the method is not plain LoRA), saves the backward pass below the lowest moving layer.
    """

    def __init__(self, model: Any, probes: Sequence[Batch], *, seed: int) -> None:
        """probes: batches of the training split (16 rows in the paper), used in turn. Never of
        validation data: the scores are fitted to them.

        Raises:
            ValueError: no probes, or the method has no effect per layer that can be turned down.
        """
        super().__init__(model, seed=seed)
        self._adapters = adapters_by_layer(model)
        if set(self._adapters) != set(self.layers):
            raise ValueError(
                "IST needs a PEFT method that adapts modules inside every layer that it trains, "
                f"got trainable layers {list(self.layers)} and adapted layers "
                f"{list(self._adapters)}: use LORA or another method with target_modules"
            )
        if not len(probes):
            raise ValueError("IST needs at least one probe batch, got none")
        self._model = model
        self._probes = probes
        self._scores: NDArray[np.float64] = np.zeros(len(self.layers))
        self._rounds = 0

    @property
    def scores(self) -> dict[int, float]:
        """I by layer index; the lowest is the most important."""
        return {layer: float(score) for layer, score in zip(self.layers, self._scores, strict=True)}

    def choose(self, step: int, optimizer: Any) -> tuple[int, ...]:
        if step > 0 and step % _PROBE_EVERY == 0:
            self._probe()
        return self.draw(_sigmoid(-self._scores), _share(self.layers, _UPDATED))

    def _probe(self) -> None:
        batch = self._probes[self._rounds % len(self._probes)]
        candidates = self._candidates()
        with probing(self._model):
            rewards = np.array([self._reward(candidate, batch) for candidate in candidates])
        self._scores = scored(
            self._scores,
            [[layer in candidate for layer in self.layers] for candidate in candidates],
            rewards,
        )
        self._rounds += 1

    def _candidates(self) -> list[tuple[int, ...]]:
        """Different sets of layers; as many as there are where there are fewer than three."""
        size = _share(self.layers, _SUPPRESSED)
        wanted = min(_CANDIDATES, math.comb(len(self.layers), size))
        found: dict[tuple[int, ...], None] = {}
        while len(found) < wanted:
            found[self.draw(_sigmoid(self._scores), size)] = None
        return list(found)

    def _reward(self, candidate: Sequence[int], batch: Batch) -> float:
        modules = [module for layer in candidate for module in self._adapters[layer]]
        with suppressed(modules, _EFFECT), torch.no_grad():
            loss = loss_of(self._model, batch).item()
        # A set without which nothing works is as important as can be.
        return 0.0 if math.isnan(loss) else math.exp(-loss)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "scores": self._scores.tolist(), "rounds": self._rounds}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._scores = np.array(state["scores"])
        self._rounds = int(state["rounds"])

    def record(self) -> dict[str, Any]:
        return {"layer_scores": {str(layer): score for layer, score in self.scores.items()}}


def scored(
    scores: NDArray[np.float64], candidates: Sequence[Sequence[bool]], rewards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The scores after a round of K candidates.

    Args:
        scores: (L,) I before the round.
        candidates: (K, L) whether a candidate suppressed a layer.
        rewards: (K,) exp(-loss).

    Returns:
        (L,) I after it; s is that of the start for every candidate.
    """
    s = _sigmoid(scores)
    advantage: NDArray[np.float64] = rewards - rewards.mean()
    after: NDArray[np.float64] = scores + _RATE * (advantage @ np.array(candidates)) * s * (1 - s)
    return after


def _share(layers: Sequence[int], share: float) -> int:
    return max(1, int(share * len(layers)))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1 / (1 + np.exp(-x))
    return found
