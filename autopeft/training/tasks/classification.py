"""SEQ_CLS: one label for a text or a pair of texts.

Rows have `text`, where the file says so `text_pair`, and `label`, an integer.
"""

from collections.abc import Mapping
from typing import Any

import torch
from datasets import ClassLabel, Dataset
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS
from autopeft.training.measure import classification_metrics, classify
from autopeft.training.tasks.task import Measures, checked_column, renamed, tokenizer

_MAX_LENGTH = KINDS["SEQ_CLS"].max_length


class Classification:
    """See `Task`."""

    def auto_class(self) -> Any:
        return AutoModelForSequenceClassification

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
        }

    def processor(self, path: str, *, trust_remote_code: bool) -> Any:
        return tokenizer(path, trust_remote_code=trust_remote_code)

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, str]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        found = {name: _columns(split, name, columns) for name, split in splits.items()}
        labels = _labels(found["train"])
        return {name: _numbered(split, name, labels) for name, split in found.items()}, labels

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Dataset:
        return tokenize(split, processor, int(data.get("max_length", _MAX_LENGTH)))

    def trainer(self) -> tuple[Any, Any]:
        return Trainer, TrainingArguments

    def measure(self, model: Any, loader: Any, device: torch.device) -> Measures:
        return classification_metrics(*classify(model, loader, device))


def tokenize(split: Dataset, tokenizer: Any, max_length: int) -> Dataset:
    """Rows as the model's inputs, truncated, not padded; labels as `labels`."""
    pairs = "text_pair" in split.column_names

    def encode(batch: dict[str, list[Any]]) -> Any:
        texts = (batch["text"], batch["text_pair"]) if pairs else (batch["text"],)
        encoded = tokenizer(*texts, truncation=True, max_length=max_length)
        encoded["labels"] = batch["label"]
        return encoded

    return split.map(encode, batched=True, remove_columns=split.column_names)


def _columns(split: Dataset, name: str, columns: Mapping[str, str]) -> Dataset:
    kept = {"text": columns.get("text", "text"), "label": columns.get("label", "label")}
    if "text_pair" in columns:
        kept["text_pair"] = columns["text_pair"]
    for key, column in kept.items():
        checked_column(split, name, key, column)
        missing = sum(value is None for value in split[column])
        if missing:
            raise AutopeftError(
                f"data.{name} needs a value in every row of {column!r}, "
                f"got {missing} rows without: drop them"
            )
    return renamed(split.select_columns(list(kept.values())), kept)


def _labels(train: Dataset) -> tuple[str, ...]:
    feature = train.features["label"]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names)
    values = set(train["label"])
    if any(isinstance(value, float) for value in values):
        raise AutopeftError(
            "data.columns.label takes strings or integers, got fractions: "
            "regression is not supported"
        )
    if len(values) < 2:
        raise AutopeftError(f"data.train needs two labels or more, got only {sorted(values)!r}")
    return tuple(str(value) for value in sorted(values))


def _numbered(split: Dataset, name: str, labels: tuple[str, ...]) -> Dataset:
    if isinstance(split.features["label"], ClassLabel):
        return split
    ids = {label: i for i, label in enumerate(labels)}
    unseen = sorted({str(value) for value in split["label"]} - set(ids))
    if unseen:
        raise AutopeftError(
            f"data.{name} has labels that data.train does not: {', '.join(unseen[:5])}"
        )
    numbers = [ids[str(value)] for value in split["label"]]
    return split.remove_columns("label").add_column("label", numbers)
