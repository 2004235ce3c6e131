"""The data of a study: loaded by `datasets`, split, and put into the columns of its task."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from pathlib import Path
from typing import Any

from datasets import (
    Dataset,
    DatasetDict,
    ReadInstruction,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)
from datasets.utils import logging as datasets_logging
from sklearn.model_selection import train_test_split

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import TaskKind
from autopeft.training.loading.content import content_fingerprint
from autopeft.training.loading.docstrings import SOURCE, load_split
from autopeft.training.tasks import task_of

_FILES = ("json", "csv", "parquet", "text")
_FOLDERS = ("imagefolder",)
_PICKLES = ("pandas",)  # of the builders that come with datasets
_SAFE = "the rows as json, csv or parquet"
_SPLITS = ("train", "validation", "test")
_LONGEST = 500  # characters of a path that are told


@dataclass(frozen=True)
class Data:
    """Three splits and the names of the labels by id; `test` may be missing."""

    train: Dataset
    validation: Dataset
    test: Dataset | None
    labels: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Of all rows of all splits; taken once, as `load_data` keeps its last data."""
        splits = (self.train, self.validation, self.test)
        return content_fingerprint(split for split in splits if split is not None)


def load_data(data: Mapping[str, Any], *, folder: str, task: TaskKind) -> Data:
    """Load the file's `data:`.

    Raises:
        AutopeftError: a file, column, split or label that is not there or makes no sense.
    """
    return _load(json.dumps(data, sort_keys=True), folder, task)


def general_rows(data: Mapping[str, Any], *, folder: str, task: TaskKind) -> Dataset:
    """The rows of `data.general`, in the task's own column names.

    Raises:
        AutopeftError: a file or column that is not there.
    """
    split = _split(data, "general", folder)
    rows: Dataset = task_of(task).rows({"general": split}, {})[0]["general"]
    limit = int(dict(data.get("limit", {})).get("general", len(rows)))
    if len(rows) == 0:
        raise AutopeftError("data.general needs at least one row, got none")
    return rows.select(range(min(limit, len(rows))))


def rows_of_source(source: Mapping[str, Any], *, folder: str) -> Dataset:
    """The rows of one source as a space file writes it, as they are.

    Raises:
        AutopeftError: it cannot be loaded.
    """
    rows = _split({"train": source}, "train", folder)
    if rows is None:
        raise AutopeftError("a carved split has no rows of its own")
    return rows


@contextmanager
def _said_once() -> Iterator[None]:
    """What datasets logs of a file that it cannot read is in the error too."""
    before = datasets_logging.get_verbosity()
    datasets_logging.set_verbosity(datasets_logging.CRITICAL)
    try:
        yield
    finally:
        datasets_logging.set_verbosity(before)


