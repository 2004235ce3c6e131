"""Names and values of a table or of another optimiser's trial as PEFT's fields and a recipe."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS, TRAINER_DEFAULTS

_TYPES = ("peft_type", "method")
_ALIASES = {
    "rank": "r",
    "lora_r": "r",
    "lora_rank": "r",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "targets": "target_modules",
    "lora_target": "target_modules",
    "lora_target_modules": "target_modules",
    "dora": "use_dora",
    "rslora": "use_rslora",
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
}
"""How TRL, Axolotl, LLaMA-Factory and people call them."""

_PLACED = ("target_modules", "layers_to_transform")
_FULL = ("full", "full_fine_tuning", "full-finetuning")
_SEVERAL = re.compile(r"[\w.]+(?:\s*[,;|\s]\s*[\w.]+)+")


def split(row: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Fields of PEFT with `peft_type` (LORA unless the row says it), and all the rest.

    None for the fields of full fine-tuning. Empty cells are left out.

    Raises:
        AutopeftError: the row's type is none of PEFT's, or it says one field twice.
    """
    given = {key: _name(key) for key, value in row.items() if value not in (None, "")}
    told = {name: row[key] for key, name in given.items()}
    for name in told:
        if len(keys := [key for key in given if given[key] == name]) > 1:
            raise AutopeftError(f"{' and '.join(keys)} are both {name}: leave one of them out")
    named = [key for key in told if key in _TYPES]
    peft_type = str(told.pop(named[0])) if named else "LORA"
    if peft_type.lower() in _FULL:
        return None, told
    peft_type = peft_type.upper().replace("-", "_")
    if peft_type not in PEFT_DEFAULTS:
        raise AutopeftError(f"{peft_type} is no PEFT type")
    known = {*PEFT_DEFAULTS[peft_type], *_PLACED}
    recipe_names = TRAINER_DEFAULTS["transformers.Trainer"]
    fields = {k: v for k, v in told.items() if k in known and k not in recipe_names}
    if isinstance(targets := fields.get("target_modules"), str):
        fields["target_modules"] = _targets(targets)
    return {"peft_type": peft_type, **fields}, {k: v for k, v in told.items() if k not in fields}


def literal(text: str) -> Any:
    """A cell's value: JSON where it is some (`16`, `true`, `["q_proj"]`), else the text."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return {"True": True, "False": False}.get(text.strip(), text.strip())


def _finite(text: str) -> float:
    """Numbers that JSON does not have stay a text: no key can be made of them."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"not finite: {text}")
    return number


def _name(key: str) -> str:
    bare = key.strip().rpartition(".")[2]
    return _ALIASES.get(bare, bare)


def _targets(text: str) -> str | list[str]:
    """`q_proj, v_proj` is a list; `all-linear` and a regular expression are what they are."""
    return re.split(r"\s*[,;|\s]\s*", text) if _SEVERAL.fullmatch(text) else text
