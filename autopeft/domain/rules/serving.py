"""Whether an architecture can be served, and why not.

vLLM loads an adapter as one LoRA of rank 512 at most, without DoRA, biases or other saved modules,
and scales all of it by lora_alpha / r (by lora_alpha / sqrt(r) with rsLoRA), whatever patterns say:
`vllm/lora/peft_helper.py`, and the choices of its `--max-lora-rank`.
"""

import math

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.allocation import deployed
from autopeft.domain.networks.counting.count import matching
from autopeft.domain.networks.data_inits import rewrites_base
from autopeft.domain.rules.fit import unmergeable

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What its `--max-lora-rank` takes."""
LARGEST_RANK = RANKS[-1]
_UNKNOWN = (
    *("alora_invocation_tokens", "kasa_config", "layer_replication", "lora_bias"),
    *("monteclora_config", "use_bdlora", "use_dora", "velora_config"),
)
"""Fields of LORA whose adapters hold or mean something else than plain LoRA's."""


def servable_metrics(
    architecture: Architecture, shape: ModelShape, *, quantized: bool
) -> dict[str, float]:
    """1 where it can be served so, else 0."""
    merged = unmerged_because(architecture, shape, quantized=quantized) is None
    return {
        "servable_vllm": float(unserved_by_vllm(architecture, shape) is None),
        "servable_merged": float(merged),
    }


def unmerged_because(
    architecture: Architecture, shape: ModelShape, *, quantized: bool
) -> str | None:
    """Why it cannot become plain weights of the model; None: it can."""
    reasons = (unmergeable(m, shape=shape, quantized=quantized) for m in deployed(architecture))
    return next((reason for reason in reasons if reason is not None), None)


def unserved_by_vllm(architecture: Architecture, shape: ModelShape) -> str | None:
    """Why vLLM cannot load it beside the base model; None: it can, or is a whole model."""
    reason = unserved_after_folding(architecture, shape)
    if reason is not None or architecture.full_fine_tuning:
        return reason
    return next(filter(None, map(_unevenly_scaled, deployed(architecture))), None)


def unserved_after_folding(architecture: Architecture, shape: ModelShape) -> str | None:
    """The same of an adapter whose uneven scalings are written into its weights."""
    if architecture.full_fine_tuning:
        return None
    if shape.head:
        return f"it serves no adapter with a trained {', '.join(shape.head)}"
    modules = deployed(architecture)
    if len(modules) > 1:
        return f"an adapter is one LoRA, got {len(modules)} modules"
    reasons = (_unloaded(module) for module in modules)
    return next((reason for reason in reasons if reason is not None), None)


def _unloaded(module: Module) -> str | None:
    if module.peft_type != "LORA":
        return f"it loads LoRA, got {module.peft_type}"
    if found := [name for name in _UNKNOWN if module.fields.get(name)]:
        return f"it has no {found[0]}"
    if module.fields.get("bias", "none") != "none":
        return "it has no biases of an adapter"
    ranks = {name: _rank(module, name) for name in module.targets}
    # An adapter that starts from parts of the base is stored with them: as one of twice the rank.
    stored = max(ranks.values(), default=0) * (2 if rewrites_base(module) else 1)
    if stored > LARGEST_RANK:
        return f"it takes ranks up to {LARGEST_RANK}, got {stored}"
    return None


def _unevenly_scaled(module: Module) -> str | None:
    own = _scaling(module, _field(module, "r"), _field(module, "lora_alpha"))
    for name in module.targets:
        rank = _rank(module, name)
        alpha = matching(module.fields.get("alpha_pattern"), name)
        alpha = _field(module, "lora_alpha") if alpha is None else float(alpha)
        if not math.isclose(_scaling(module, rank, alpha), own):
            return f"it scales all modules alike, {name} is scaled otherwise"
    return None


def _rank(module: Module, target: str) -> int:
    found = matching(module.fields.get("rank_pattern"), target)
    return int(_field(module, "r") if found is None else found)


def _field(module: Module, name: str) -> float:
    return float(module.fields.get(name, PEFT_DEFAULTS["LORA"][name]))


def _scaling(module: Module, rank: float, alpha: float) -> float:
    return alpha / (math.sqrt(rank) if module.fields.get("use_rslora") else rank)
