"""What a kind of task decides of a trial."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import Formatter
from typing import Any, Protocol

import torch
from datasets import Dataset
from transformers import AutoTokenizer

from autopeft.domain.errors import AutopeftError

Measures = tuple[dict[str, float], dict[str, float]]
"""Metrics by name, and their standard errors as far as they are known."""


class Task(Protocol):
    """How rows become inputs, what trains on them, and what the result is judged by.

    Implementations hold no state: a worker keeps one for all of its trials. They derive from this
    class, and leave out what has a body here.
    """

    def auto_class(self) -> Any:
        """The transformers auto class whose model has the task's head."""

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """What the model's config is told of the labels; {} where it gets no new head."""

    def processor(self, path: str, **source: Any) -> Any:
        """What turns raw rows into inputs: a tokenizer, an image processor.

        source: see `autopeft.training.loading.trust.source`; here and below.
        """
        return tokenizer(path, **source, **self.processor_options(path, **source))

    def processor_options(self, path: str, **source: Any) -> dict[str, Any]:
        """What a tokenizer is given to load besides."""
        return {}

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        """The splits with columns by the task's own names, and the labels by id.

        columns: the task's name -> the data's, where they differ.

        Raises:
            AutopeftError: a column or a value that is not there or makes no sense.
        """

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Any:
        """Rows as the trainer takes them: (n,) mappings. data: the file's `data:`."""

    def remarks(
        self, split: Dataset, processor: Any, data: Mapping[str, Any], labels: Sequence[str]
    ) -> list[str]:
        """What someone should know of a split before training: rows cut, empty texts, shares."""
        return []

    def trainer(self) -> tuple[Any, Any]:
        """The trainer's class and that of its arguments."""

    def collator(self, model: Any, processor: Any) -> Any:
        """What puts rows into a batch; None: the trainer's own way."""
        return None

    def measure(
        self, model: Any, loader: Any, device: torch.device, asked: Collection[str]
    ) -> Measures:
        """Metrics of a model over a loader's batches; `eval_loss` among them, with no penalty.

        asked: what the study decides by. Of others a standard error that takes long is left out.
        """


def tokenizer(path: str, *, trust_remote_code: bool, **options: Any) -> Any:
    """The model's tokenizer; one without a padding token pads with the end of a text."""
    found = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code, **options)
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


def named_labels(labels: Sequence[str]) -> dict[str, Any]:
    """The labels as a model's config takes them."""
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def checked_column(split: Dataset, name: str, key: str, column: str) -> str:
    """The column that `data.columns` names for `key`.

    Raises:
        AutopeftError: the split has no such column.
    """
    if column not in split.column_names:
        raise AutopeftError(
            f"data.columns.{key} names a column that data.{name} does not have: {column!r}; "
            f"it has {', '.join(split.column_names)}"
        )
    return column


def renamed(split: Dataset, columns: Mapping[str, str]) -> Dataset:
    """The split with the data's columns under the task's names (name -> column)."""
    renames = {column: key for key, column in columns.items() if column != key}
    return split.rename_columns(renames) if renames else split


def only(split: Dataset, name: str, columns: Mapping[str, str]) -> Dataset:
    """The split with these columns alone, under the task's names.

    columns: the task's name -> the data's, or a text with columns in it (`{question} {answer}`).

    Raises:
        AutopeftError: a column is not there, lacks a value in some row, or has one that a text
            cannot write as it says.
    """
    texts = {key: column for key, column in columns.items() if "{" in column}
    for key, text in texts.items():
        for column in _fields_of(text, key):
            _complete(split, name, key, column)
    plain = {key: column for key, column in columns.items() if key not in texts}
    for key, column in plain.items():
        _complete(split, name, key, column)
    if shared := next((c for c in plain.values() if list(plain.values()).count(c) > 1), None):
        raise AutopeftError(f"data.columns names {shared!r} twice: each is read for one thing")
    wanted = renamed(split.select_columns(list(plain.values())), plain)
    for key, text in texts.items():
        wanted = wanted.add_column(key, _written(split, text, key))
    return wanted


def only_texts(
    split: Dataset, name: str, columns: Mapping[str, str], texts: Collection[str]
) -> Dataset:
    """As `only`; what stands in `texts` has to be text.

    Raises:
        AutopeftError: it holds numbers or lists.
    """
    kept = only(split, name, columns)
    for key in texts:
        kind = getattr(kept.features[key], "dtype", "no text")
        if kind not in ("string", "large_string"):
            raise AutopeftError(
                f"data.{name} needs text in column {columns[key]!r}, got {kind}: name another "
                f"under data.columns.{key}, or write it into a text ('{{{columns[key]}}}')"
            )
    return kept


def _fields_of(text: str, key: str) -> list[str]:
    """The columns that a text names, also those that another's width or form is (`{a:{b}}`)."""
    with _readable(text, key):
        parts = list(Formatter().parse(text))
    return [
        column
        for _, field, form, _ in parts
        if field is not None
        for column in (field, *_fields_of(form or "", key))
    ]


def _written(split: Dataset, text: str, key: str) -> list[str]:
    with _readable(text, key):
        return [text.format(**row) for row in split]


@contextmanager
def _readable(text: str, key: str) -> Iterator[None]:
    try:
        yield
    except (OverflowError, TypeError, ValueError) as error:  # all that forms of values raise
        raise AutopeftError(
            f"data.columns.{key} is no text with columns in it: {text!r}: {error}"
        ) from error


def _complete(split: Dataset, name: str, key: str, column: str) -> None:
    checked_column(split, name, key, column)
    rows = split.select_columns([column]).with_format("arrow")  # an image stays as it is stored
    missing = sum(batch[column].null_count for batch in rows.iter(batch_size=1000))
    if missing:
        raise AutopeftError(
            f"data.{name} needs a value in every row of {column!r}, "
            f"got {missing} rows without: drop them"
        )
