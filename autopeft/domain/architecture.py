"""A candidate network: its modules, their placement, and how the budget is allocated.

Architectures are canonical: `canonical` drops what changes nothing (absent modules, fields at
PEFT's default, the order of modules, the spelling of targets), so that two parameter sets that
build the same network are equal.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.peft_fields import PEFT_DEFAULTS, PEFT_TARGETS
from autopeft.domain.space import Json
from autopeft.domain.strategies import STRATEGIES

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
OWN_TARGETS: Mapping[str, str] = {
    "LAYER_PREFIX": "attention",
    "PARALLEL_ADAPTER": "feed_forward",
    "SERIAL_ADAPTER": "feed_forward.down",
}
"""What our own tuners target where a module names nothing: a role, the same on every model."""

DEFAULT_SIZE_FIELD = "r"
"""The field of a peft_type that is its size; size 0 means that the module is absent. "": none."""


def fingerprint(value: Json) -> str:
    """A short stable hash of a JSON value: 16 hexadecimal digits of SHA-256."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Module:
    """One PEFT building block, placed.

    fields: PEFT's own field names, without targets and placement.
    targets: full names of the modules it wraps; empty for methods that wrap the model (prefix).
    layers: indices of the transformer layers it lives in.
    """

    peft_type: str
    fields: Mapping[str, Json]
    targets: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()

    @property
    def size(self) -> int | None:
        """Rank, prefix length or the like, PEFT's default included; None for methods without."""
        name = self.size_field
        value = self.fields.get(name, PEFT_DEFAULTS.get(self.peft_type, {}).get(name))
        return None if value is None else int(value)

    @property
    def size_field(self) -> str:
        """The field that holds it; "": none."""
        return SIZE_FIELDS.get(self.peft_type, DEFAULT_SIZE_FIELD)

    def document(self) -> dict[str, Json]:
        return {
            "peft_type": self.peft_type,
            "fields": dict(self.fields),
            "targets": list(self.targets),
            "layers": list(self.layers),
        }


@dataclass(frozen=True, eq=False)
class Architecture:
    """The modules of one candidate and their allocation strategy; equal when the network is.

    allocation: ("uniform", {}) or the strategy's name and its fields.
    full_fine_tuning: train the whole backbone; then there are no modules.
    No module and no full fine-tuning: the frozen backbone with a trained head.
    """

    modules: tuple[Module, ...] = ()
    allocation: tuple[str, Mapping[str, Json]] = ("uniform", MappingProxyType({}))
    full_fine_tuning: bool = False

    @property
    def frozen(self) -> bool:
        return not self.modules and not self.full_fine_tuning

    def document(self) -> dict[str, Json]:
        return {
            "modules": [module.document() for module in self.modules],
            "allocation": [self.allocation[0], dict(self.allocation[1])],
            "full_fine_tuning": self.full_fine_tuning,
        }

    @cached_property
    def key(self) -> str:
        return fingerprint(self.document())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, eq=False)
