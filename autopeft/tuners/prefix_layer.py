"""The trainable prefixes of one attention module, a set an adapter.

v: virtual tokens; w = heads * channels: width of the module's keys; e: `encoder_hidden_size`.

    plain       2 v w
    projected   v w + (w e + e) + (2 w e + 2 w), of which 2 v w are stored
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.func import functional_call

from autopeft.tuners.prefix_attention import (
    NAME,
    PrefixedConfig,
    check_attention,
    eager_attention,
    key_value_shape,
)


class PlainPrefix(nn.Module):  # type: ignore[misc]
    """Keys and values as they are.

    weight: (v, 2 w), keys in front.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self) -> Tensor:
        return self.weight


class ProjectedPrefix(nn.Module):  # type: ignore[misc]
    """Keys and values from an embedding and a two-layer tanh network (Li and Liang 2021, sec. 4.3).

    They trained an unprojected prefix less stably. The network is needed in training alone.
    """

    def __init__(self, tokens: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(tokens, width))
        self.transform = nn.Sequential(
            nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 2 * width)
        )

    def forward(self) -> Tensor:
        weight: Tensor = self.transform(self.embedding)
        return weight


class PrefixLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A child of the attention module, so that the names of all other weights stay as they are.

    Not a wrapper: PEFT skips all that lies under one when it injects a later adapter, so LoRA after
    a prefix would find none of its targets.
    """

    adapter_layer_names = ("prefix_kv",)

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        # In a tuple, or torch would make the parent a child of its child.
        self._attention = (attention,)
        self.heads, self.channels = key_value_shape(attention)
        self.eager = eager_attention(attention)
        self.prefix_kv = nn.ModuleDict()

    @classmethod
    def attach(cls, attention: nn.Module, name: str) -> "PrefixLayer":
        """The layer of the attention module of that name, put there if there is none yet.

        Raises:
            ValueError: the module cannot take one.
        """
        if not hasattr(attention, NAME):
            check_attention(attention, name)
            layer = cls(attention)
            attention.add_module(NAME, layer)
            attention.config = PrefixedConfig(attention.config, layer)
        found: PrefixLayer = attention.get_submodule(NAME)
        return found

    def detach(self) -> None:
        """Give the attention module back as it was."""
        attention = self.get_base_layer()
        attention.config = attention.config.config
        delattr(attention, NAME)

    def add(self, adapter: str, tokens: int, hidden: int | None) -> None:
        """A new prefix, drawn from N(0, 1) as PEFT draws it; hidden: e, None for no projection."""
        self.prefix_kv[adapter] = (
            PlainPrefix(torch.randn(tokens, 2 * self.width))
            if hidden is None
            else ProjectedPrefix(tokens, self.width, hidden)
        )
        self._move_adapter_to_device_of_base_layer(adapter)

    def fold(self, adapter: str) -> None:
        """Put a plain prefix where a projected one was."""
        projected = self.prefix_kv[adapter]
        plain = PlainPrefix(projected().detach())
        self.prefix_kv[adapter] = plain.requires_grad_(projected.embedding.requires_grad)

    @property
    def width(self) -> int:
        """w, of the module's keys."""
        return self.heads * self.channels

    @property
    def on(self) -> bool:
        """Whether any active adapter has a prefix here."""
        return not self.disable_adapters and bool(self._active())

    def keys_and_values(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The active prefixes, one behind the other.

        Args:
            like: (b, h, m, c), the module's own keys.

        Returns:
            Keys and values, (b, h, v, c) each, of the type of `like`.
        """
        weight = torch.cat([self.prefix_kv[name]() for name in self._active()]).to(like)
        pair = weight.view(-1, 2, self.heads, self.channels).permute(1, 2, 0, 3)
        keys, values = pair[:, None].expand(-1, like.shape[0], -1, -1, -1).unbind()
        return keys, values

    def _active(self) -> list[str]:
        return [name for name in self.active_adapters if name in self.prefix_kv]

    def get_base_layer(self) -> Any:
        return self._attention[0]

    def _get_base_layer_device_and_dtype(self, base_layer: nn.Module) -> Any:
        example = next(base_layer.parameters())
        return example.device, example.dtype

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise ValueError(
            "LAYER_PREFIX cannot be merged: no weight of the model does what a prefix does; keep "
            "the adapter, or unload() it"
        )

    def unmerge(self) -> None:
        """Nothing is ever merged."""


def stored_prefix(prefix: nn.Module, tensors: Mapping[str, Tensor]) -> Tensor:
    """(v, 2 w): what a prefix is with these tensors of its own, without its projection."""
    with torch.no_grad():
        stored: Tensor = functional_call(prefix, dict(tensors), ())
    return stored
