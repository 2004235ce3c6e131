"""Several PEFT modules in one model: put in, saved as one folder, loaded again.

`PeftModel` holds one method. Here every module is injected under a name of its own
(`module_0`, `module_1`, ...), all are active and trained together, and a folder holds them all:

    composite.json              the format and the number of modules
    module_0/adapter_config.json, adapter_model.safetensors
    module_1/...
    head.safetensors            what is trained in full beside the backbone

The order matters: a whole block is wrapped after the modules inside it, so that every config finds
the names of the bare model. Loading injects in the same order and gives equal outputs.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import (
    PeftConfig,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

_INDEX, _HEAD, _WEIGHTS = "composite.json", "head.safetensors", "adapter_model.safetensors"
_FORMAT = 1


def inject_composite(model: Any, configs: Sequence[PeftConfig], *, head: Sequence[str] = ()) -> Any:
    """Put every module into the model, in place; only they and the head are trained.

    Args:
        configs: in the order of injection: modules inside a block before the block.
        head: names of modules of the model that are trained in full (`classifier`).

    Returns:
        The model.

    Raises:
        ValueError: a config fits no module of the model, or PEFT refuses it.
    """
    names = _names(len(configs))
    for name, config in zip(names, configs, strict=True):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            inject_adapter_in_model(config, model, adapter_name=name)
    for module in model.modules():
        # A second module of the same method would have switched off the first.
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(module._all_available_adapter_names())
    for name in head:
        model.get_submodule(name).requires_grad_(True)
    model.peft_config = dict(zip(names, configs, strict=True))
    model.composite_head = tuple(head)
    return model


def is_composite(model: Any) -> bool:
    """Whether `inject_composite` made it."""
    return hasattr(model, "composite_head")


def save_composite(model: Any, folder: Path) -> None:
    """Write the modules and the head of a model that `inject_composite` made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, config in model.peft_config.items():
        config.save_pretrained(folder / name)
        tensors = get_peft_model_state_dict(model, adapter_name=name)
        save_file(
            {key: tensor.detach().contiguous().clone() for key, tensor in tensors.items()},
            folder / name / _WEIGHTS,
        )
    head = {
        f"{name}.{key}": tensor.detach().clone()
        for name in model.composite_head
        for key, tensor in model.get_submodule(name).state_dict().items()
    }
    save_file(head, folder / _HEAD)
    index = {
        "format": _FORMAT,
        "modules": list(model.peft_config),
        "head": list(model.composite_head),
    }
    (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n")


def load_composite(base: Any, folder: str | Path) -> Any:
    """Put a saved composite into a freshly loaded base model, in place.

    Args:
        base: the model that the modules were trained on.
        folder: what `save_composite` or `autopeft export` wrote.

    Returns:
        The model, with the outputs of the saved one; its adapters are trainable.

    Raises:
        ValueError: the folder is no composite, or was written for another model.
    """
    folder = Path(folder)
    index = _index(folder)
    configs = [PeftConfig.from_pretrained(str(folder / name)) for name in index["modules"]]
    inject_composite(base, configs, head=index["head"])
    for name in index["modules"]:
        found = set_peft_model_state_dict(
            base, load_file(folder / name / _WEIGHTS), adapter_name=name
        )
        if found.unexpected_keys:
            raise ValueError(
                f"{folder / name} was saved from another model: it has no "
                f"{found.unexpected_keys[0]}; load the base model that it was trained on"
            )
    base.load_state_dict(load_file(folder / _HEAD), strict=False)
    return base


def _names(count: int) -> list[str]:
    return [f"module_{i}" for i in range(count)]


def _index(folder: Path) -> dict[str, Any]:
    if not (folder / _INDEX).is_file():
        raise ValueError(f"a composite has a {_INDEX}, {folder} has none: name another folder")
    index: dict[str, Any] = json.loads((folder / _INDEX).read_text())
    if index["format"] != _FORMAT:
        raise ValueError(
            f"{folder} was written in format {index['format']}, this autopeft reads {_FORMAT}: "
            "install the version that wrote it"
        )
    if index["modules"] != _names(len(index["modules"])):  # they are folders' names
        raise ValueError(
            f"{folder / _INDEX} names modules module_0, module_1, ..., got {index['modules']}"
        )
    return index
