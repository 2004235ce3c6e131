"""Values that were found elsewhere, as the fields of PEFT and of a recipe have them.

A field's default shows its kind; one without takes anything, but for what places a module.
"""

import math
from collections.abc import Mapping
from typing import Any

from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS, TRAINER_DEFAULTS

_WHOLE = ("init_r", "num_virtual_tokens", "r", "target_r")


def module_values(module: Mapping[str, Any]) -> dict[str, Any]:
    """
    Raises:
        ValueError: a field takes no such value.
    """
    peft_type = module["peft_type"]
    defaults, size = PEFT_DEFAULTS[peft_type], size_field(peft_type)
    found = {}
    for name, value in module.items():
        kind, taken = _kind(name, value, defaults.get(name))
        if name == size or name in _WHOLE:
            least = 1 if name == size else 0
            kind, taken = f"a whole number from {least}", _whole(value) and value >= least
            value = int(value) if taken else value
        if not taken:
            raise ValueError(f"{name} takes {kind}, got {value!r:.80}")
        found[name] = value
    return found


def recipe_values(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """
    Raises:
        ValueError: what transformers has as a number is none.
    """
    defaults = TRAINER_DEFAULTS["transformers.Trainer"]
    for name, value in recipe.items():
        if _number(defaults.get(name)) and not _number(value):
            raise ValueError(f"{name} takes a number, got {value!r:.80}")
    return dict(recipe)


def _kind(name: str, value: Any, default: Any) -> tuple[str, bool]:
    """What a field takes, in words, and whether it takes this."""
    if name.endswith("_modules"):
        named = all(isinstance(item, str) for item in _listed(value))
        return "a name or a list of names", named
    if name == "layers_to_transform":
        kind = "a layer or a list of layers, as in [0, 1]"
        return kind, all(_whole(item) for item in _listed(value))
    match default:
        case bool() | str() if name.startswith("init"):
            return "true, false or a name", isinstance(value, bool | str)
        case bool():
            return "true or false", isinstance(value, bool)
        case int() | float():
            return "a number", _number(value)
        case dict() if name.endswith("_pattern"):
            numbers = isinstance(value, Mapping) and all(map(_number, value.values()))
            return "{name of a module: number}", numbers
        case dict() | list() | str():
            kind = {dict: "names and values", list: "a list", str: "a text"}[type(default)]
            return kind, isinstance(value, type(default))
    return "", True


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return _number(value) and float(value).is_integer()
