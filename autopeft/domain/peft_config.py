"""A module as the keyword arguments of PEFT's own config class.

Pure, so that training and export say the same thing to PEFT.
"""

from collections.abc import Sequence

from autopeft.domain.allocation import deployed, schedule
from autopeft.domain.architecture import Architecture
from autopeft.domain.space import Json

_HEADS_OF_PEFT = ("classifier", "score")  # what PEFT trains by itself in SEQ_CLS


def peft_kwargs(
    architecture: Architecture, *, task_type: str, total_steps: int, head: Sequence[str] = ()
) -> dict[str, Json]:
    """Keyword arguments, `peft_type` among them, for the config class of that type.

    Targets are full module names, so nothing outside the chosen layers can match.

    Args:
        total_steps: optimiser steps of the full run; AdaLoRA's schedule needs them.
        head: the modules outside the backbone that are trained in full (`ModelShape.head`).

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
    if others := [name for name in head if name not in _HEADS_OF_PEFT]:
        arguments["modules_to_save"] = others
    if module.peft_type == "ADALORA":
        arguments.pop("rank_pattern", None)  # the outcome of an earlier run
        arguments |= schedule(arguments, total_steps)
    return arguments
