"""A result as someone else wrote it down."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.objective import METRICS, Goal, Objective

_SIZES = ("parameters", "bytes")
_COUNTED = ("adapter_params", "trainable_params", "adapter_bytes")


@dataclass(frozen=True)
class Found:
    """One result.

    name: what it is called where it comes from, or its row.
    fields: PEFT's fields with `peft_type`; None: full fine-tuning.
    recipe: training arguments, and every parameter that is neither this nor a field of PEFT's.
    known: metrics that are exact of the configuration; metrics, stderr: what was measured.
    """

    name: str
    fields: Mapping[str, Any] | None
    recipe: Mapping[str, Any]
    metrics: Mapping[str, float]
    known: Mapping[str, float] = field(default_factory=dict)
    stderr: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    step: int = 0


def in_bounds(metric: str, value: float, column: str) -> float:
    """The value, where the metric can have it.

    Raises:
        AutopeftError: it cannot; of a share it may be given in per cent.
    """
    known = METRICS.get(metric)
    if known is None or known.low <= value <= known.high:
        return value
    bounds = f"{known.low:g} or more"
    if math.isfinite(known.high):
        bounds = f"{metric} from {known.low:g} to {known.high:g}"
    hint = ": divide per cent by 100" if value > known.high == 1 else ""
    raise AutopeftError(f"{column} takes {bounds}, got {value:g}{hint}")


_WANTED = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:=(?P<column>[^:]+))?(?::(?P<goal>\w+))?")


@dataclass(frozen=True)
class Wanted:
    """A metric to take over: its name here, the column that it is in, and its direction."""

    name: str
    column: str
    goal: Goal

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Read `accuracy`, `accuracy=test_accuracy` or `rouge=rouge_l:maximize`.

        Raises:
            AutopeftError: it is none of them, or the direction of an unknown metric is not said.
        """
        found = _WANTED.fullmatch(text.strip())
        if found is None:
            raise AutopeftError(
                f"--metric takes NAME, NAME=COLUMN or NAME=COLUMN:minimize, got {text!r}"
            )
        name, goal = found["name"], found["goal"]
        if goal is None and name in METRICS:
            goal = METRICS[name].goal
        if goal not in ("maximize", "minimize"):
            raise AutopeftError(
                f"--metric {name} needs a direction, got {goal or 'none'}: "
                f"--metric {name}{'=' + found['column'] if found['column'] else ''}:maximize"
            )
        return cls(name, found["column"] or name, "maximize" if goal == "maximize" else "minimize")

    @property
    def counted(self) -> bool:
        """Whether the model tells it, where no column of its name does."""
        return self.name == self.column and self.name in _COUNTED

    @property
    def objective(self) -> Objective:
        """On a log scale where it is a size."""
        metric = METRICS.get(self.name)
        scale = "log" if metric is not None and metric.unit in _SIZES else "linear"
        return Objective(self.name, self.goal, "log" if scale == "log" else "linear")
