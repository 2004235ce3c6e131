"""Parameters and bytes of an architecture, by formula, before a second of training.

i, o: inputs and outputs of a targeted linear map; r: rank; L: layers; v: virtual tokens.

    LORA           r (i + o)      + o with use_dora, lora_bias, or bias: lora_only where it has one
    ADALORA        r (i + o) + r    trained at init_r, stored at target_r
    IA3            i for a feed-forward module, else o
    LN_TUNING      the norm's own
    PREFIX_TUNING  2 L v d          d: width of one layer's keys
    LOHA           2 r (i + o)
    DELORA         r (i + o) + 1  stored with the i column norms of the weight
    HRA            r i
    MISS           r o            r mini_r with init_weights: mini

The built model is the oracle of the tests.
"""

import re
from collections.abc import Callable, Mapping

from autopeft.domain.allocation import deployed
from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.model import ModelShape, TargetModule

_RANK: Mapping[str, int] = {"MISS": 64}  # PEFT's default of `r` where it is not 8
_INIT_R, _TARGET_R = 12, 8  # AdaLoRA's defaults
_UNCOUNTED = frozenset(
    {
        "arrow_config",
        "exclude_modules",
        "kasa_config",
        "layer_replication",
        "modules_to_save",
        "target_parameters",
        "trainable_token_indices",
        "use_bdlora",
        "use_qalora",
    }
)
"""Fields that train or store something else than the formulas say."""


def known_metrics(architecture: Architecture, shape: ModelShape) -> dict[str, float]:
    """adapter_params, trainable_params and adapter_bytes (tensors of the stored adapter).

    For ADALORA on targets of unequal shape the ranks decide what is stored, and training decides
    the ranks: then adapter_params is the most that the budget can hold. Everything else is exact.

    Raises:
        ValueError: a module cannot be counted.
    """
    if architecture.full_fine_tuning:
        stored = trained = shape.total_parameters - shape.head_parameters
        width = shape.backbone_bytes
    else:
        modules = deployed(architecture)
        own = any(module.peft_type == "LN_TUNING" for module in modules)
        width = shape.backbone_bytes if own else shape.bytes_per_parameter
        trained = sum(_trained(module, shape) for module in modules)
        stored = sum(_stored(module, shape) for module in modules)
    return {
        "adapter_params": float(stored),
        "trainable_params": float(trained + shape.head_parameters),
        "adapter_bytes": float(stored * width),
    }


def _targets(module: Module, shape: ModelShape) -> list[TargetModule]:
    wanted = set(module.targets)
    return [target for target in shape.modules if target.name in wanted]


def _trained(module: Module, shape: ModelShape) -> int:
    _refuse_uncounted(module)
    if module.peft_type == "PREFIX_TUNING":
        return _prefix(module, shape, stored=False)
    return _over_targets(module, shape)


def _stored(module: Module, shape: ModelShape) -> int:
    if module.peft_type == "PREFIX_TUNING":
        return _prefix(module, shape, stored=True)
    if module.peft_type == "ADALORA":
        return _adalora_stored(module, shape)
    if module.peft_type == "DELORA":
        norms = sum(target.inputs for target in _targets(module, shape))
        return norms + _over_targets(module, shape)
    return _over_targets(module, shape)


def _refuse_uncounted(module: Module) -> None:
    found = sorted(_UNCOUNTED & set(module.fields))
    if module.fields.get("bias", "none") not in ("none", "lora_only"):
        found.append("bias")  # `all` trains biases outside the adapter
    if module.peft_type != "LORA" and module.fields.get("bias", "none") != "none":
        found.append("bias")
    if found:
        raise ValueError(
            f"{module.peft_type} cannot be counted exactly with {', '.join(found)}: remove it"
        )


def _over_targets(module: Module, shape: ModelShape) -> int:
    if module.peft_type not in _PER_TARGET:
        raise ValueError(
            f"peft_type {module.peft_type} cannot be counted: one of {', '.join(sorted(COUNTED))}"
        )
    count = _PER_TARGET[module.peft_type]
    return sum(count(module, target) for target in _targets(module, shape))


def _rank(module: Module, target: TargetModule) -> int:
    for pattern, rank in dict(module.fields.get("rank_pattern", {})).items():
        if re.match(rf"(.*\.)?({pattern})$", target.name):
            return int(rank)
    return int(module.fields.get("r", _RANK.get(module.peft_type, 8)))


def _lora(module: Module, target: TargetModule) -> int:
    rank = _rank(module, target)
    count = rank * (target.inputs + target.outputs)
    if module.fields.get("use_dora"):
        count += target.outputs
    if module.fields.get("lora_bias"):
        count += target.outputs
    if module.fields.get("bias") == "lora_only" and target.bias:
        count += target.outputs
    return count


def _adalora(module: Module, target: TargetModule) -> int:
    rank = int(module.fields.get("init_r", _INIT_R))
    return rank * (target.inputs + target.outputs + 1)


def _adalora_stored(module: Module, shape: ModelShape) -> int:
    # The largest modules are filled first: nothing that the budget can buy is larger.
    targets = sorted(_targets(module, shape), key=lambda t: -(t.inputs + t.outputs))
    budget = int(module.fields.get("target_r", _TARGET_R)) * len(targets)
    most = int(module.fields.get("init_r", _INIT_R))
    count = 0
    for target in targets:
        rank = min(most, budget)
        count += rank * (target.inputs + target.outputs + 1)
        budget -= rank
    return count


def _miss(module: Module, target: TargetModule) -> int:
    mini = module.fields.get("init_weights") == "mini"
    return _rank(module, target) * (int(module.fields.get("mini_r", 1)) if mini else target.outputs)


def _prefix(module: Module, shape: ModelShape, *, stored: bool) -> int:
    if len(module.layers) != shape.layers:
        raise ValueError(
            f"PREFIX_TUNING lives in all {shape.layers} layers, got {list(module.layers)}: "
            "give it layers: all"
        )
    tokens = int(module.fields["num_virtual_tokens"])
    width = 2 * shape.layers * shape.kv_width
    if stored or not module.fields.get("prefix_projection"):
        return tokens * width
    hidden = int(module.fields.get("encoder_hidden_size") or shape.kv_width)
    token = shape.kv_width
    return tokens * token + token * hidden + hidden + hidden * width + width


_PER_TARGET: Mapping[str, Callable[[Module, TargetModule], int]] = {
    "LORA": _lora,
    "ADALORA": _adalora,
    "IA3": lambda module, t: t.inputs if _feedforward(module, t) else t.outputs,
    "LN_TUNING": lambda module, t: t.parameters,
    "LOHA": lambda module, t: 2 * _rank(module, t) * (t.inputs + t.outputs),
    "DELORA": lambda module, t: _rank(module, t) * (t.inputs + t.outputs) + 1,
    "HRA": lambda module, t: _rank(module, t) * t.inputs,
    "MISS": _miss,
}
COUNTED = frozenset({*_PER_TARGET, "PREFIX_TUNING"})
"""The peft_types of this version."""


def _feedforward(module: Module, target: TargetModule) -> bool:
    return target.name in (module.fields.get("feedforward_modules") or ())
