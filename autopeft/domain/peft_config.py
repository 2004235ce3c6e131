"""A module as the keyword arguments of PEFT's own config class.

Pure, so that training and export say the same thing to PEFT.
"""

from autopeft.domain.allocation import deployed, schedule
from autopeft.domain.architecture import Architecture
from autopeft.domain.space import Json


def peft_kwargs(architecture: Architecture, *, task_type: str, total_steps: int) -> dict[str, Json]:
    """Keyword arguments, `peft_type` among them, for the config class of that type.

    Targets are full module names, so nothing outside the chosen layers can match.

    Args:
        total_steps: optimiser steps of the full run; AdaLoRA's schedule needs them.

    Raises:
        ValueError: not exactly one module, or its fields contradict each other.
    """
    modules = deployed(architecture)
    if len(modules) != 1:
        raise ValueError(f"a configuration takes one PEFT module, got {len(modules)}")
    (module,) = modules
    arguments: dict[str, Json] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in module.fields.items()
    }
    arguments |= {"peft_type": module.peft_type, "task_type": task_type}
    if module.targets:
        arguments["target_modules"] = list(module.targets)
    if module.peft_type == "ADALORA":
        arguments |= schedule(arguments, total_steps)
    return arguments
