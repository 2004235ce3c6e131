"""An adapter that is deployed otherwise than it was trained, in a folder that PEFT loads."""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftConfig
from safetensors.torch import save_file


def save_adapter(config: PeftConfig, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write it as PEFT's `save_pretrained` would.

    weights: by PEFT's names.
    """
    config = copy.copy(config)
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    tensors = {name: weight.cpu().contiguous() for name, weight in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
