"""What a finished trial leaves behind: weights that load onto the base as it was."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from autopeft.allocation.data_inits import save_plain_lora
from autopeft.allocation.grown import save_grown
from autopeft.allocation.increlora import IncreLora
from autopeft.training.pausing import settle, whole
from autopeft.tuners.composite import is_composite, save_composite


def save_adapter(
    model: Any,
    folder: Path,
    *,
    strategy: TrainerCallback | None,
    initial: Mapping[str, torch.Tensor] | None,
) -> None:
    """Write the trained weights of a model; they are there whole or not at all.

    Args:
        strategy: of the allocation.
        initial: the adapter before training, where it was taken out of the base weights.
    """
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    with whole(draft):
        if isinstance(strategy, IncreLora):
            save_grown(model, strategy.ranks, draft)
        elif initial is not None:
            save_plain_lora(model, initial, draft)
        elif is_composite(model):
            save_composite(model, draft)
        else:
            model.save_pretrained(draft, safe_serialization=True)
        settle(draft, folder)
