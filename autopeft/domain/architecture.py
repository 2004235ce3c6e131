"""A candidate network: its modules, their placement, and how the budget is allocated.

Architectures are canonical: `canonical` drops what changes nothing (absent modules, fields at
PEFT's default, the order of modules, the spelling of targets), so that two parameter sets that
build the same network are equal.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from autopeft.domain.methods.layer_sizes import (
    layer_sizes,
    one_size_each,
    size_field,
    sized_by_layer,
)
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.methods.placement import home, match_targets, place
from autopeft.domain.methods.strategies import STRATEGIES
from autopeft.domain.model import ModelShape
from autopeft.domain.space import Json

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Json) -> str:
    """A short stable hash of a JSON value: 16 hexadecimal digits of SHA-256."""
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()[:16]


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
        return size_field(self.peft_type)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """target -> size where a `rank_pattern` by full names says them; else empty."""
        pattern = self.fields.get("rank_pattern")
        if not pattern or self.size is None or not set(pattern) <= set(self.targets):
            return {}
        return {name: int(pattern.get(name, self.size)) for name in self.targets}

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
    parameters: what the user's own training code reads besides; empty without an evaluator.
    """

    branch: str
    architecture: Architecture
    recipe: Mapping[str, Json]
    parameters: Mapping[str, Json] = field(default_factory=dict)

    def document(self) -> dict[str, Json]:
        return {
            "branch": self.branch,
            "architecture": self.architecture.document(),
            "recipe": dict(self.recipe),
            **({"parameters": dict(self.parameters)} if self.parameters else {}),
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
            parameters=document.get("parameters", {}),
        )

    @cached_property
    def key(self) -> str:
        parts = {"a": self.architecture.key, "r": dict(self.recipe)}
        return fingerprint({**parts, "p": dict(self.parameters)} if self.parameters else parts)

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
        _module(sized, layers, shape, defaults)
        for module in tree.get("modules", ())
        for sized in _sized(module, layers, shape)
    ]
    modules = [module for module in modules if module.layers]
    if len(modules) > 1 or any(module.layers != _everywhere(shape) for module in modules):
        modules = [_by_layer(module, shape) for module in modules]
    name, options = _allocation(tree.get("allocation", "uniform"))
    full = bool(tree.get("full_fine_tuning", False))
    if len(modules) > 1:
        modules.sort(key=lambda module: fingerprint(module.document()))
    architecture = Architecture(
        modules=tuple(modules),
        allocation=(name, options) if modules or full else ("uniform", {}),
        full_fine_tuning=full,
    )
    recipe = {**training, **tree.get("training", {})}
    return Configuration(
        branch,
        architecture,
        {k: recipe[k] for k in sorted(recipe)},
        dict(sorted(tree.get("parameters", {}).items())),
    )


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


def _sized(
    module: Mapping[str, Json], branch_layers: tuple[int, ...], shape: ModelShape
) -> Sequence[Mapping[str, Json]]:
    """The module as modules of one size each; none where it is 0."""
    size = module.get(size_field(module["peft_type"]))
    if not sized_by_layer(size):
        return [] if size == 0 else [module]
    layers, targets = home(module, branch_layers, shape)
    sizes = layer_sizes(size, shape.layers)
    here = {layer: sizes[layer] for layer in layers}
    return one_size_each(module, here, {target.name: target.layer for target in targets})


def _module(
    module: Mapping[str, Json],
    branch_layers: tuple[int, ...],
    shape: ModelShape,
    defaults: Mapping[str, Mapping[str, Json]],
) -> Module:
    peft_type = module["peft_type"]
    default = defaults.get(peft_type, {})
    layers, wrapped = home(module, branch_layers, shape)
    targets = tuple(target.name for target in wrapped)
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
    chosen: Set[str] = shape.feedforward
    if entries is not None:
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
