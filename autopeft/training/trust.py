"""What of a model may run: its own code where the file says so, and nothing out of its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autopeft.domain.errors import AutopeftError

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")  # weights that are never read


def trusted(model: Mapping[str, Any]) -> bool:
    """Whether the file's flag lets code of the model's own run.

    Always given to transformers: where it is not, that asks on the terminal.
    """
    return model.get("trust_remote_code", False) is True


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
