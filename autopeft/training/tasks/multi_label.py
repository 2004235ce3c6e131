"""SEQ_CLS with problem_type multi_label_classification: any number of labels for a text.

Rows have `text`, where the file says so `text_pair`, and `label`: a 0 or 1 for every label. The
data have a list of labels in a column, or a column of 0 and 1 for every label.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, List, Value

from autopeft.domain.errors import AutopeftError
from autopeft.training.ranks import over_ranks
from autopeft.training.scoring.scores import multi_label_metrics, predicted_labels
from autopeft.training.tasks.classification import Classification, labelled, length
from autopeft.training.tasks.labels import classes_of, ids_of, numbers_of
from autopeft.training.tasks.task import Measures, checked_column, named_labels
from autopeft.training.tasks.texts import text_remarks

_SHOWN = 5
_MARKS = (
    "if they are marks of 0 and 1, list the labels that a row has, or give each label a column of "
    "its own and name all of them in data.columns.label"
)


class MultiLabel(Classification):
    """See `Task`."""

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return {**named_labels(labels), "problem_type": "multi_label_classification"}

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        if isinstance(columns.get("label"), list):
            names = [str(name) for name in columns["label"]]
            joined = {key: _joined(split, key, names) for key, split in splits.items()}
            columns = {**columns, "label": _JOINED}
            found = {key: labelled(split, key, columns) for key, split in joined.items()}
            return found, tuple(names)
        found = {name: labelled(split, name, columns) for name, split in splits.items()}
        for name, split in found.items():
            _refuse_unlisted(split, name)
        labels = _labels(found["train"])
        return {name: _marked(split, name, labels) for name, split in found.items()}, labels

    def remarks(
        self, split: Dataset, processor: Any, data: Mapping[str, Any], labels: Sequence[str]
    ) -> list[str]:
        shares = np.asarray(split["label"]).mean(0)
        order = np.argsort(-shares, kind="stable")
        shown = ", ".join(f"{labels[i]} {shares[i]:.1%}" for i in order[:_SHOWN])
        rest = f", {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
        never = [labels[i] for i in order if shares[i] == 0]
        told = [f"rows with a label: {shown}{rest}"]
        if never:
            told.append(f"no row has the labels {', '.join(never[:_SHOWN])}")
        return [*told, *text_remarks(split, processor, length(data))]

    def measure(
        self, model: Any, loader: Any, device: torch.device, asked: Collection[str]
    ) -> Measures:
        return multi_label_metrics(*over_ranks(predicted_labels, model, loader, device))


_JOINED = "labels of the row"


def _joined(split: Dataset, name: str, columns: list[str]) -> Dataset:
    """The split with the columns of 0 and 1 as one of lists."""
    values = [list(split[checked_column(split, name, "label", column)]) for column in columns]
    for column, marks in zip(columns, values, strict=True):
        other = next((mark for mark in marks if mark not in (0, 1)), None)
        if other is not None or None in marks:
            raise AutopeftError(
                f"data.{name} needs 0 or 1 in every row of {column!r}, got {other!r}"
            )
    rows = np.asarray(values, dtype=np.float32).T
    return _with_marks(split, _JOINED, rows)


def _refuse_unlisted(split: Dataset, name: str) -> None:
    rule, where = "problem_type multi_label_classification needs", f"data.{name}"
    for i, row in enumerate(split["label"]):
        if not isinstance(row, list):
            raise AutopeftError(
                f"{rule} a list of labels in every row, or a list of columns in "
                f"data.columns.label, got {row!r} in {where}"
            )
        if None in row:
            raise AutopeftError(f"{rule} labels in its lists, row {i} of {where} has None: drop it")
        ids = [label for label in row if isinstance(label, int)]
        if len(set(ids)) < len(ids):
            twice = next(label for label in ids if ids.count(label) > 1)
            raise AutopeftError(
                f"{rule} each label once in a row, row {i} of {where} has {twice!r} more than "
                f"once: {_MARKS}"
            )


def _labels(train: Dataset) -> tuple[str, ...]:
    feature = train.features["label"]
    if isinstance(getattr(feature, "feature", None), ClassLabel):
        return tuple(feature.feature.names)
    return classes_of((label for row in train["label"] for label in row), "label", {float: _MARKS})


def _marked(split: Dataset, name: str, labels: tuple[str, ...]) -> Dataset:
    rows = np.zeros((len(split), len(labels)), dtype=np.float32)
    ids = {label: i for i, label in enumerate(labels)}
    named = getattr(split.features["label"], "feature", None)
    for i, row in enumerate(split["label"]):
        own = isinstance(named, ClassLabel)
        rows[i, ids_of(row, named, labels, name) if own else numbers_of(row, ids, name)] = 1
    return _with_marks(split.remove_columns("label"), "label", rows)


def _with_marks(split: Dataset, column: str, rows: Any) -> Dataset:
    return split.add_column(column, rows.tolist()).cast_column(column, List(Value("float32")))