def _unread(path: str, rest: Mapping[str, Any], error: BaseException) -> str:
    """Why a source cannot be loaded: the innermost cause, without what datasets makes of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, StopIteration):  # its JSON reader's word for an empty file
        return f"{rest.get('data_files', path)} has no rows: give a file that has some"
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    files = f" of {rest['data_files']}" if "data_files" in rest else ""
    return f"{path!r}{files} cannot be loaded: {said}"


@lru_cache(maxsize=4)
def _load(data_json: str, folder: str, task: TaskKind) -> Data:
    data = json.loads(data_json)
    splits = {name: _split(data, name, folder) for name in _SPLITS if name in data}
    for name in _SPLITS:
        if "carve" in data.get(name, {}):
            _carve(splits, name, data[name], data.get("columns", {}))
    found, labels = task_of(task).rows(splits, data.get("columns", {}))
    for name, limit in dict(data.get("limit", {})).items():
        if name not in found:  # general has its own
            continue
        found[name] = found[name].select(range(min(int(limit), len(found[name]))))
    for name, split in found.items():
        if len(split) == 0:
            raise AutopeftError(f"data.{name} needs at least one row, got none")
    return Data(
        train=found["train"],
        validation=found["validation"],
        test=found.get("test"),
        labels=labels,
    )


def _split(data: Mapping[str, Any], name: str, folder: str) -> Dataset | None:
    source = data[name]
    if "carve" in source:
        return None
    where = f"data.{name}"
    path = str(source["path"])
    if path in _PICKLES:
        raise AutopeftError(f"{where}: {path!r} reads pickles, which can hold code: save {_SAFE}")
    rest = {key: value for key, value in source.items() if key not in ("path", "split")}
    if path == SOURCE:
        return load_split(str(source.get("split", name)), rest)
    if path in _FOLDERS and "data_dir" in rest:
        rest["data_dir"] = _folder(rest["data_dir"], folder, where)
    if path in (*_FILES, *_FOLDERS) and "data_files" in rest:
        rest["data_files"] = _files(rest["data_files"], folder, where)
    try:
        with _said_once():
            if (local := Path(folder) / path).is_dir() and (
                (local / "dataset_info.json").exists() or (local / "dataset_dict.json").exists()
            ):
                loaded = load_from_disk(str(local))
            else:
                loaded = load_dataset(str(local) if local.is_dir() else path, **rest)
    except Exception as error:
        raise AutopeftError(f"{where}: {_unread(path, rest, error)}") from error
    if isinstance(loaded, Dataset):
        if "split" not in source:
            return loaded
        loaded = DatasetDict({str(loaded.split or "train"): loaded})
    wanted = str(source.get("split") or (name if name in loaded else next(iter(loaded))))
    return loaded[wanted] if wanted in loaded else _part(loaded, wanted, where)


def _part(loaded: DatasetDict, wanted: str, where: str) -> Dataset:
    """A split, or a slice or sum of splits as `load_dataset` writes them: `train[:80%]`.

    Raises:
        AutopeftError: no such split, no such way to write a slice, or no row in it.
    """
    try:
        parts = ReadInstruction.from_spec(wanted).to_absolute(
            {n: len(d) for n, d in loaded.items()}
        )
    except (ValueError, AssertionError) as error:
        raise AutopeftError(
            f"{where} has splits {', '.join(loaded)}, got split {wanted!r}: take one of them, "
            "or a slice such as train[:80%]"
        ) from error
    some = [part for part in parts if part.from_ < part.to]
    if not some:
        sizes = ", ".join(f"{part.splitname} has {len(loaded[part.splitname])}" for part in parts)
        raise AutopeftError(
            f"{where}.split needs at least one row, got none by {wanted!r}: {sizes}"
        )
    rows = [loaded[part.splitname].select(range(part.from_, part.to)) for part in some]
    return rows[0] if len(rows) == 1 else concatenate_datasets(rows)


def _files(files: Any, folder: str, where: str) -> Any:
    names = [files] if isinstance(files, str) else list(files)
    return [name if "://" in name else _file(name, folder, where) for name in names]


def _file(name: str, folder: str, where: str) -> str:
    """The full path of a file, or a pattern that files match."""
    path = there = None
    with suppress(OSError, ValueError):  # of what is too long for a path, or is none
        path = str((Path(folder) / name).resolve())
        there = any(Path("/").glob(path.lstrip("/")))
    if not path or not there:
        raise AutopeftError(
            f"{where}.data_files names a file that does not exist: {(path or name)[:_LONGEST]}"
        )
    return path


def _folder(name: Any, folder: str, where: str) -> str:
    path = (Path(folder) / str(name)).resolve()
    if not path.is_dir():
        raise AutopeftError(f"{where}.data_dir names a folder that does not exist: {path}")
    return str(path)


def _carve(
    splits: dict[str, Dataset], name: str, how: Mapping[str, Any], columns: Mapping[str, Any]
) -> None:
    """Move a share of one split into another; stratified by label where that is possible."""
    share, origin = float(how["carve"]), str(how.get("from", "train"))
    if not 0 < share < 1:
        raise AutopeftError(f"data.{name}.carve needs a share between 0 and 1, got {share}")
    source = splits.get(origin)
    if source is None:
        raise AutopeftError(f"data.{name}.from names a split that is not loaded: {origin!r}")
    rows = range(len(source))
    if len(rows) < 2:
        raise AutopeftError(
            f"data.{name}.carve needs two rows of {origin} or more, got {len(rows)}: add rows"
        )
    if ceil(share * len(rows)) == len(rows):
        raise AutopeftError(
            f"data.{name}.carve needs to leave a row of {origin}, got {share} of {len(rows)} rows: "
            "take a smaller share, or add rows"
        )
    label = columns.get("label", "label")
    by = [str(value) for value in source[label]] if label in source.column_names else None
    seed = int(how.get("seed", 0))
    try:
        kept, carved = train_test_split(rows, test_size=share, random_state=seed, stratify=by)
    except ValueError:  # a class with a single row cannot be stratified
        kept, carved = train_test_split(rows, test_size=share, random_state=seed)
    splits[origin], splits[name] = source.select(sorted(kept)), source.select(sorted(carved))
