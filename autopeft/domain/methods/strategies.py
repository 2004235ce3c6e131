"""The allocation strategies: their fields, what they change and what they take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.space import Json


@dataclass(frozen=True)
class Strategy:
    """How the budget of an architecture is spread.

    changes: which parameters are updated (what is deployed is as large as without it), or the
        ranks that are deployed, of LORA modules alone.
    options: its fields with their defaults; None: `autopeft.domain.networks.allocation` derives it.
    on_full: it takes full fine-tuning too.
    """

    changes: Literal["nothing", "updates", "ranks"]
    options: Mapping[str, Json] = field(default_factory=dict)
    on_full: bool = False


_BOUNDS = {"max_r": None, "min_r": 0}
_SAMPLING = {"gamma": 2, "period": 20}
_GROWTH = dict.fromkeys(("max_r", "period", "grown", "warm_up"))

STRATEGIES: Mapping[str, Strategy] = {
    "uniform": Strategy("nothing", on_full=True),
    "adalora": Strategy("ranks", PEFT_DEFAULTS["ADALORA"]),
    "eva": Strategy("ranks", {"rho": 2.0, "batches": 4}),
    "increlora": Strategy("ranks", {"init_r": 1, **_GROWTH}),
    "ist": Strategy("updates"),
    "lisa": Strategy("updates", _SAMPLING, on_full=True),
    "owlore": Strategy("updates", {**_SAMPLING, "outlier": 5.0}, on_full=True),
    "random": Strategy("ranks", _BOUNDS),
    "spt": Strategy("ranks", {**_BOUNDS, "batches": 4}),
}
"""{name in a space file: what it is}; the modules of `autopeft.allocation` name the papers."""

BEFORE_TRAINING = ("eva", "random", "spt")
"""Those that find the ranks once, before the first step: what is trained then is plain LoRA."""
