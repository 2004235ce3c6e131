"""IMAGE_CLS: one label for an image (ViT).

Rows have `image`, as the Image feature of datasets decodes it, and `label`, an integer. Images are
resized and normalised by the model's own processor when a batch needs them; nothing is augmented.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset, Image
from torch.utils.data import Dataset as TorchDataset
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    Trainer,
    TrainingArguments,
)

from autopeft.domain.errors import AutopeftError
from autopeft.training.ranks import over_ranks
from autopeft.training.scoring.measure import classification_metrics, classify
from autopeft.training.tasks.labels import label_ids
from autopeft.training.tasks.task import Measures, Task, named_labels, only
from autopeft.training.tasks.texts import share_remark


class ImageClassification(Task):
    """See `Task`."""

    def auto_class(self) -> Any:
        return AutoModelForImageClassification

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return named_labels(labels)

    def processor(self, path: str, **source: Any) -> Any:
        # With torchvision there is another backend, whose resized pixels differ a little.
        return AutoImageProcessor.from_pretrained(path, **source, backend="pil")

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        kept = {key: columns.get(key, key) for key in ("image", "label")}
        found = {name: only(split, name, kept) for name, split in splits.items()}
        for name, split in found.items():
            if not isinstance(split.features["image"], Image):
                raise AutopeftError(
                    f"column {kept['image']!r} of data.{name} holds no images but "
                    f"{split.features['image']}: load them by `path: imagefolder, data_dir: ...`"
                )
        return label_ids(found)

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Any:
        return Images(split, processor)

    def remarks(
        self, split: Dataset, processor: Any, data: Mapping[str, Any], labels: Sequence[str]
    ) -> list[str]:
        return share_remark(split["label"], labels)

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


class Images(TorchDataset):  # type: ignore[misc]
    """Rows that are made into tensors when they are asked for: few splits fit into memory whole.

    Item: {"pixel_values": (channels, height, width), "labels": id}.
    """

    def __init__(self, split: Dataset, processor: Any) -> None:
        self._split = split
        self._processor = processor

    @property
    def column_names(self) -> list[str]:
        return ["pixel_values", "labels"]

    def select(self, rows: Iterable[int]) -> "Images":
        """Some of the rows."""
        return Images(self._split.select(rows), self._processor)

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._split[int(index)]
        found = self._processor(images=row["image"].convert("RGB"), return_tensors="pt")
        return {"pixel_values": found["pixel_values"][0], "labels": row["label"]}
