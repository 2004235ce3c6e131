"""Whether an architecture works on a model, and why not."""

from collections.abc import Mapping

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.networks.allocation import deployed
from autopeft.domain.networks.capabilities import BLOCK, CAPABILITIES, MODEL, Capability
from autopeft.domain.networks.counting.count import Placed
from autopeft.domain.networks.data_inits import data_init
from autopeft.domain.networks.peft_config import in_order, refuse_shared_targets
from autopeft.domain.rules.data_init_rules import refuse_company
from autopeft.domain.rules.peft_rules import broken_rule
from autopeft.domain.space import Json

_FROM_WEIGHTS = ("mica", "olora", "orthogonal", "pissa")
_NOT_QUANTISED = ("kasa_config", "use_bdlora")  # PEFT's quantised layers build a plain LoRA


def loads_quantised(model: Mapping[str, Json]) -> bool:
    """Whether a file's `model:` loads the base in 8 bits or fewer."""
    return bool(model.get("quantization_config"))


def unfit(
    module: Module, *, shape: ModelShape, task_type: str, quantized: bool = False
) -> str | None:
    """Why a module cannot work on this model; None: it fits.

    quantized: the base is loaded in 4 or 8 bits.
    """
    capability = CAPABILITIES.get(module.peft_type)
    if capability is None:
        return f"{module.peft_type} is no PEFT type: take one of {', '.join(sorted(CAPABILITIES))}"
    if capability.unsearchable is not None:
        return f"{module.peft_type} cannot be searched: {capability.unsearchable}"
    placed = Placed.on(shape, module)
    reasons = (
        _wrong_model(module, capability, shape, task_type),
        _wrong_base(placed, capability) if quantized else None,
        _wrong_targets(placed, capability),
        broken_rule(placed),
    )
    return next((reason for reason in reasons if reason is not None), None)


def refuse_unfit(
    architecture: Architecture, *, shape: ModelShape, task_type: str, quantized: bool = False
) -> None:
    """Nothing, if every module works on this model and all of them together.

    Raises:
        ValueError: the first reason why not.
    """
    if quantized and architecture.full_fine_tuning:
        raise ValueError(
            "full_fine_tuning needs weights with gradients, which a quantised base has not: "
            "remove quantization_config or take another method"
        )
    if quantized and architecture.allocation[0] == "spt":
        raise ValueError(
            "allocation spt needs weights with gradients, which a quantised base has not: "
            "take another allocation"
        )
    modules = deployed(architecture)
    if quantized and len(modules) > 1:
        raise ValueError(
            f"the Trainer takes one module on a quantised base, got {len(modules)}: "
            "give each a branch of its own"
        )
    for module in modules:
        if reason := unfit(module, shape=shape, task_type=task_type, quantized=quantized):
            raise ValueError(reason)
    refuse_company(architecture)
    if len(modules) > 1:
        for module in modules:
            if not CAPABILITIES[module.peft_type].combines:
                raise ValueError(
                    f"{module.peft_type} shares a model with no other module, got {len(modules)}: "
                    "give it a branch of its own"
                )
        refuse_shared_targets(modules)
        in_order(modules)


def unmergeable(module: Module, *, shape: ModelShape, quantized: bool = False) -> str | None:
    """Why a trained module cannot be folded into the base weights; None: it can, exactly."""
    if not CAPABILITIES[module.peft_type].merges:
        return f"{module.peft_type} changes what the model computes, not its weights: keep it apart"
    if quantized:
        return "a merge into a quantised base is rounded or wrong: load the base unquantised for it"
    if module.fields.get("alora_invocation_tokens"):
        return "an activated LoRA works from its invocation tokens on only: keep it apart"
    shifts = module.peft_type in ("BEFT", "SSF") or module.fields.get("lora_bias")
    bare = [target.name for target in Placed.on(shape, module).targets if not target.bias]
    if shifts and bare:
        what = "lora_bias" if module.peft_type == "LORA" else module.peft_type
        return f"{what} is merged into a bias, and {bare[0]} has none: take other targets"
    return None


def _wrong_model(
    module: Module, capability: Capability, shape: ModelShape, task_type: str
) -> str | None:
    kind = module.peft_type
    if capability.tasks is not None and task_type not in capability.tasks:
        known = ", ".join(sorted(capability.tasks))
        return f"{kind} works for {known}, got {task_type}: take another method"
    if shape.model_type in capability.strangers:
        return f"{kind} needs text embeddings and an attention cache, {shape.model_type} lacks them"
    if shape.head and "modules_to_save" not in PEFT_DEFAULTS[kind]:
        untrained = ", ".join(shape.head)
        return f"{kind} leaves the new {untrained} untrained and unsaved: take another method"
    known_families = capability.families
    if known_families is not None and shape.model_type not in known_families:
        known = ", ".join(sorted(known_families))
        return f"{kind} knows the attention of {known} only, got {shape.model_type}"
    return None


def _wrong_base(placed: Placed, capability: Capability) -> str | None:
    module = placed.module
    if not capability.quantized:
        known = ", ".join(kind for kind, can in CAPABILITIES.items() if can.quantized)
        return f"{module.peft_type} gives wrong outputs on a quantised base: take one of {known}"
    if str(module.fields.get("init_lora_weights", "")).startswith(_FROM_WEIGHTS):
        return (
            "mica, olora, orthogonal and pissa start from base weights: on a quantised base take "
            "another init"
        )
    if module.peft_type == "LN_TUNING" and any(not target.norm for target in placed.targets):
        return "LN_TUNING trains weights of the base, on a quantised one those of norms alone"
    for field in _NOT_QUANTISED:
        if module.fields.get(field) is not None:
            return f"{module.peft_type} has no {field} on a quantised base: remove it"
    if init := data_init(module):
        return f"init {init} looks through the bare base, which no trainer takes quantised"
    return None


def _wrong_targets(placed: Placed, capability: Capability) -> str | None:
    if MODEL in capability.wraps:
        return None
    module = placed.module
    allowed = capability.wraps - _no_variant(module)
    for target in placed.targets:
        kind = wrapped_as(target)
        if kind not in allowed:
            said = " with these fields" if kind in capability.wraps else ""
            known = ", ".join(sorted(allowed))
            return f"{module.peft_type}{said} wraps {known}, got {target.type} {target.name}"
    return None


def wrapped_as(target: TargetModule) -> str:
    """What a target is in `Capability.wraps`."""
    if target.norm:
        return "norm"
    return BLOCK if target.block else target.type


def _no_variant(module: Module) -> frozenset[str]:
    """Module types that LoRA wraps, though not in the variant that the fields ask for."""
    if {"kasa_config", "monteclora_config", "use_bdlora", "velora_config"} & set(module.fields):
        return frozenset({"Conv1D", "Embedding"})
    if module.fields.get("init_lora_weights") in ("mica", "olora", "orthogonal", "pissa"):
        return frozenset({"Conv1D"})
    return frozenset()
