"""What a kind of task decides of a trial."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from datasets import Dataset
from transformers import AutoTokenizer

from autopeft.domain.errors import AutopeftError

Measures = tuple[dict[str, float], dict[str, float]]
"""Metrics by name, and their standard errors as far as they are known."""


class Task(Protocol):
    """How rows become inputs, what trains on them, and what the result is judged by.

    Implementations hold no state: a worker keeps one for all of its trials.
    """

    def auto_class(self) -> Any:
        """The transformers auto class whose model has the task's head."""

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """What the model's config is told of the labels; {} where there are none."""

    def processor(self, path: str, *, trust_remote_code: bool) -> Any:
        """What turns raw rows into inputs: a tokenizer, an image processor."""

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, str]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        """The splits with columns by the task's own names, and the labels by id.

        columns: the task's name -> the data's, where they differ.

        Raises:
            AutopeftError: a column or a value that is not there or makes no sense.
        """

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Dataset:
        """Rows as the trainer takes them. data: the file's `data:`."""

    def trainer(self) -> tuple[Any, Any]:
        """The trainer's class and that of its arguments."""

    def measure(self, model: Any, loader: Any, device: torch.device) -> Measures:
        """Metrics of a model over a loader's batches; `eval_loss` among them, with no penalty."""


def tokenizer(path: str, *, trust_remote_code: bool) -> Any:
    """The model's tokenizer; one without a padding token pads with the end of a text."""
    found = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


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
