"""The user's data: where the splits are, and what their columns hold."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Image

from autopeft.domain.errors import AutopeftError
from autopeft.starting.seen import Column, Holds, SeenData
from autopeft.training.loading.data import rows_of_source

_SAMPLE = 1000
_BUILDERS: Mapping[str, Mapping[str, Any]] = {
    ".jsonl": {"path": "json"},
    ".json": {"path": "json"},
    ".csv": {"path": "csv"},
    ".tsv": {"path": "csv", "sep": "\t"},
    ".parquet": {"path": "parquet"},
    ".txt": {"path": "text"},
}
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_SAVED = ("dataset_info.json", "dataset_dict.json")
_NAMES = {"validation": ("validation", "valid", "val", "dev", "eval"), "test": ("test",)}
_FEW = 2000
_SHARES = (0.2, 0.1)  # of few training rows and of many, where nothing else validates


def see_data(
    train: str, *, validation: str | None, test: str | None, folder: Path
) -> tuple[SeenData, Dataset]:
    """The splits of what the user names, and the training rows.

    train, validation, test: a file, a folder or a name on the hub, from the working directory.
    Where validation and test are not named they are looked for beside the training rows.
    folder: of the space file, from which its relative paths start.

    Raises:
        AutopeftError: something that cannot be read, or has no rows.
    """
    sources: dict[str, Mapping[str, Any]] = {"train": _source(train, folder)}
    rows = rows_of_source(sources["train"], folder=str(folder))
    if len(rows) < 2:
        raise AutopeftError(f"data needs two rows or more, got {len(rows)} in {train}")
    others: Sequence[tuple[str, str | None]] = (("validation", validation), ("test", test))
    for name, given in others:
        found = _source(given, folder) if given else _beside(sources["train"], name, folder)
        if found is not None and (given or _fits(found, rows, folder)):
            sources[name] = found
    if "validation" not in sources:
        sources["validation"] = {"carve": _SHARES[len(rows) >= _FEW], "from": "train", "seed": 0}
    sample = rows.select(range(min(_SAMPLE, len(rows))))
    columns = tuple(_column(sample, name) for name in rows.column_names)
    order: dict[str, Mapping[str, Any]] = {
        name: sources[name] for name in ("train", "validation", "test") if name in sources
    }
    return SeenData(order, len(rows), columns, len(sample)), rows


def relative(path: Path, folder: Path) -> str:
    """A path as the space file says it."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _source(given: str, folder: Path) -> dict[str, Any]:
    path = Path(given).expanduser()
    if path.is_file():
        if path.suffix not in _BUILDERS:
            known = ", ".join(_BUILDERS)
            raise AutopeftError(f"init reads {known} files, folders and hub names, got {given}")
        return {**_BUILDERS[path.suffix], "data_files": relative(path, folder)}
    if path.is_dir():
        return _folder_source(path, folder)
    if path.suffix in _BUILDERS or given.startswith((".", "/", "~")):
        raise AutopeftError(f"--data names a file that does not exist: {path}")
    return {"path": given, "split": "train"}


def _folder_source(path: Path, folder: Path) -> dict[str, Any]:
    """A folder saved by `datasets`, one with a train file, one of images, or any other."""
    where = relative(path, folder)
    if any((path / name).exists() for name in _SAVED):
        return {"path": where, **({"split": "train"} if (path / _SAVED[1]).exists() else {})}
    for suffix in _BUILDERS:
        if (found := path / f"train{suffix}").is_file():
            return _source(str(found), folder)
    if any(file.suffix.lower() in _IMAGES for file in path.rglob("*")):
        return {"path": "imagefolder", "data_dir": where, "split": "train"}
    return {"path": where, "split": "train"}


def _beside(train: Mapping[str, Any], name: str, folder: Path) -> dict[str, Any] | None:
    """Another split of the same data: a file next to `train.jsonl`, a split of the same set."""
    for other in _NAMES[name]:
        if "data_files" in train:
            file = Path(train["data_files"])
            sibling = file.with_name(f"{other}{file.suffix}")
            if file.stem == "train" and (folder / sibling).is_file():
                return {**train, "data_files": sibling.as_posix()}
        elif "split" in train:
            found = {**train, "split": other}
            try:
                rows_of_source(found, folder=str(folder))
            except AutopeftError:
                continue
            return found
    return None


def _fits(source: Mapping[str, Any], train: Dataset, folder: Path) -> bool:
    """Whether a split that nobody named has train's columns, and tells its labels."""
    rows = rows_of_source(source, folder=str(folder))
    if set(train.column_names) - set(rows.column_names) or not len(rows):
        return False
    hidden = [n for n in rows.column_names if isinstance(rows.features[n], ClassLabel)]
    return not any(-1 in rows[name][:_SAMPLE] for name in hidden)


def _column(sample: Dataset, name: str) -> Column:
    feature = sample.features[name]
    if isinstance(feature, Image):
        return Column(name, "image")
    values = [value for value in sample[name] if value is not None]
    if isinstance(feature, ClassLabel):
        return Column(name, "class", len(set(values)))
    holds = _holds(values)
    distinct = len(set(values)) if holds in ("text", "truth", "whole", "number") else 0
    return Column(name, holds, distinct)


def _holds(values: Sequence[Any]) -> Holds:
    if not values:
        return "other"
    if all(isinstance(value, str) for value in values):
        return "text"
    if all(isinstance(value, bool) for value in values):
        return "truth"
    if all(isinstance(value, int) for value in values):
        return "whole"
    if all(isinstance(value, int | float) for value in values):
        return "number"
    if not all(isinstance(value, list) for value in values):
        return "other"
    items = [item for value in values for item in value]
    if items and all(isinstance(item, dict) and {"role", "content"} <= set(item) for item in items):
        return "messages"
    if items and all(isinstance(item, str) for item in items):
        return "texts"
    return "numbers" if items and all(isinstance(item, int) for item in items) else "other"
