"""Texts as the inputs of a model, and what is worth knowing of them before training."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datasets import Dataset

from autopeft.domain.errors import AutopeftError

_LOOKED_AT = 2000  # rows of a split whose tokens are counted: a second or two
_NAMED = 5


def tokenize(split: Dataset, tokenizer: Any, max_length: int) -> Dataset:
    """Rows as the model's inputs, truncated, not padded; `label` as `labels`.

    Raises:
        AutopeftError: a row without any token, which no model reads.
    """

    def encode(batch: dict[str, list[Any]]) -> Any:
        encoded = tokenizer(*_texts(batch), truncation=True, max_length=max_length)
        refuse_empty(encoded["input_ids"])
        encoded["labels"] = batch["label"]
        return encoded

    return split.map(encode, batched=True, remove_columns=split.column_names)


def refuse_empty(rows: Iterable[Sequence[int]]) -> None:
    """Nothing, if every row has a token.

    Raises:
        AutopeftError: one has none: its text is empty, and the tokenizer adds no token of its own.
    """
    empty = sum(not row for row in rows)
    if empty:
        raise AutopeftError(
            f"a text needs a token, got {empty} rows that are empty or blank: drop them"
        )


def first_rows(split: Dataset) -> Dataset:
    """Those that remarks look at."""
    return split.select(range(min(_LOOKED_AT, len(split))))


def text_remarks(split: Dataset, tokenizer: Any, max_length: int) -> list[str]:
    """Empty texts, and rows that are cut."""
    first = first_rows(split)
    batch = first[:]
    empty = sum(not any(text.strip() for text in row) for row in zip(*_texts(batch), strict=True))
    return [
        *empty_remark(empty, len(first), len(split)),
        *cut_remark(tokenizer, _texts(batch), max_length, len(split)),
    ]


def empty_remark(empty: int, looked_at: int, rows: int) -> list[str]:
    """Of rows whose text is empty or blank: they are kept."""
    if not empty:
        return []
    return [f"{empty} {_of(looked_at, rows)} have no text; they are kept"]


def cut_remark(
    tokenizer: Any,
    texts: Sequence[Sequence[Any]],
    max_length: int,
    rows: int,
    *,
    field: str = "max_length",
    **options: Any,
) -> list[str]:
    """Of rows that are longer than a model reads here.

    texts: a column for each argument of the tokenizer. rows: of the whole split.

    Raises:
        AutopeftError: a row without any token.
    """
    encoded = tokenizer(*texts, verbose=False, **options)["input_ids"]
    refuse_empty(encoded)
    lengths = [len(row) for row in encoded]
    cut = sum(length > max_length for length in lengths)
    if not cut:
        return []
    return [
        f"{cut} {_of(len(lengths), rows)} are cut to {field} {max_length} tokens "
        f"(the longest has {max(lengths)})"
    ]


def _of(looked_at: int, rows: int) -> str:
    return f"of {rows:,} rows" if looked_at == rows else f"of the first {looked_at:,} rows"


def share_remark(values: Iterable[int], labels: Sequence[str]) -> list[str]:
    """How often each label is there, and what always saying the most frequent one scores."""
    counts = Counter(values)
    total = sum(counts.values())
    shown = [f"{labels[label]} {count / total:.1%}" for label, count in counts.most_common(_NAMED)]
    rest = len(labels) - len(shown)
    more = f", {rest} more" if rest > 0 else ""
    ((first, most),) = counts.most_common(1)
    always = f"always saying {labels[first]} is right in {most / total:.1%}"
    return [f"labels: {', '.join(shown)}{more}; {always}"]


def _texts(batch: Mapping[str, list[Any]]) -> tuple[list[Any], ...]:
    return (batch["text"], batch["text_pair"]) if "text_pair" in batch else (batch["text"],)
