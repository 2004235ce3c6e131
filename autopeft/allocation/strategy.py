"""Strategies that act while training, as Trainer callbacks.

Two kinds: those that choose which layers are updated (IST, LISA, OwLore: the deployed adapter is
as large as without them), and those that change the deployed architecture (IncreLoRA).

A layer is a transformer layer that holds trainable parameters of its own, known by its index in
the model. Parameters outside of layers (head, embeddings, final norm) and parameters that several
layers share are always trained.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import TrainerCallback

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")


class UpdateStrategy(TrainerCallback, ABC):  # type: ignore[misc]
    """A strategy over one model and one run.

    Randomness: from a generator of its own, made from the trial's seed. The global generators
    are never drawn from, so data order and dropout are those of a run without the strategy.

    Pausing: between two steps all parameters have the `requires_grad` that they had when the
    strategy was made. A new strategy that got `restore(state())` goes on to the same bits.
    """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as JSON; numbers keep their bits."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What the trial reports: JSON."""


class LayerSampling(UpdateStrategy):
    """Lets a few layers move at a step; the others are frozen and cost no backward pass.

    Changes the updates, not the deployed architecture. Frozen parameters have no gradient at all
    when the optimiser steps: with a gradient of zero, momentum and weight decay would move them.
    """

    def __init__(self, model: Any, *, seed: int) -> None:
        """model: as it is trained; what requires a gradient now is what may move.

        Raises:
            ValueError: fewer than two layers are trained, or the method needs every gradient.
        """
        if hasattr(getattr(model, "base_model", None), "rankallocator"):
            raise ValueError(
                "layers can be sampled where no allocator needs every gradient, got AdaLoRA: "
                "use LORA"
            )
        self._parameters = layer_parameters(model)
        if len(self._parameters) < 2:
            raise ValueError(
                "layers can be sampled where at least two have trainable parameters of their own, "
                f"got {len(self._parameters)}: place the method in more layers, or take a method "
                "that lives in layers"
            )
        self._rng = np.random.default_rng(seed)
        self._moving: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """Indices of the layers that may move, ascending."""
        return tuple(self._parameters)

    @property
    def moving(self) -> tuple[int, ...]:
        """The layers that move at this step."""
        return self._moving

    @abstractmethod
    def choose(self, step: int, optimizer: Any) -> tuple[int, ...]:
        """The layers that move next.

        step: optimiser steps done.
        """

    def draw(self, weights: NDArray[np.float64], count: int) -> tuple[int, ...]:
        """`count` layers, none twice, one after another with probability proportional to weight.

        weights: (L,) in the order of `layers`, positive.
        """
        drawn = self._rng.choice(self.layers, count, replace=False, p=weights / weights.sum())
        return tuple(sorted(int(layer) for layer in drawn))

    def on_step_begin(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any
    ) -> None:
        self._moving = self.choose(state.global_step, optimizer)
        for layer, parameters in self._parameters.items():
            for parameter in parameters:
                parameter.requires_grad_(layer in self._moving)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for parameter in self.frozen():
            parameter.grad = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for parameters in self._parameters.values():
            for parameter in parameters:
                parameter.requires_grad_(True)

    def frozen(self) -> list[torch.nn.Parameter]:
        """The parameters that do not move at this step."""
        return [
            parameter
            for layer, parameters in self._parameters.items()
            if layer not in self._moving
            for parameter in parameters
        ]

    def state(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "moving": list(self._moving)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._moving = tuple(state["moving"])


def layer_of(name: str) -> int | None:
    """The transformer layer that a module's or parameter's name lies in; None: outside of all."""
    found = _LAYER.search(f"{name}.")
    return None if found is None else int(found[1])


def layer_parameters(model: Any) -> dict[int, tuple[torch.nn.Parameter, ...]]:
    """The trainable parameters that belong to one layer alone, by layer index, ascending."""
    owners: dict[torch.nn.Parameter, set[int | None]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            owners.setdefault(parameter, set()).add(layer_of(name))
    found: dict[int, list[torch.nn.Parameter]] = {}
    for parameter, layers in owners.items():
        layer = next(iter(layers))
        if len(layers) == 1 and layer is not None:
            found.setdefault(layer, []).append(parameter)
    return {layer: tuple(found[layer]) for layer in sorted(found)}
