"""TOKEN_CLS: a label for every word of a text, as in named entity recognition.

Rows have `tokens`, the words, and `tags`, an id for each. The first piece of a word carries its
label; further pieces and special tokens carry none.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from datasets import ClassLabel, Dataset
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS
from autopeft.training.ranks import over_ranks
from autopeft.training.scoring.batches import UNLABELLED
from autopeft.training.scoring.scores import tag_metrics, tagged
from autopeft.training.tasks.labels import classes_of, ids_of, numbers_of
from autopeft.training.tasks.task import Measures, Task, named_labels, only
from autopeft.training.tasks.texts import (
    cut_remark,
    empty_remark,
    first_rows,
    refuse_empty,
    share_remark,
)

_MAX_LENGTH = KINDS["TOKEN_CLS"].max_length
_SPACED = ("bloom", "deberta", "gpt2", "longformer", "roberta")
"""Model types whose words start with a space, and whose tokenizers have to be told."""


class TokenClassification(Task):
    """See `Task`."""

    def auto_class(self) -> Any:
        return AutoModelForTokenClassification

    def head_arguments(self, labels: tuple[str, ...]) -> dict[str, Any]:
        return named_labels(labels)

    def processor(self, path: str, **source: Any) -> Any:
        found = super().processor(path, **source)
        if not found.is_fast:
            raise AutopeftError(
                f"TOKEN_CLS needs a tokenizer that knows which word a token is of, a fast one, got "
                f"{type(found).__name__}: take a model that has one"
            )
        return found

    def processor_options(self, path: str, **source: Any) -> dict[str, Any]:
        config = AutoConfig.from_pretrained(path, **source)
        return {"add_prefix_space": True} if config.model_type in _SPACED else {}

    def rows(
        self, splits: Mapping[str, Dataset], columns: Mapping[str, Any]
    ) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        kept = {key: columns.get(key, key) for key in ("tokens", "tags")}
        found = {name: only(split, name, kept) for name, split in splits.items()}
        for name, split in found.items():
            _refuse_unsound(split, name)
        labels = _labels(found["train"])
        return {name: _numbered(split, name, labels) for name, split in found.items()}, labels

    def inputs(self, split: Dataset, processor: Any, data: Mapping[str, Any]) -> Any:
        return _tokenized(split, processor, _length(data))

    def remarks(
        self, split: Dataset, processor: Any, data: Mapping[str, Any], labels: Sequence[str]
    ) -> list[str]:
        words = first_rows(split)[:]["tokens"]
        return [
            *share_remark((tag for row in split["tags"] for tag in row), labels),
            *empty_remark(sum(not row for row in words), len(words), len(split)),
            *cut_remark(processor, (words,), _length(data), len(split), is_split_into_words=True),
        ]

    def trainer(self) -> tuple[Any, Any]:
        return Trainer, TrainingArguments

    def collator(self, model: Any, processor: Any) -> Any:
        return DataCollatorForTokenClassification(processor)

    def measure(
        self, model: Any, loader: Any, device: torch.device, asked: Collection[str]
    ) -> Measures:
        return tag_metrics(over_ranks(tagged, model, loader, device), model.config.id2label)


def _length(data: Mapping[str, Any]) -> int:
    return int(data.get("max_length", _MAX_LENGTH))


def _tokenized(split: Dataset, tokenizer: Any, max_length: int) -> Dataset:
    def encode(batch: dict[str, list[Any]]) -> Any:
        encoded = tokenizer(
            batch["tokens"], is_split_into_words=True, truncation=True, max_length=max_length
        )
        refuse_empty(encoded["input_ids"])
        encoded["labels"] = [
            _aligned(encoded.word_ids(i), tags) for i, tags in enumerate(batch["tags"])
        ]
        return encoded

    return split.map(encode, batched=True, remove_columns=split.column_names)


def _aligned(words: Sequence[int | None], tags: Sequence[int]) -> list[int]:
    """A label for every token: that of its word for the first piece.

    words: (tokens,) index of the word that a token is of; None: a special token.
    """
    found, before = [], None
    for word in words:
        new = word is not None and word != before
        found.append(tags[word] if word is not None and new else UNLABELLED)
        before = word
    return found


def _refuse_unsound(split: Dataset, name: str) -> None:
    for i, (tokens, tags) in enumerate(zip(split["tokens"], split["tags"], strict=True)):
        if not isinstance(tokens, list) or not isinstance(tags, list):
            kind = "tags" if isinstance(tokens, list) else "tokens"
            raise AutopeftError(
                f"TOKEN_CLS needs a list of words and a list of tags in every row, data.{name} has "
                f"no list in column {kind}"
            )
        if len(tokens) != len(tags):
            raise AutopeftError(
                f"TOKEN_CLS needs a tag for every word, row {i} of data.{name} has {len(tokens)} "
                f"words and {len(tags)} tags"
            )
        others = [word for word in tokens if not isinstance(word, str)]
        if others:
            raise AutopeftError(
                f"TOKEN_CLS needs words that are text, row {i} of data.{name} has {others[0]!r}: "
                "write it as text, or drop the row"
            )
        if None in tags:
            raise AutopeftError(
                f"TOKEN_CLS needs a tag for every word, row {i} of data.{name} has None: "
                "write O for it, or drop the row"
            )


def _labels(train: Dataset) -> tuple[str, ...]:
    feature = train.features["tags"]
    tags = classes_of((tag for row in train["tags"] for tag in row), "tags")
    named = getattr(feature, "feature", None)
    return tuple(named.names) if isinstance(named, ClassLabel) else tags


def _numbered(split: Dataset, name: str, labels: tuple[str, ...]) -> Dataset:
    tags, named = split["tags"], getattr(split.features["tags"], "feature", None)
    if isinstance(named, ClassLabel):
        numbers = [ids_of(row, named, labels, name) for row in tags]
        if numbers == list(tags):
            return split
    else:
        ids = {label: i for i, label in enumerate(labels)}
        numbers = [numbers_of(row, ids, name) for row in tags]
    return split.remove_columns("tags").add_column("tags", numbers)
