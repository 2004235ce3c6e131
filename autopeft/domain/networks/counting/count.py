"""What a formula is given and what it gives: a placed module, and two figures."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autopeft.domain.architecture import Module
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.space import Json


@dataclass(frozen=True)
class Tensors:
    """Some numbers of one width: how many, and the bytes of each."""

    numbers: int
    width: int


@dataclass(frozen=True)
class Count:
    """The size of one module.

    trained: parameters with gradients.
    stored: the tensors of the saved adapter, indices and frozen matrices included.
    """

    trained: int
    stored: tuple[Tensors, ...]


@dataclass(frozen=True)
class Placed:
    """A module with what it wraps on this model."""

    module: Module
    targets: tuple[TargetModule, ...]
    shape: ModelShape

    @classmethod
    def on(cls, shape: ModelShape, module: Module) -> "Placed":
        return cls(module, tuple(shape.named(module.targets)), shape)

    def field(self, name: str) -> Any:
        """A field of the module, else PEFT's default."""
        return self._fields[name]

    @cached_property
    def widths(self) -> Mapping[tuple[int, int], int]:
        """(inputs, outputs) -> how many of the targets have them."""
        return Counter((target.inputs, target.outputs) for target in self.targets)

    @cached_property
    def _fields(self) -> Mapping[str, Any]:
        return {**PEFT_DEFAULTS[self.module.peft_type], **self.module.fields}

    def rank(self, target: TargetModule) -> int:
        """The rank at one target: what `rank_pattern` says of it, else `r`."""
        if (by_name := self.module.sizes.get(target.name)) is not None:
            return by_name
        found = matching(self.module.fields.get("rank_pattern"), target.name)
        return int(self.field("r") if found is None else found)

    def sum(self, formula: Callable[[TargetModule], int]) -> int:
        return sum(formula(target) for target in self.targets)

    @property
    def width(self) -> int:
        """Values of one token's embedding, which is what the layers write.

        Raises:
            ValueError: no layer shows it, and the file does not say it.
        """
        if "token_dim" in self.module.fields:
            return int(self.module.fields["token_dim"])
        for target in self.shape.modules:
            if target.feedforward:
                return target.outputs
        raise ValueError(
            f"{self.module.peft_type} needs the width of the embeddings, which this "
            f"{self.shape.model_type} model's layers do not show: give it token_dim"
        )

    def count(
        self, trained: int, *, kept: int | None = None, beside: Iterable[Tensors] = ()
    ) -> Count:
        """A count whose adapter tensors have the adapter's width.

        kept: how many of these are stored, if not as many as are trained.
        beside: what is stored in another width.
        """
        numbers = trained if kept is None else kept
        return Count(trained, (Tensors(numbers, self.shape.bytes_per_parameter), *beside))


Formula = Callable[[Placed], Count]


def each(formula: Callable[[Placed, TargetModule], int]) -> Formula:
    """The formula of a method that stores, at every target, just what it trains there."""
    return lambda placed: placed.count(placed.sum(lambda target: formula(placed, target)))


def matching(pattern: Mapping[str, Json] | None, name: str, *, inside: bool = False) -> Json:
    """The value of the first key of a `..._pattern` field that matches the end of a module's name.

    inside: the key does not match a whole name; two of PEFT's tuners ask for a dot before it.
    """
    if not pattern:
        return None
    before = r".*\." if inside else r"(.*\.)?"
    for key, value in pattern.items():
        if re.match(rf"{before}({key})$", name):
            return value
    return None
