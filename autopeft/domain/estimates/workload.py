"""What one optimiser step has to work through: rows, tokens, widths of numbers.

b: rows of a micro-batch; t: tokens of a row, padded to the longest of its batch; B: bytes of a
number in what the layers compute.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.space import Json

_UNKNOWN_LENGTH = 128  # tokens, where nobody said or counted
LANGUAGE_LENGTH = 1024
"""Tokens that a language model's row has at most where the recipe does not say: SFTConfig's own."""

_CHECKPOINTING = ("gradient_checkpointing", "activation_checkpointing")  # old name and new


@dataclass(frozen=True)
class Corpus:
    """The training rows, as far as their cost goes.

    rows: how many there are. lengths: tokens of a sample of them, truncated as in training.
    """

    rows: int = 1
    lengths: Sequence[int] = (_UNKNOWN_LENGTH,)

    def longest(self, count: int) -> float:
        """Tokens of the longest of so many random rows, expected.

        The k-th smallest of n values is the largest of `count` draws with probability
        (k / n)^count - ((k - 1) / n)^count.
        """
        if count not in self._longest:  # a search asks for a few counts thousands of times
            shares = (np.arange(len(self._ordered) + 1) / len(self._ordered)) ** count
            self._longest[count] = float(self._ordered @ np.diff(shares))
        return self._longest[count]

    @cached_property
    def mean(self) -> float:
        return float(np.mean(self.lengths))

    @cached_property
    def _ordered(self) -> NDArray[np.float64]:
        return np.sort(np.asarray(self.lengths, dtype=np.float64))

    @cached_property
    def _packed(self) -> dict[int, "Corpus"]:
        return {}

    @cached_property
    def _longest(self) -> dict[int, float]:
        return {}

    def as_trained(self, recipe: Mapping[str, Json]) -> "Corpus":
        """Its rows as a recipe puts them together: packs are full but for the last."""
        if not recipe.get("packing"):
            return self
        length = int(recipe.get("max_length") or LANGUAGE_LENGTH)
        if length not in self._packed:
            tokens = self.rows * float(np.mean(np.minimum(self.lengths, length)))
            packs = (min(length, math.ceil(tokens)),)
            self._packed[length] = Corpus(math.ceil(tokens / length), packs)
        return self._packed[length]


@dataclass(frozen=True)
class Setting:
    """What of machine, model and trainer decides on costs, the same for all configurations.

    cuda: masks take a byte and attention keeps no matrix; a CPU keeps both in full.
    bits: of the backbone's linear maps: 4 or 8 where bitsandbytes holds them, else None.
    tiled: a language model's loss is computed tile by tile (TRL's fused head).
    devices: that share a step's micro-batches.
    """

    cuda: bool = False
    bits: int | None = None
    tiled: bool = False
    devices: int = 1

    @classmethod
    def of(
        cls, model: Mapping[str, Any], trainer: str, *, cuda: bool, processes: int = 1
    ) -> "Setting":
        """model, trainer: as in the space file. processes: on a CPU they share its cores."""
        config = model.get("quantization_config") or {}
        bits = next((bits for bits in (4, 8) if config.get(f"load_in_{bits}bit")), None)
        return cls(cuda, bits, tiled=trainer.startswith("trl."), devices=processes if cuda else 1)


@dataclass(frozen=True)
class Workload:
    """One micro-batch of a recipe, and how many there are.

    rows: b. tokens: t of a usual micro-batch; longest: of the run's largest. kept: B.
    accumulation: micro-batches of a step. steps: of the whole run.
    checkpointing: layers are computed again in the backward pass.
    """

    rows: int
    tokens: float
    longest: float
    kept: int
    accumulation: int
    steps: float
    checkpointing: bool
    optimizer: str

    @classmethod
    def of(
        cls, recipe: Mapping[str, Json], corpus: Corpus, *, width: int, cuda: bool
    ) -> "Workload":
        """corpus: the rows as they are trained. width: bytes of the backbone's dtype."""
        rows = int(recipe.get("per_device_train_batch_size", 8))
        accumulation = int(recipe.get("gradient_accumulation_steps", 1))
        steps = float(recipe.get("max_steps", -1))
        if steps <= 0:
            epochs = float(recipe.get("num_train_epochs", 3.0))
            steps = max(1.0, epochs * corpus.rows / (rows * accumulation))
        halved = cuda and (recipe.get("bf16") or recipe.get("fp16"))
        seen = min(int(rows * accumulation * steps), corpus.rows)
        longest = corpus.longest(max(rows, seen))
        return cls(
            rows=rows,
            tokens=corpus.longest(rows),
            longest=longest,
            kept=2 if halved else width,
            accumulation=accumulation,
            steps=steps,
            checkpointing=any(recipe.get(name) for name in _CHECKPOINTING),
            optimizer=str(recipe.get("optim", "adamw_torch")),
        )

    def at_peak(self) -> "Workload":
        """Its largest micro-batch."""
        return replace(self, tokens=self.longest)

    @property
    def positions(self) -> float:
        """Tokens of a micro-batch, padding included: b t."""
        return self.rows * self.tokens
