"""IncreLoRA: LoRA whose ranks grow where it matters (Zhang et al. 2023, arXiv 2308.12043).

n modules start at init_r components of LoRA's product s B A; every `period` steps the `grown` most
important ones get one more, until there are target_r n. Component k of a module is row k of A
and column k of B. PEFT's LoRA is built with all of them; those that a module has not been granted
are held at zero in B, and are cut off at the end.

Differs from the paper: a new component starts at B = 0 instead of a singular value of 1e-5, so
there is no learning in advance; importance comes from the gradients of A and B, since PEFT never
makes the product; the scaling s stays as it is instead of falling with the rank.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from autopeft.allocation.strategy import UpdateStrategy

_SMOOTHING = 0.85  # of sensitivity and of its uncertainty, as in AdaLoRA
_PREFIX = "base_model.model."


@dataclass
class _Module:
    """One LoRA module that grows.

    A: (highest, inputs), B: (outputs, highest); convolutions have their kernel behind.
    rank: components granted. sensitivity, uncertainty: smoothed over steps.
    """

    A: torch.nn.Parameter
    B: torch.nn.Parameter
    rank: int
    sensitivity: float = 0.0
    uncertainty: float = 0.0

    @property
    def highest(self) -> int:
        return int(self.A.shape[0])

    @property
    def importance(self) -> float:
        return self.sensitivity * self.uncertainty

    def hold(self, gradient: torch.Tensor) -> torch.Tensor:
        """B's gradient without the components that are not granted."""
        held = gradient.clone()
        held[:, self.rank :] = 0
        return held

    def observe(self) -> None:
        """Take the gradients of this step into account."""
        now = _first_order(self.A, self.A.grad, (slice(self.rank),))
        now += _first_order(self.B, self.B.grad, (slice(None), slice(self.rank)))
        self.sensitivity += (1 - _SMOOTHING) * (now - self.sensitivity)
        deviation = abs(now - self.sensitivity)
        self.uncertainty += (1 - _SMOOTHING) * (deviation - self.uncertainty)


class IncreLora(UpdateStrategy):
    """Grows LoRA's ranks by importance: mean |w dL/dw|, smoothed, times its uncertainty.

    Changes the deployed architecture: see `autopeft.allocation.grown`. Trains with the memory of
    the largest ranks, costs one pass over the adapter's gradients a step. A held component has no
    part in the clipped norm; all that happens to it is weight decay, on its row of A.
    """

    def __init__(
        self,
        model: Any,
        *,
        target_r: int,
        init_r: int = 1,
        period: int,
        grown: int,
        warm_up: int = 0,
    ) -> None:
        """model: with plain LoRA at the largest rank that a module may reach.

        target_r: average rank at the end. period: optimiser steps between two growths, of `grown`
        modules each; none in the first `warm_up` steps.

        Raises:
            ValueError: the model has no such LoRA, or the ranks do not fit it.
        """
        self._modules = {
            name: _Module(A, B, init_r) for name, (A, B) in _lora_weights(model).items()
        }
        highest = min(module.highest for module in self._modules.values())
        if not 1 <= init_r <= target_r <= highest:
            raise ValueError(
                "IncreLoRA needs 1 <= init_r <= target_r <= r of the LoRA that is built, got "
                f"init_r={init_r}, target_r={target_r}, r={highest}"
            )
        if min(period, grown) < 1:
            raise ValueError(f"period and grown must be 1 or more, got {period} and {grown}")
        self._budget = target_r * len(self._modules)
        self._period, self._grown, self._warm_up = period, grown, warm_up
        for module in self._modules.values():
            module.B.register_hook(module.hold)

    @property
    def ranks(self) -> dict[str, int]:
        """Rank by full module name in the base model."""
        return {name: module.rank for name, module in self._modules.items()}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for module in self._modules.values():
            module.observe()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        done = state.global_step + 1  # the Trainer counts this step only after the hook
        if done > self._warm_up and (done - self._warm_up) % self._period == 0:
            self._grow()

    def _grow(self) -> None:
        left = self._budget - sum(self.ranks.values())
        room = [module for module in self._modules.values() if module.rank < module.highest]
        room.sort(key=lambda module: -module.importance)
        for module in room[: min(self._grown, left)]:
            module.rank += 1

    def state(self) -> dict[str, Any]:
        return {
            name: [module.rank, module.sensitivity, module.uncertainty]
            for name, module in self._modules.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, (rank, sensitivity, uncertainty) in state.items():
            module = self._modules[name]
            module.rank = int(rank)
            module.sensitivity, module.uncertainty = sensitivity, uncertainty

    def record(self) -> dict[str, Any]:
        return {"ranks": self.ranks, "rank_budget": self._budget}


def _first_order(
    weight: torch.Tensor, gradient: torch.Tensor | None, granted: tuple[slice, ...]
) -> float:
    if gradient is None:
        return 0.0
    return float((weight.detach()[granted] * gradient[granted]).abs().mean())


def _lora_weights(model: Any) -> dict[str, tuple[torch.nn.Parameter, torch.nn.Parameter]]:
    adapter = getattr(model, "active_adapter", None)
    found = {
        name.removeprefix(_PREFIX): (module.lora_A[adapter].weight, module.lora_B[adapter].weight)
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    }
    if not found:
        raise ValueError("IncreLoRA grows LORA modules, got a model without any")
    for name, (_, B) in found.items():
        if B.any():
            raise ValueError(
                f"IncreLoRA needs LoRA that starts at B = 0, got another start in {name}: "
                "set init_lora_weights to true or gaussian"
            )
    return found
