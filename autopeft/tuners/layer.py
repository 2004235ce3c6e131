"""The layer that wraps a module of the model and holds its adapters by name.

x: (..., d_in) input of the wrapped module: its first argument, or the keyword `hidden_states`.
output: (..., d_out) what the wrapped module returns, or the first member of the tuple it returns.

A child says what an adapter is (`new_adapter`) and what it does (`adapt`). All else is here:
several adapters, switching them off, calls by position or keyword, precision, devices.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from autopeft.tuners.shapes import widths


class TunerLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A wrapped module and its adapters.

    prefix: as given to `register`; the adapters are stored under `<prefix>adapter`.
    key: dotted name of the wrapped module in the model.

    Attributes that this class lacks are those of the bare module, below any other tuner: model code
    that asks its attention block for `is_causal` still finds it.
    """

    prefix: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "prefix"):
            cls.adapter_layer_names = (f"{cls.prefix}adapter",)

    def __init__(self, base_layer: nn.Module, key: str) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.key = key
        self.add_module(self.adapter_layer_names[0], nn.ModuleDict())
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(self.get_base_layer(), name)

    def new_adapter(self, config: Any) -> nn.Module:
        """A fresh adapter for this layer; all its parameters are trained.

        Args:
            config: the tuner's own config.

        Raises:
            ValueError: the config does not fit the wrapped module.
        """
        raise NotImplementedError

    def adapt(self, adapter: Any, x: Tensor, output: Tensor) -> Tensor:
        """The adapted output (..., d_out); x and output come in the adapter's precision."""
        raise NotImplementedError

    @property
    def adapters(self) -> nn.ModuleDict:
        """The adapters by name."""
        return getattr(self, self.adapter_layer_names[0])

    @property
    def in_features(self) -> int:
        """d_in."""
        return widths(self.get_base_layer())[0]

    @property
    def out_features(self) -> int:
        """d_out."""
        return widths(self.get_base_layer())[1]

    def add_adapter(self, adapter_name: str, config: PeftConfig) -> None:
        """Make one config's adapter, where the wrapped module is and in its precision."""
        self.adapters[adapter_name] = self.new_adapter(config)
        self._move_adapter_to_device_of_base_layer(adapter_name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the wrapped module returns, adapted."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        adapters = [self.adapters[name] for name in self.active_adapters if name in self.adapters]
        if self.disable_adapters or self.merged or not adapters:
            return self.base_layer(*args, **kwargs)
        return self.adapted(adapters, *args, **kwargs)

    def adapted(self, adapters: Sequence[nn.Module], *args: Any, **kwargs: Any) -> Any:
        """The wrapped module's result with every adapter applied, one after the other."""
        x = self._input(*args, **kwargs)
        result = self.base_layer(*args, **kwargs)
        if isinstance(result, Tensor):
            return self.apply_all(adapters, x, result)
        if isinstance(result, tuple) and isinstance(result[0], Tensor):
            return (self.apply_all(adapters, x, result[0]), *result[1:])
        raise TypeError(
            f"an adapted module returns a tensor or a tuple that starts with one, {self.key} "
            f"returned {type(result).__name__}: target a module inside it"
        )

    def _input(self, *args: Any, **kwargs: Any) -> Tensor:
        x = args[0] if args else kwargs.get("hidden_states")
        if isinstance(x, Tensor):
            return x
        raise TypeError(
            "an adapted module is called with a tensor first or as hidden_states, "
            f"{self.key} was not: target a module inside it"
        )

    def apply_all(self, adapters: Sequence[nn.Module], x: Tensor, output: Tensor) -> Tensor:
        """`adapt` by each adapter in its own precision; the result has the output's."""
        for adapter in adapters:
            dtype = next(adapter.parameters()).dtype
            output = self.adapt(adapter, x.to(dtype), output.to(dtype)).to(output.dtype)
        return output

    def check_merge(self) -> None:
        """Refuse a merge that cannot be exact, before any weight is touched.

        Raises:
            ValueError: the adapters have no place in the wrapped module's weights.
        """
        raise ValueError(
            f"only an adapter that is a change of weights can be merged, that of {self.key} "
            f"({type(self).__name__}) is not: keep it beside the model, or drop it by unload()"
        )

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refused: see `check_merge`."""
        self.check_merge()

    def _move_adapter_to_device_of_base_layer(
        self, adapter_name: str, device: torch.device | None = None
    ) -> None:
        # PEFT asks the wrapped module for its weight, which a block does not have.
        if adapter_name not in self.adapters:
            return
        adapter, base = self.adapters[adapter_name], next(self.get_base_layer().parameters())
        if not any(own.is_meta for own in adapter.parameters()):
            adapter.to(device or base.device, base.dtype if base.is_floating_point() else None)
