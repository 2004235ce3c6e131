"""Code that says so when it runs: as a pickle, and as a module."""

import os
import pickle
from pathlib import Path
from typing import Any


class _Runs:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (self.marker,)


def plant_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": _Runs(marker)}))


def plant_torch_file(path: Path, marker: Path) -> None:
    """As `torch.save` writes it: a zip around the pickle."""
    import torch

    torch.save({"weight": _Runs(marker)}, path)


def plant_module(path: Path, marker: Path, rest: str = "") -> None:
    path.write_text(f"import os\nos.makedirs({str(marker)!r}, exist_ok=True)\n{rest}")
