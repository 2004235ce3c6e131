"""SEQ_CLS with problem_type regression: a number for a text or a pair of texts.

Rows have `text`, where the file says so `text_pair`, and `label`, a number.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from autopeft.domain.errors import AutopeftError
from autopeft.training.ranks import over_ranks
from autopeft.training.scoring.scores import predicted_numbers, regression_metrics
from autopeft.training.tasks.classification import Classification, labelled, length
from autopeft.training.tasks.task import Measures
from autopeft.training.tasks.texts import text_remarks


class Regression(Classification):
    """See `Task`."""

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        return {name: _numbers(labelled(s, name, columns), name) for name, s in splits.items()}, ()

    def remarks(
        self, split: Dataset, processor: Any, data: Mapping[str, Any], labels: Sequence[str]
    ) -> list[str]:
        values = np.asarray(split["label"])
        told = (
            f"labels: {values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}; "
            f"always their mean has an eval_loss of {values.var():.4g}"
        )
        return [told, *text_remarks(split, processor, length(data))]

    def measure(
        self, model: Any, loader: Any, device: torch.device, asked: Collection[str]
    ) -> Measures:
        return regression_metrics(*over_ranks(predicted_numbers, model, loader, device))


def _numbers(split: Dataset, name: str) -> Dataset:
    values = split["label"]
    other = next((v for v in values if isinstance(v, bool) or not isinstance(v, int | float)), None)
    if other is not None:
        raise AutopeftError(
            f"problem_type regression needs numbers as labels, got {other!r} in data.{name}: "
            "remove problem_type, or name another column"
        )
    if not np.isfinite(values).all():
        raise AutopeftError(
            f"data.{name} needs a finite label in every row, got NaN or infinity: drop these rows"
        )
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, dtype=np.float32)
    if not np.isfinite(numbers).all():
        far = values[int(np.isinf(numbers).argmax())]
        raise AutopeftError(
            f"data.{name} needs labels that 32 bits hold, up to 3.4e38, got {far!r}: scale them"
        )
    if name == "train" and len(set(numbers)) < 2:
        raise AutopeftError(f"data.train needs two labels or more, got only {numbers[0]:.7g}")
    return split.remove_columns("label").add_column("label", numbers)
