"""SEQ_CLS: one label for a text or a pair of texts.

Rows have `text`, where the file says so `text_pair`, and `label`, an integer.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from autopeft.domain.tasks import KINDS
from autopeft.training.ranks import over_ranks
from autopeft.training.scoring.measure import classification_metrics, classify
from autopeft.training.tasks.labels import Hints, label_ids
from autopeft.training.tasks.task import Measures, Task, named_labels, only_texts
from autopeft.training.tasks.texts import share_remark, text_remarks, tokenize

_MAX_LENGTH = KINDS["SEQ_CLS"].max_length
_HINTS: Hints = {
    float: "to predict numbers write problem_type: regression under model",
    list: "for several a row write problem_type: multi_label_classification under model",
}


class Classification(Task):
    """See `Task`."""

    def auto_class(self) -> Any:
        return AutoModelForSequenceClassification

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return named_labels(labels)

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        found = {name: labelled(split, name, columns) for name, split in splits.items()}
        return label_ids(found, _HINTS)

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Any:
        return tokenize(split, processor, length(data))

    def remarks(
        self, split: Dataset, processor: Any, data: Mapping[str, Any], labels: Sequence[str]
    ) -> list[str]:
        shares = share_remark(split["label"], labels)
        return [*shares, *text_remarks(split, processor, length(data))]

    def trainer(self) -> tuple[Any, Any]:
        return Trainer, TrainingArguments

    def measure(
        self, model: Any, loader: Any, device: torch.device, asked: Collection[str]
    ) -> Measures:
        losses, labels, predictions, confidences = over_ranks(classify, model, loader, device)
        return classification_metrics(
            losses,
            labels,
            predictions,
            confidences,
            asked,
            classes=model.config.num_labels,
        )


def length(data: Mapping[str, Any]) -> int:
    """Tokens of a row."""
    return int(data.get("max_length", _MAX_LENGTH))


def labelled(split: Dataset, name: str, columns: Mapping[str, Any]) -> Dataset:
    """The columns of texts with something to predict."""
    kept = {"text": columns.get("text", "text"), "label": columns.get("label", "label")}
    if "text_pair" in columns:
        kept["text_pair"] = columns["text_pair"]
    return only_texts(split, name, kept, [key for key in kept if key != "label"])
