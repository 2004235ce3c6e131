"""How the parameter budget is spread while training.

uniform: every module keeps its size. adalora: a LoRA module starts at `init_r` and ends with
`target_r` on average (Zhang et al. 2023, arXiv 2303.10512); in PEFT that is another peft_type, so
the pair (LORA module, adalora) is translated here, once, for counting, training and export.
"""

from collections.abc import Mapping
from dataclasses import replace

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.space import Json

ALLOCATIONS = ("uniform", "adalora")

_SHARED = ("lora_alpha", "lora_dropout", "bias", "modules_to_save")
_WARM_UP, _FINE_TUNING = 0.1, 0.3  # shares of the run before and after the budget shrinks
_LORA_RANK = 8  # PEFT's default


def deployed(architecture: Architecture) -> tuple[Module, ...]:
    """The modules as PEFT sees them, allocation applied.

    Raises:
        ValueError: the allocation does not fit the modules.
    """
    name, options = architecture.allocation
    if name == "uniform":
        return architecture.modules
    if name != "adalora":
        raise ValueError(f"allocation takes {' or '.join(ALLOCATIONS)}, got {name!r}")
    return tuple(_adalora(module, options) for module in architecture.modules)


def schedule(fields: Mapping[str, Json], total_steps: int) -> dict[str, int]:
    """AdaLoRA's schedule for a run of `total_steps` optimiser steps.

    The budget stays for `tinit` steps, shrinks, and is final for the last `tfinal`.

    Raises:
        ValueError: nothing is left between tinit and total_steps - tfinal.
    """
    tinit = int(fields.get("tinit", round(_WARM_UP * total_steps)))
    tfinal = int(fields.get("tfinal", max(1, round(_FINE_TUNING * total_steps))))
    if tinit >= total_steps - tfinal:
        raise ValueError(
            "AdaLoRA needs tinit < total steps - tfinal, got "
            f"tinit={tinit}, tfinal={tfinal} of {total_steps} steps: train longer or lower them"
        )
    return {"tinit": tinit, "tfinal": tfinal, "total_step": total_steps}


def _adalora(module: Module, options: Mapping[str, Json]) -> Module:
    if module.peft_type != "LORA":
        raise ValueError(f"allocation adalora takes a LORA module, got {module.peft_type}")
    rank = int(module.fields.get("r", _LORA_RANK))
    fields = {name: module.fields[name] for name in _SHARED if name in module.fields}
    dropped = set(module.fields) - set(_SHARED) - {"r"}
    if dropped:
        raise ValueError(
            f"allocation adalora has no place for {', '.join(sorted(dropped))}: "
            "use them with allocation uniform"
        )
    fields |= {"init_r": int(1.5 * rank + 0.5), "target_r": rank, **options}
    _check_ranks(fields)
    return replace(module, peft_type="ADALORA", fields=fields)


def _check_ranks(fields: Mapping[str, Json]) -> None:
    if not fields["target_r"] < fields["init_r"]:
        raise ValueError(
            "AdaLoRA needs target_r < init_r, got "
            f"target_r={fields['target_r']}, init_r={fields['init_r']}: raise init_r"
        )
