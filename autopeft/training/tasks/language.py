"""CAUSAL_LM: language models, trained by TRL on rows in the shapes that it reads.

Rows keep `messages`, or `prompt` and `completion`, or `text`. `prompt`, `choices` and `answer` get
the right choice as `completion`; `tools` and `chat_template_kwargs` go to the chat template.
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS
from autopeft.training.ranks import over_ranks
from autopeft.training.scoring.choosing import answer_index, completion
from autopeft.training.scoring.measure import language_losses, language_metrics
from autopeft.training.tasks.task import Measures, Task, checked_column, renamed

_COLUMNS = KINDS["CAUSAL_LM"].columns
_SHAPES = ("messages", "prompt", "completion", "text")


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
        return trained_columns(split)  # TRL tokenizes

    def trainer(self) -> tuple[Any, Any]:
        from trl import SFTConfig, SFTTrainer

        return SFTTrainer, SFTConfig

    def measure(
        self, model: Any, loader: Any, device: torch.device, asked: Collection[str]
    ) -> Measures:
        return language_metrics(over_ranks(language_losses, model, loader, device))


def _columns(split: Dataset, name: str, columns: Mapping[str, str]) -> Dataset:
    for key, column in columns.items():
        checked_column(split, name, key, column)
    split = renamed(split, columns)
    shapes = [column for column in _SHAPES if column in split.column_names]
    if not shapes:
        raise AutopeftError(
            f"data.{name} needs one of the columns {', '.join(_SHAPES)}, "
            f"got {', '.join(split.column_names)}: name them under data.columns"
        )
    if "prompt" in shapes and not {"completion", "choices"} & set(split.column_names):
        raise AutopeftError(
            f"data.{name} needs completion or choices beside prompt, "
            f"got {', '.join(split.column_names)}: name them under data.columns"
        )
    split = split.select_columns([c for c in _COLUMNS if c in split.column_names])
    return _answered(split, name) if "choices" in split.column_names else split


def trained_columns(split: Dataset) -> Dataset:
    """The columns that TRL reads."""
    return split.remove_columns([c for c in ("choices", "answer") if c in split.column_names])


def _answered(split: Dataset, name: str) -> Dataset:
    """Rows with the right choice's index as `answer` and its text as `completion`."""
    rows = list(split)
    answers = [answer_index(row, f"data.{name}") for row in rows]
    texts = [
        completion(row["prompt"], row["choices"][answer])
        for row, answer in zip(rows, answers, strict=True)
    ]
    ours = [c for c in ("answer", "completion") if c in split.column_names]
    split = split.remove_columns(ours)
    return split.add_column("answer", answers).add_column("completion", texts)
