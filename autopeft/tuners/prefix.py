"""LAYER_PREFIX: prefix tuning that each layer has, or has not, for itself.

PEFT's PREFIX_TUNING fills the model's cache: it lives in all layers, shifts positions and refuses
gradient checkpointing. Here each targeted attention module owns its prefix (Li and Liang 2021,
arXiv 2101.00190), as AutoPEFT's layer bits want it (Zhou et al. 2024, arXiv 2301.12132). With all
layers on and positions shifted by v, the outputs are PEFT's.

Parameters of a targeted module: see `autopeft.tuners.prefix_layer`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from autopeft.tuners.config import TunerConfig
from autopeft.tuners.prefix_layer import PrefixLayer, ProjectedPrefix, stored_prefix
from autopeft.tuners.registration import register

PEFT_TYPE = "LAYER_PREFIX"


@dataclass
class LayerPrefixConfig(TunerConfig):
    """Which attention modules get a prefix, and of what size.

    prefix_projection trains an embedding and a two-layer tanh network instead of the prefix itself,
    one of each a module; saved adapters hold the prefix that they compute.

    Raises:
        ValueError: a size is below 1, or as in `TunerConfig`.
    """

    num_virtual_tokens: int = field(
        default=10, metadata={"help": "Trained keys and values of each module (>= 1)."}
    )
    prefix_projection: bool = field(
        default=False, metadata={"help": "Compute them by a two-layer tanh network."}
    )
    encoder_hidden_size: int | None = field(
        default=None,
        metadata={"help": "Width of that network; None is the width of the module's keys."},
    )

    def __post_init__(self) -> None:
        self.peft_type = PEFT_TYPE
        super().__post_init__()
        for name in ("num_virtual_tokens", "encoder_hidden_size"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ValueError(f"LAYER_PREFIX needs {name} >= 1, got {size}: raise it")


class LayerPrefixModel(BaseTuner):  # type: ignore[misc]
    """A model with a prefix in each of its targeted attention modules."""

    prefix = "prefix_kv"
    tuner_layer_cls = PrefixLayer

    def _create_and_replace(
        self,
        peft_config: LayerPrefixConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = PrefixLayer.attach(_unwrapped(target), current_key)
        hidden = None
        if peft_config.prefix_projection:
            hidden = peft_config.encoder_hidden_size or layer.width
        layer.add(adapter_name, peft_config.num_virtual_tokens, hidden)

    def _check_merge_allowed(self) -> None:
        next(layer for _, layer in _layers(self.model)).merge()

    def unload(self) -> nn.Module:
        """The base model, without this and any other adapter."""
        for _, layer in list(_layers(self.model)):
            layer.detach()
        model: nn.Module = super().unload()
        return model

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, torch.Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, torch.Tensor]:
        stored = {}
        for name, layer in _layers(model):
            if adapter_name in layer.prefix_kv:
                here = f"{name}.{cls.prefix}.{adapter_name}."
                own = {k.removeprefix(here): t for k, t in state_dict.items() if k.startswith(here)}
                stored[f"{here}weight"] = stored_prefix(layer.prefix_kv[adapter_name], own)
        return stored

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        # What was stored is no longer projected: training goes on with the prefix itself.
        for _, layer in _layers(model):
            if isinstance(layer.prefix_kv.get_submodule(adapter_name), ProjectedPrefix):
                layer.fold(adapter_name)
        remapped: dict[str, torch.Tensor] = super()._remap_adapter_state_dict_for_load(
            model, config, adapter_name, state_dict
        )
        return remapped


def _layers(model: nn.Module) -> Iterator[tuple[str, PrefixLayer]]:
    for name, module in model.named_modules():
        if isinstance(module, PrefixLayer):
            yield name, module


def _unwrapped(module: Any) -> nn.Module:
    # Another adapter may wrap the attention module: its own attention is the innermost.
    while hasattr(module, "base_layer"):
        module = module.base_layer
    found: nn.Module = module
    return found


register(PEFT_TYPE, LayerPrefixConfig, LayerPrefixModel, prefix=LayerPrefixModel.prefix)
