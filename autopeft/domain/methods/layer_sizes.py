"""The size of a module: the field that holds it, and sizes that differ from layer to layer.

A literal size is a number, `{"per_layer": [one for each layer]}` or `{"per_group": [one for each
group]}`: k groups of consecutive layers, as equal in number as can be. 0: absent there.

alpha / r is one for the whole module (with rsLoRA alpha / sqrt(r)): the module's alpha goes with
its largest size, and each other size has its share of it.
"""

from collections.abc import Mapping
from typing import TypeGuard

from autopeft.domain.expression import largest
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.space import Json

SIZE_FIELDS: Mapping[str, str] = {
    "ADALORA": "init_r",
    "BOFT": "",  # 0 is said of the one of its two sizes that is not used
    "C3A": "block_size",
    "CARTRIDGE": "num_virtual_tokens",
    "FOURIERFT": "n_frequency",
    "LAYER_PREFIX": "num_virtual_tokens",
    "OFT": "",  # as BOFT
    "PARALLEL_ADAPTER": "bottleneck_size",
    "PREFIX_TUNING": "num_virtual_tokens",
    "PROMPT_TUNING": "num_virtual_tokens",
    "P_TUNING": "num_virtual_tokens",
    "SERIAL_ADAPTER": "bottleneck_size",
    "SUPERTUNING": "",  # r is a part beside the sparse one
    "WAVEFT": "n_frequency",
}
DEFAULT_SIZE_FIELD = "r"
"""The field of a peft_type that is its size; size 0 means that the module is absent. "": none."""

_ALPHA_FIELDS: Mapping[str, str] = {"LOHA": "alpha", "LOKR": "alpha", "LORA": "lora_alpha"}
"""Of the types whose tuner reads `rank_pattern` and `alpha_pattern`; ADALORA reads neither."""


def size_field(peft_type: str) -> str:
    """The field that holds the size of a type; "": none."""
    return SIZE_FIELDS.get(peft_type, DEFAULT_SIZE_FIELD)


def sized_by_layer(size: Json) -> TypeGuard[Mapping[str, Json]]:
    """Whether a size, literal or with variables, is one per layer or per group."""
    return isinstance(size, Mapping) and bool({"per_layer", "per_group"} & set(size))


def group_of(layer: int, groups: int, layers: int) -> int:
    """The group of a layer where `groups` consecutive groups share `layers` layers."""
    return layer * groups // layers


def layer_sizes(size: Mapping[str, Json], layers: int) -> tuple[int, ...]:
    """The (layers,) sizes that a literal size per layer or per group means."""
    if "per_layer" in size:
        return tuple(size["per_layer"])
    groups = size["per_group"]
    return tuple(groups[group_of(layer, len(groups), layers)] for layer in range(layers))


def one_size_each(
    module: Mapping[str, Json], sizes: Mapping[int, int], targets: Mapping[str, int]
) -> list[dict[str, Json]]:
    """A literal module whose size differs by layer, as modules of one size each.

    A type that has a rank pattern stays one module, whose r is the smallest size.

    Args:
        sizes: layer -> size, for the layers that it lives in.
        targets: full name -> layer of what it wraps there.

    Returns:
        Module trees with `layers`; none where every size is 0.
    """
    sizes = {layer: size for layer, size in sizes.items() if size}
    plain = {name: value for name, value in module.items() if name != "layers_to_transform"}
    if sizes and module["peft_type"] in _ALPHA_FIELDS:
        return [{**plain, "layers": list(sizes), **_patterns(module, sizes, targets)}]
    field = size_field(module["peft_type"])
    return [
        {**plain, field: size, "layers": [layer for layer in sizes if sizes[layer] == size]}
        for size in sorted(set(sizes.values()))
    ]


def _patterns(
    module: Mapping[str, Json], sizes: Mapping[int, int], targets: Mapping[str, int]
) -> dict[str, Json]:
    """`r`, alpha and the patterns of the targets whose size is another."""
    smallest = min(sizes.values())
    fields: dict[str, Json] = {"r": smallest}
    if smallest != largest(module["r"]):
        fields[_ALPHA_FIELDS[module["peft_type"]]] = _alpha(module, smallest)
    names = {name: sizes[layer] for name, layer in targets.items() if layer in sizes}
    if others := {name: size for name, size in names.items() if size != smallest}:
        fields["rank_pattern"] = others
        fields["alpha_pattern"] = {name: _alpha(module, size) for name, size in others.items()}
    return fields


def _alpha(module: Mapping[str, Json], size: int) -> float | int:
    """The share of the module's alpha that keeps the scaling of its largest size."""
    field, most = _ALPHA_FIELDS[module["peft_type"]], largest(module["r"])
    alpha = module.get(field, PEFT_DEFAULTS[module["peft_type"]][field])
    scaled = alpha * (size / most) ** 0.5 if module.get("use_rslora") else alpha * size / most
    # One spelling of one number: 8 and 8.0 would be two architectures.
    return int(scaled) if float(scaled).is_integer() else float(scaled)
