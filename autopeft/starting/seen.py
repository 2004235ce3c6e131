"""What was seen of a model and of data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from autopeft.domain.model import ModelShape

Holds = Literal[
    "text", "truth", "whole", "number", "class", "texts", "numbers", "messages", "image", "other"
]
Family = Literal["encoder", "decoder", "encoder-decoder", "vision"]


class Ask(Protocol):
    """Someone who may know what cannot be seen."""

    def __call__(self, what: str, options: Sequence[str], flag: str) -> str:
        """The answer.

        what: as in "which column holds the text". options: the answers there are; () for any.
        flag: of the command line, that says it without asking.

        Raises:
            AutopeftError: there is nobody to ask.
        """


@dataclass(frozen=True)
class Column:
    """A column of the data, by a sample of its rows.

    holds: `texts` and `numbers` are lists of them. distinct: values in the sample, 0 for lists.
    """

    name: str
    holds: Holds
    distinct: int = 0


@dataclass(frozen=True)
class SeenData:
    """Data that were read.

    sources: split -> what a space file says under `data:`. rows: of the training split.
    columns: of it. sampled: so many of its rows were looked at.
    """

    sources: Mapping[str, Mapping[str, Any]]
    rows: int
    columns: tuple[Column, ...]
    sampled: int

    def named(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class SeenModel:
    """A model, by its config.

    name: as the space file says it. most: positions that it reads; None: not known.
    """

    name: str
    family: Family
    model_type: str
    most: int | None
    shape: ModelShape | None = None
