"""Labels of rows as ids, and their names by id."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datasets import ClassLabel, Dataset

from autopeft.domain.errors import AutopeftError

Hints = Mapping[type, str]
"""What to do about labels of a type that makes no classes."""

_NO_HINTS: Hints = {}


def label_ids(
    splits: dict[str, Dataset], hints: Hints = _NO_HINTS
) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """The splits with `label` as an id, and the labels by id: in train's order, or sorted.

    Raises:
        AutopeftError: labels of which no classes can be made, or that train does not have.
    """
    labels = _labels(splits["train"], hints)
    return {name: _numbered(split, name, labels) for name, split in splits.items()}, labels


def _labels(train: Dataset, hints: Hints) -> tuple[str, ...]:
    feature = train.features["label"]
    if not isinstance(feature, ClassLabel):
        return classes_of(train["label"], "label", hints)
    ids = set(train["label"])
    if len(ids) < 2:
        raise AutopeftError(_too_few([feature.int2str(v) for v in ids if v >= 0]))
    return tuple(feature.names)


def classes_of(values: Iterable[Any], key: str, hints: Hints = _NO_HINTS) -> tuple[str, ...]:
    """The distinct labels in their order: strings, whole numbers, or true and false.

    key: what `data.columns` calls them.

    Raises:
        AutopeftError: fewer than two, several of these types, or another.
    """
    found: set[Any] = set()
    for value in values:
        if not isinstance(value, str | int):
            hint = hints.get(type(value), "write words in their place, or name another column")
            raise AutopeftError(
                f"data.columns.{key} takes strings or whole numbers, got {value!r}: {hint}"
            )
        found.add(value)
    examples = {type(value): value for value in sorted(found, key=repr)}
    if len(examples) > 1:
        shown = " beside ".join(repr(value) for value in list(examples.values())[:2])
        raise AutopeftError(
            f"data.columns.{key} takes labels of one type, got {shown}: write all of them as text"
        )
    if len(found) < 2:
        raise AutopeftError(_too_few(sorted(found)))
    return tuple(str(value) for value in sorted(found))


def numbers_of(values: Sequence[Any], ids: dict[str, int], name: str) -> list[int]:
    """Their ids.

    Raises:
        AutopeftError: a value that train does not have.
    """
    unseen = sorted({str(value) for value in values} - set(ids))
    if unseen:
        raise AutopeftError(
            f"data.{name} has labels that data.train does not: {', '.join(unseen[:5])}"
        )
    return [ids[str(value)] for value in values]


def ids_of(ids: Sequence[int], named: ClassLabel, labels: Sequence[str], name: str) -> list[int]:
    """A split's own ids as those of train: by their names, for another split may count others.

    Raises:
        AutopeftError: an id below 0, or a label that train does not have.
    """
    refuse_unlabelled(ids, name)
    if list(named.names) == list(labels):
        return list(ids)
    known = {label: i for i, label in enumerate(labels)}
    return numbers_of([named.names[each] for each in ids], known, name)


def refuse_unlabelled(values: Sequence[int], name: str) -> None:
    """Nothing, if every id is one; public test splits hide theirs as -1.

    Raises:
        AutopeftError: an id below 0.
    """
    hidden = sum(value < 0 for value in values)
    if hidden:
        raise AutopeftError(
            f"data.{name} has {hidden} rows whose label is -1, which hides it: take another split, "
            f"or carve one ({name}: {{carve: 0.1, from: train}})"
        )


def _numbered(split: Dataset, name: str, labels: tuple[str, ...]) -> Dataset:
    feature = split.features["label"]
    if isinstance(feature, ClassLabel):
        numbers = ids_of(split["label"], feature, labels, name)
        if numbers == list(split["label"]):
            return split
    else:
        ids = {label: i for i, label in enumerate(labels)}
        numbers = numbers_of(split["label"], ids, name)
    return split.remove_columns("label").add_column("label", numbers)


def _too_few(got: Sequence[Any]) -> str:
    return f"data.train needs two labels or more, got only {list(got)!r}"
