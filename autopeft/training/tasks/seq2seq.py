"""SEQ_2_SEQ_LM: a text from a text, by an encoder and a decoder (T5, BART).

Rows have `text` and `target`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from autopeft.domain.tasks import KINDS
from autopeft.training.ranks import over_ranks
from autopeft.training.scoring.scores import target_losses, target_metrics
from autopeft.training.tasks.task import Measures, Task, only_texts
from autopeft.training.tasks.texts import (
    cut_remark,
    empty_remark,
    first_rows,
    refuse_empty,
    text_remarks,
)

_KIND = KINDS["SEQ_2_SEQ_LM"]


class SequenceToSequence(Task):
    """See `Task`."""

    def auto_class(self) -> Any:
        return AutoModelForSeq2SeqLM

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return {}

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        kept = {key: columns.get(key, key) for key in _KIND.columns}
        found = {name: only_texts(split, name, kept, kept) for name, split in splits.items()}
        return found, ()

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Any:
        most, most_of_target = lengths(data)

        def encode(batch: dict[str, list[Any]]) -> Any:
            encoded = processor(batch["text"], truncation=True, max_length=most)
            targets = processor(
                text_target=batch["target"], truncation=True, max_length=most_of_target
            )
            refuse_empty(encoded["input_ids"])
            refuse_empty(targets["input_ids"])
            encoded["labels"] = targets["input_ids"]
            return encoded

        return split.map(encode, batched=True, remove_columns=split.column_names)

    def remarks(
        self, split: Dataset, processor: Any, data: Mapping[str, Any], labels: Sequence[str]
    ) -> list[str]:
        most, most_of_target = lengths(data)
        targets = first_rows(split)[:]["target"]
        cut = cut_remark(
            processor, (targets,), most_of_target, len(split), field="max_target_length"
        )
        told = [*empty_remark(sum(not t.strip() for t in targets), len(targets), len(split)), *cut]
        return [*text_remarks(split, processor, most), *(f"targets: {one}" for one in told)]

    def trainer(self) -> tuple[Any, Any]:
        return Seq2SeqTrainer, Seq2SeqTrainingArguments

    def collator(self, model: Any, processor: Any) -> Any:
        return DataCollatorForSeq2Seq(processor, model=model)

    def measure(
        self, model: Any, loader: Any, device: torch.device, asked: Collection[str]
    ) -> Measures:
        return target_metrics(over_ranks(target_losses, model, loader, device))


def lengths(data: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of a text and of a target."""
    return (
        int(data.get("max_length", _KIND.max_length)),
        int(data.get("max_target_length", _KIND.max_target_length)),
    )
