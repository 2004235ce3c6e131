"""Layers whose adapters can be written into the wrapped module's weights, exactly.

weight: (d_out, ...) output channels first, in float32, also of a `Conv1D`.
bias: (d_out,) in float32, or None where the module has none.
"""

import copy
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from autopeft.tuners.layer import TunerLayer
from autopeft.tuners.shapes import output_first

Weights = tuple[Tensor, Tensor | None]


class MergingLayer(TunerLayer):
    """A tuner layer with a closed form: a child gives it as `merged_weights`."""

    def __init__(self, base_layer: nn.Module, key: str) -> None:
        super().__init__(base_layer, key)
        self._before_merge: Weights | None = None

    def merged_weights(self, adapter: Any, weight: Tensor, bias: Tensor | None) -> Weights:
        """Weight and bias that do alone what the wrapped module and the adapter do together."""
        raise NotImplementedError

    def check_merge(self) -> None:
        """Refuse a merge into quantised weights, or across another tuner's layer.

        Raises:
            ValueError: the weight holds no floating-point numbers, or the wrapped module is
                wrapped by another tuner as well, whose adapter PEFT would drop.
        """
        if isinstance(self.base_layer, BaseTunerLayer):
            raise ValueError(
                f"one tuner a module can be merged, {self.key} has another below "
                f"{type(self).__name__}: keep the adapters beside the model"
            )
        dtype = self.get_base_layer().weight.dtype
        if not dtype.is_floating_point:
            raise ValueError(
                f"merging needs floating-point weights, {self.key} holds {dtype}: keep the "
                "adapter beside the model, or load the base model unquantised"
            )

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Write adapters into the weights; PEFT's contract.

        Args:
            safe_merge: whether to refuse a result with NaN or infinity.
            adapter_names: the active ones where None.

        Raises:
            ValueError: see `check_merge`; or `safe_merge`, and the result is not finite.
        """
        self.check_merge()
        for name in check_adapters_to_merge(self, adapter_names):
            if name in self.adapters:
                with torch.no_grad():
                    self._merge_one(name, safe_merge)

    def _merge_one(self, name: str, safe_merge: bool) -> None:
        weight, bias = self._weights()
        merged = self.merged_weights(
            copy.deepcopy(self.adapters[name]).float(),
            weight.float(),
            None if bias is None else bias.float(),
        )
        if safe_merge and not all(part.isfinite().all() for part in merged if part is not None):
            raise ValueError(
                f"merged weights are finite, those of {self.key} with adapter {name!r} are not: "
                "train it again with a lower learning rate"
            )
        if self._before_merge is None:
            # Kept, not computed back: an unmerged model is the base bit for bit.
            self._before_merge = (weight.clone(), None if bias is None else bias.clone())
        self._write(merged)
        self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Give the wrapped module the weights back that it had before any merge."""
        if self._before_merge is not None:
            with torch.no_grad():
                self._write(self._before_merge)
        self._before_merge, self.merged_adapters = None, []

    def _weights(self) -> Weights:
        base = self.get_base_layer()
        bias = getattr(base, "bias", None)
        return output_first(base), None if bias is None else bias.detach()

    def _write(self, new: Weights) -> None:
        for own, value in zip(self._weights(), new, strict=True):
            if own is not None and value is not None:
                own.copy_(value)
