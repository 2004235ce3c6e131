"""Sizes by layer (`{per_layer: ...}`) and by group of layers (`{per_group: ..., groups: k}`).

Once the model is known, the one node that the file gives becomes a variable for each layer or group
that the module can live in, and 0 elsewhere.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from autopeft.config.tree import Complain, options_of, told
from autopeft.config.values import is_whole
from autopeft.domain.expression import Expr
from autopeft.domain.methods.layer_sizes import group_of, size_field, sized_by_layer
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.space import Choice, Json, Subset

_FORMS = "takes {per_layer: ...} or {per_group: ..., groups: k}"


def numbers_of(size: Json) -> Iterator[tuple[str, Any]]:
    """Every number or range that a size can be, in any layer, with the suffix of its path."""
    for suffix, value in options_of(size):
        if sized_by_layer(value):
            key = "per_layer" if "per_layer" in value else "per_group"
            yield from ((f"{suffix}.{key}{inner}", one) for inner, one in options_of(value[key]))
        else:
            yield suffix, value


def check_by_layer(module: Mapping[str, Json], name: str, path: str, complain: Complain) -> bool:
    """Complain of a field by layer that cannot be; whether all of its options can be."""
    heard = []

    def tell(at: str, message: str, suggestion: str = "") -> None:
        heard.append(at)
        complain(at, message, suggestion)

    for suffix, value in options_of(module[name]):
        if sized_by_layer(value):
            _check_place(module, name, path + suffix, tell)
            if not heard:
                _check_form(value, path + suffix, tell)
    return not heard


def _check_place(module: Mapping[str, Json], name: str, at: str, complain: Complain) -> None:
    """Only the size of what lives in layers differs between them."""
    peft_type = module["peft_type"]
    field, defaults = size_field(peft_type), PEFT_DEFAULTS[peft_type]
    if field not in defaults:
        complain(at, f"{peft_type} has no size that could differ between layers, got {name}")
    elif name != field:
        complain(at, f"only {field}, the size, differs between layers, got {name}")
    elif "target_modules" not in defaults and peft_type != "PREFIX_TUNING":
        complain(at, f"{peft_type} is no part of a layer: its {field} is one for the whole model")
    for pattern in ("alpha_pattern", "rank_pattern", f"{field}_pattern"):
        if pattern in module:
            complain(at, f"sizes by layer have no place for {pattern}", f"remove {pattern}")


def _check_form(value: Mapping[str, Json], at: str, complain: Complain) -> None:
    if set(value) not in ({"per_layer"}, {"per_group", "groups"}):
        complain(at, f"{_FORMS}, got {told(value)}")
        return
    groups = value.get("groups", 1)
    if not is_whole(groups, 1):
        complain(f"{at}.groups", f"takes a whole number from 1, got {told(groups)}")
    for suffix, one in numbers_of(value):
        if isinstance(one, Expr | Mapping | Subset | list):
            complain(at + suffix, f"takes a number, a choice or a range of them, got {told(one)}")


def spread(size: Json, path: str, layers: int, reached: frozenset[int], complain: Complain) -> Json:
    """A size on a model of `layers` layers: the node of each layer or group.

    Args:
        reached: the layers that the module can live in.
    """
    if isinstance(size, Choice):
        return Choice(
            tuple(
                spread(option, f"{path}.choice[{i}]", layers, reached, complain)
                for i, option in enumerate(size.options)
            )
        )
    if not sized_by_layer(size):
        return size
    if "per_layer" in size:
        return {"per_layer": [size["per_layer"] if i in reached else 0 for i in range(layers)]}
    groups = size["groups"]
    if groups > layers:
        rule = f"the model has {layers} layers to share, got {groups} groups"
        complain(f"{path}.groups", rule, f"take {layers} at most")
        return size
    there = {group_of(layer, groups, layers) for layer in reached}
    return {"per_group": [size["per_group"] if i in there else 0 for i in range(groups)]}
