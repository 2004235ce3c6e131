"""Where a model comes from, and what of it may run: its own code where the file says so, and
nothing out of its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autopeft.domain.errors import AutopeftError

_PLACE = ("revision", "subfolder", "code_revision", "cache_dir", "token", "local_files_only")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")  # weights that are never read


def trusted(model: Mapping[str, Any]) -> bool:
    """Whether the file's flag lets code of the model's own run.

    Always given to transformers: where it is not, that asks on the terminal.
    """
    return model.get("trust_remote_code", False) is True


def place(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of the file's `model:` says where its files are, beside their path."""
    return {name: model[name] for name in _PLACE if name in model}


def source(model: Mapping[str, Any]) -> dict[str, Any]:
    """What its config, its tokenizer and its weights are all loaded with."""
    return {**place(model), "trust_remote_code": trusted(model)}


def refuse_pickles(path: str, model: Mapping[str, Any]) -> None:
    """Refuse a folder that has its weights as pickles alone, before anything is trained.

    Raises:
        AutopeftError: it has; the message names one.
    """
    folder = Path(path) / str(model.get("subfolder", ""))
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    if pickled := sorted(file.name for kind in _PICKLED for file in folder.glob(kind)):
        raise AutopeftError(
            f"model_name_or_path: weights are read as safetensors only, {folder} has "
            f"{pickled[0]}, which can hold code: where you trust it, convert it "
            "(`AutoModel.from_pretrained(FOLDER).save_pretrained(NEW)`)"
        )
