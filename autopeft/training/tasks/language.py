"""CAUSAL_LM: language models, trained by TRL on rows in the shapes that it reads.

Rows keep `messages`, or `prompt` and `completion`, or `text`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS
from autopeft.training.measure import language_losses, language_metrics
from autopeft.training.tasks.task import Measures, Task, checked_column, renamed

_COLUMNS = KINDS["CAUSAL_LM"].columns


class Language(Task):
    """See `Task`."""

    def auto_class(self) -> Any:
        return AutoModelForCausalLM

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return {}

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        return {name: _columns(split, name, columns) for name, split in splits.items()}, ()

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Any:
        return split  # TRL tokenizes

    def trainer(self) -> tuple[Any, Any]:
        from trl import SFTConfig, SFTTrainer

        return SFTTrainer, SFTConfig

    def measure(self, model: Any, loader: Any, device: torch.device) -> Measures:
        return language_metrics(language_losses(model, loader, device))


def _columns(split: Dataset, name: str, columns: Mapping[str, str]) -> Dataset:
    for key, column in columns.items():
        checked_column(split, name, key, column)
    split = renamed(split, columns)
    kept = [column for column in _COLUMNS if column in split.column_names]
    if not kept:
        raise AutopeftError(
            f"data.{name} needs one of the columns {', '.join(_COLUMNS)}, "
            f"got {', '.join(split.column_names)}: name them under data.columns"
        )
    return split.select_columns(kept)
