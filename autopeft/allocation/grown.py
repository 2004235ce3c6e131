"""What IncreLoRA deploys: a plain LoRA with a rank of its own in every module."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict

from autopeft.allocation.saving import save_adapter

_PREFIX = "base_model.model."


def cut(model: Any, ranks: Mapping[str, int]) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """The config and the weights of the LoRA without its held components.

    `set_peft_model_state_dict(get_peft_model(base, config), weights)` gives the same logits.

    Args:
        model: the trained PEFT model.
        ranks: full module name in the base model -> rank, as `IncreLora.ranks`.

    Returns:
        The config with `rank_pattern`, and `alpha_pattern` so that every scaling stays; the
        weights by PEFT's names.
    """
    adapter = model.active_adapter
    config = copy.deepcopy(model.peft_config[adapter])
    scalings = {name: _scaling(model, name, adapter) for name in ranks}
    config.rank_pattern = dict(ranks)
    config.alpha_pattern = {name: scalings[name] * rank for name, rank in ranks.items()}
    config.use_rslora = False  # its root is in the scaling already
    weights = get_peft_model_state_dict(model, adapter_name=adapter)
    return config, {name: _cut(name, weight, ranks) for name, weight in weights.items()}


def save_grown(model: Any, ranks: Mapping[str, int], folder: Path) -> None:
    """Write the adapter that is deployed."""
    save_adapter(*cut(model, ranks), folder)


def _scaling(model: Any, name: str, adapter: str) -> float:
    return float(model.get_submodule(_PREFIX + name).scaling[adapter])


def _cut(name: str, weight: torch.Tensor, ranks: Mapping[str, int]) -> torch.Tensor:
    module = name.removeprefix(_PREFIX)
    for ending, dimension in ((".lora_A.weight", 0), (".lora_B.weight", 1)):
        if module.endswith(ending):
            rank = ranks[module.removesuffix(ending)]
            return weight.narrow(dimension, 0, rank).detach().clone()
    return weight.detach().clone()
