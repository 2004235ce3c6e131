"""A configuration in a few words, and as flat parameters for a table.

lora r8 q,v L3-11 lr 4.7e-4
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.space import Json

_SIZE_LABELS = {
    "block_size": "b",
    "bottleneck_size": "",
    "n_frequency": "n",
    "num_virtual_tokens": "",
}
_FLAGS = {"use_dora": "dora", "use_rslora": "rslora"}
_KINDS = {
    **dict.fromkeys(("query", "q_proj", "q_lin"), "q"),
    **dict.fromkeys(("key", "k_proj", "k_lin"), "k"),
    **dict.fromkeys(("value", "v_proj", "v_lin"), "v"),
    **dict.fromkeys(
        ("attention.output.dense", "o_proj", "out_proj", "out_lin", "attn.c_proj"), "o"
    ),
    **dict.fromkeys(("c_attn", "qkv_proj", "query_key_value"), "qkv"),
    **dict.fromkeys(("intermediate.dense", "up_proj", "fc1", "lin1", "c_fc"), "up"),
    **dict.fromkeys(("output.dense", "down_proj", "fc2", "lin2", "mlp.c_proj"), "down"),
    "gate_proj": "gate",
    "gate_up_proj": "gate_up",
}
_ATTENTION, _FEEDFORWARD = ({"q", "k", "v", "o"}, {"qkv", "o"}), ({"up", "down"}, {"gate_up"})


def describe(configuration: Configuration) -> str:
    """A short name for people: method, size, targets, layers, allocation, learning rate.

    Not unique: fields that differ beyond those do not show. Parameters of the user's own code all
    do, and stand alone where there is no module.
    """
    bare = configuration.architecture.frozen and configuration.parameters
    parts = [] if bare else [_architecture(configuration.architecture)]
    parts += [f"{name}={_value(value)}" for name, value in configuration.parameters.items()]
    if (rate := configuration.recipe.get("learning_rate")) is not None:
        parts.append(f"lr {_rate(float(rate))}")
    return " ".join(parts)


def flat_params(configuration: Configuration) -> dict[str, str | int | float]:
    """One row of a table: `branch`, `method`, `lora.r`, `lora.targets`, `learning_rate`, ...

    Architecture fields carry their method's name, the recipe has transformers' names. Truth
    values, None and nested values are JSON text.
    """
    architecture = configuration.architecture
    row: dict[str, Json] = {
        "branch": configuration.branch,
        "method": _method(architecture),
        "allocation": architecture.allocation[0],
    }
    for name, value in architecture.allocation[1].items():
        row[f"allocation.{name}"] = value
    for label, module in zip(_labels(architecture.modules), architecture.modules, strict=True):
        row |= {f"{label}.{name}": value for name, value in _module_row(module).items()}
    row |= configuration.recipe
    row |= {f"parameters.{name}": value for name, value in configuration.parameters.items()}
    return {name: _scalar(value) for name, value in row.items()}


def _value(value: Json) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(_scalar(value))


def _architecture(architecture: Architecture) -> str:
    if architecture.full_fine_tuning:
        return "full"
    if architecture.frozen:
        return "frozen"
    modules = architecture.modules
    layers = {module.layers for module in modules}
    if len(layers) == 1:  # said once
        text = " + ".join(_module(module) for module in modules) + f" L{_ranges(layers.pop())}"
    else:
        text = " + ".join(f"{_module(module)} L{_ranges(module.layers)}" for module in modules)
    name = architecture.allocation[0]
    return text if name == "uniform" else f"{text} {name}"


def module_name(module: Module) -> str:
    """`lora`, `serial-adapter`, ..."""
    return module.peft_type.lower().replace("_", "-")


def _module(module: Module) -> str:
    parts = [module_name(module)]
    if module.size is not None:
        sizes = sorted({module.size, *module.sizes.values()})
        text = f"{sizes[0]}-{sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
        parts.append(_SIZE_LABELS.get(module.size_field, "r") + text)
    parts.extend(flag for name, flag in _FLAGS.items() if module.fields.get(name) is True)
    weights = module.fields.get("init_lora_weights")
    if isinstance(weights, str):
        parts.append(weights)
    if module.targets:
        parts.append(_targets(module.targets))
    return " ".join(parts)


def _targets(targets: Sequence[str]) -> str:
    kinds = list(dict.fromkeys(short_kind(target) for target in targets))
    everything = any(part <= set(kinds) for part in _ATTENTION) and any(
        part <= set(kinds) for part in _FEEDFORWARD
    )
    return "all-linear" if everything else ",".join(kinds)


@lru_cache(4096)  # a page of a study asks for a few hundred names millions of times
def short_kind(target: str) -> str:
    """`bert.encoder.layer.0.attention.self.query` -> `q`: the name inside the layer, shortened."""
    inside = re.split(r"\.\d+\.", target)[-1]
    parts = inside.split(".")
    for start in range(len(parts)):  # the longest ending that is known
        if short := _KINDS.get(".".join(parts[start:])):
            return short
    return parts[-1]


def _ranges(layers: Iterable[int]) -> str:
    """(0, 1, 2, 5) -> `0-2,5`."""
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def _rate(value: float) -> str:
    """0.00047 -> `4.7e-4`: two digits, no padding of the exponent."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def _method(architecture: Architecture) -> str:
    if architecture.full_fine_tuning:
        return "full"
    return "+".join(module.peft_type.lower() for module in architecture.modules) or "frozen"


def _labels(modules: Sequence[Module]) -> list[str]:
    """The lower-case peft_type of each module, numbered from the second of its kind on."""
    labels: list[str] = []
    for module in modules:
        name = module.peft_type.lower()
        count = 1 + sum(label.split(".")[0] == name for label in labels)
        labels.append(name if count == 1 else f"{name}.{count}")
    return labels


def _module_row(module: Module) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if module.size is not None:
        row[module.size_field] = module.size
    row |= module.fields
    if module.sizes:  # said once a layer, not once a target
        del row["rank_pattern"]
        row.pop("alpha_pattern", None)
        row[f"{module.size_field}_by_layer"] = _by_layer(module.sizes)
    if module.targets:
        row["targets"] = _targets(module.targets)
    row["layers"] = _ranges(module.layers)
    row["layer_count"] = len(module.layers)
    return row


def _by_layer(sizes: Mapping[str, int]) -> str:
    """`4 L0-2,5; 8 L3-4`: the layers of each size."""
    layers: dict[int, set[int]] = {}
    for target, size in sizes.items():
        numbers = re.findall(r"(?<=\.)\d+(?=\.)", target)
        layers.setdefault(size, set()).add(int(numbers[0]))
    return "; ".join(f"{size} L{_ranges(layers[size])}" for size in sorted(layers))


def _scalar(value: Json) -> str | int | float:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return json.dumps(value, sort_keys=True, default=str)