class Configuration:
    """An architecture and its recipe: what a trial evaluates.

    branch: the branch that it was drawn from; not part of its identity.
    recipe: the full training arguments by transformers' names, fixed ones included.
    """

    branch: str
    architecture: Architecture
    recipe: Mapping[str, Json]

    def document(self) -> dict[str, Json]:
        return {
            "branch": self.branch,
            "architecture": self.architecture.document(),
            "recipe": dict(self.recipe),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Configuration":
        architecture = document["architecture"]
        return cls(
            branch=document["branch"],
            architecture=Architecture(
                modules=tuple(
                    Module(
                        peft_type=module["peft_type"],
                        fields=module["fields"],
                        targets=tuple(module["targets"]),
                        layers=tuple(module["layers"]),
                    )
                    for module in architecture["modules"]
                ),
                allocation=(architecture["allocation"][0], architecture["allocation"][1]),
                full_fine_tuning=architecture["full_fine_tuning"],
            ),
            recipe=document["recipe"],
        )

    @cached_property
    def key(self) -> str:
        return fingerprint({"a": self.architecture.key, "r": dict(self.recipe)})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def canonical(
    tree: Mapping[str, Json],
    *,
    branch: str,
    shape: ModelShape,
    training: Mapping[str, Json],
    defaults: Mapping[str, Mapping[str, Json]],
) -> Configuration:
    """Turn a literal branch tree into the configuration that it builds on this model.

    Args:
        tree: a branch with every variable taken (`Space.realise`).
        training: the recipe's fixed part; the branch's own `training` wins over it.
        defaults: PEFT's default of every field, by peft_type.

    Raises:
        ValueError: a target matches no module, or a layer does not exist.
    """
    layers = place(tree.get("layers", "all"), shape.layers)
    modules = [
        _module(module, layers, shape, defaults)
        for module in tree.get("modules", ())
        if not _absent(module)
    ]
    modules = [module for module in modules if module.layers]
    if len(modules) > 1 or any(module.layers != _everywhere(shape) for module in modules):
        modules = [_by_layer(module, shape) for module in modules]
    name, options = _allocation(tree.get("allocation", "uniform"))
    full = bool(tree.get("full_fine_tuning", False))
    architecture = Architecture(
        modules=tuple(sorted(modules, key=lambda m: fingerprint(m.document()))),
        allocation=(name, options) if modules or full else ("uniform", {}),
        full_fine_tuning=full,
    )
    recipe = {**training, **tree.get("training", {})}
    return Configuration(branch, architecture, {k: recipe[k] for k in sorted(recipe)})


def place(layers: Json, count: int) -> tuple[int, ...]:
    """The layer indices that a literal `layers` value means on a model of `count` layers.

    Raises:
        ValueError: it names a layer that the model does not have.
    """
    match layers:
        case "all" | None:
            chosen: Iterable[int] = range(count)
        case {"first": int(k)}:
            chosen = range(min(k, count)) if k <= count else [k - 1]
        case {"last": int(k)}:
            chosen = range(count - k, count)
        case {"range": [int(first), int(last)]}:
            chosen = range(first, last + 1)
        case {"bits": list(on)} | list(on):
            chosen = on
        case _:
            raise ValueError(
                "layers takes all, {first: k}, {last: k}, {range: [a, b]}, {bits: shared | own} "
                f"or a list of layer numbers, got {layers!r}"
            )
    indices = tuple(sorted(set(chosen)))
    if indices and (indices[0] < 0 or indices[-1] >= count):
        raise ValueError(f"the model has layers 0 to {count - 1}, got {layers!r}: stay within them")
    return indices


def _absent(module: Mapping[str, Json]) -> bool:
    size_field = SIZE_FIELDS.get(module["peft_type"], DEFAULT_SIZE_FIELD)
    return bool(module.get(size_field) == 0)


def _allocation(value: Json) -> tuple[str, Mapping[str, Json]]:
    if isinstance(value, str):
        return value, {}
    ((name, options),) = value.items()
    # AdaLoRA's own defaults are not PEFT's: they follow from the module and the run.
    defaults = STRATEGIES[name].options if name in STRATEGIES and name != "adalora" else {}
    return name, {
        field: chosen
        for field, chosen in sorted((options or {}).items())
        if field not in defaults or defaults[field] != chosen
    }


_OWN_DEFAULT = ("tinit", "tfinal")  # absent is a share of the run, PEFT's default is 0
_PLACEMENT = ("peft_type", "layers", "target_modules", "layers_to_transform", "layers_pattern")


def _module(
    module: Mapping[str, Json],
    branch_layers: tuple[int, ...],
    shape: ModelShape,
    defaults: Mapping[str, Mapping[str, Json]],
) -> Module:
    peft_type = module["peft_type"]
    default = defaults.get(peft_type, {})
    layers = place(module["layers"], shape.layers) if "layers" in module else branch_layers
    if isinstance(own := module.get("layers_to_transform"), int | list):
        layers = place([own] if isinstance(own, int) else own, shape.layers)
    targets: tuple[str, ...] = ()
    if "target_modules" in default:
        matched = match_targets(module.get("target_modules"), shape, peft_type)
        targets = tuple(target.name for target in matched if target.layer in layers)
        here = {target.layer for target in matched}
        layers = tuple(layer for layer in layers if layer in here)
    fields = {
        name: value
        for name, value in sorted(module.items())
        if name not in _PLACEMENT
        and (name in _OWN_DEFAULT or not (name in default and default[name] == value))
    }
    if "feedforward_modules" in default:
        fields["feedforward_modules"] = _feedforward(module, targets, shape)
    return Module(peft_type, fields, targets, layers)


def _feedforward(
    module: Mapping[str, Json], targets: tuple[str, ...], shape: ModelShape
) -> list[str]:
    """Of the targets, those that IA3 scales at the input: as the file says, else by role."""
    entries = module.get("feedforward_modules")
    if entries is None:
        chosen = {target.name for target in shape.modules if target.feedforward}
    else:
        matched = match_targets(entries, shape, "IA3") if entries else ()
        chosen = {target.name for target in matched}
    return [name for name in targets if name in chosen]


def _everywhere(shape: ModelShape) -> tuple[int, ...]:
    return tuple(range(shape.layers))


def _by_layer(module: Module, shape: ModelShape) -> Module:
    """PEFT's own prefix is alone in its model and in all layers; any other is one a layer."""
    if module.peft_type != "PREFIX_TUNING":
        return module
    targets = match_targets(None, shape, "LAYER_PREFIX")
    return replace(
        module,
        peft_type="LAYER_PREFIX",
        targets=tuple(target.name for target in targets if target.layer in module.layers),
    )


def match_targets(
    target_modules: Json, shape: ModelShape, peft_type: str
) -> tuple[TargetModule, ...]:
    """The modules that `target_modules` means, in model order.

    A name, `all-linear`, a list of names, or as in PEFT a regular expression on full names;
    None: what PEFT itself targets in this model type, or our own tuners by role.

    Raises:
        ValueError: an entry matches nothing; the message names the kinds that exist.
    """
    if target_modules is None:
        by_model_type = PEFT_TARGETS.get(peft_type, {})
        target_modules = OWN_TARGETS.get(peft_type) or by_model_type.get(shape.model_type)
    entries = [target_modules] if isinstance(target_modules, str) else list(target_modules or ())
    if not entries:
        raise ValueError(
            f"target_modules is needed: name one of {', '.join(shape.kinds)} or all-linear"
        )
    chosen = set()
    for entry in entries:
        matched = shape.matching(entry)
        if not matched and isinstance(target_modules, str):
            matched = shape.matching_pattern(entry)
        if not matched:
            raise ValueError(
                f"target_modules {entry!r} matches no module inside the layers of this "
                f"{shape.model_type} model: it has {', '.join(shape.kinds)}"
            )
        chosen |= {module.name for module in matched}
    return tuple(m for m in (*shape.modules, *shape.blocks) if m.name in chosen)
