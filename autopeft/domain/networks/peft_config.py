"""The modules of an architecture as the keyword arguments of PEFT's own config classes.

Pure, so that training and export say the same thing to PEFT.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.networks.allocation import (
    deployed,
    found_before_training,
    schedule,
    with_ranks,
)
from autopeft.domain.space import Json

OWN = ("LAYER_PREFIX", "PACA", "PARALLEL_ADAPTER", "SERIAL_ADAPTER", "SSF", "SVFIT")
"""The tuners of `autopeft.tuners`: whoever loads them imports that first."""

_NUMBERED = re.compile(r"(?:.*?\.)??(?P<stack>\w+)\.(?P<layer>\d+)\.(?P<kind>.+)")
_HEADS_OF_PEFT = ("classifier", "score")  # what PEFT trains by itself in SEQ_CLS, TOKEN_CLS
_UNKNOWN_TO_PEFT = ("IMAGE_CLS",)


def peft_arguments(
    architecture: Architecture,
    *,
    task_type: str,
    total_steps: int,
    head: Sequence[str] = (),
    ranks: Mapping[str, int] | None = None,
) -> tuple[dict[str, Json], ...]:
    """Keyword arguments, `peft_type` among them, for the config class of each module.

    Targets are full module names, so nothing outside the chosen layers can match. Several stand in
    the order of injection: PEFT's own first, then ours, a block after the modules inside it.

    Args:
        total_steps: optimiser steps of the full run; AdaLoRA's schedule needs them.
        head: the modules outside the backbone that are trained in full (`ModelShape.head`); PEFT
            is told of them where there is one module, a composite trains them itself.
        ranks: target -> rank, where the allocation finds them before training.

    Raises:
        ValueError: the fields of a module or the modules of a composite contradict each other, or
            the ranks are not known yet.
    """
    modules = deployed(architecture)
    if found_before_training(architecture):
        if ranks is None:
            raise ValueError(
                f"allocation {architecture.allocation[0]} finds the ranks before the first step: "
                "they are known of a trial that ran"
            )
        modules = tuple(with_ranks(module, ranks) for module in modules)
    if len(modules) == 1:
        arguments = _arguments(modules[0], task_type, total_steps)
        known = () if task_type in _UNKNOWN_TO_PEFT else _HEADS_OF_PEFT
        if others := [name for name in head if name not in known]:
            arguments["modules_to_save"] = others
        return (arguments,)
    refuse_shared_targets(modules)
    ordered = in_order(modules)
    return tuple(_arguments(module, task_type, total_steps) for module in ordered)


def _arguments(module: Module, task_type: str, total_steps: int) -> dict[str, Json]:
    arguments: dict[str, Json] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in module.fields.items()
    }
    task = None if task_type in _UNKNOWN_TO_PEFT else task_type
    arguments |= {"peft_type": module.peft_type, "task_type": task}
    arguments |= named_targets(module)
    if module.peft_type == "ADALORA":
        arguments.pop("rank_pattern", None)  # the outcome of an earlier run
        arguments |= schedule(arguments, total_steps)
    return arguments


def named_targets(module: Module) -> dict[str, Json]:
    """The targets as PEFT's config takes them: full names, but for LILY.

    LILY shares its matrices among the targets that one entry of `target_modules` matches, so it is
    told of kinds and layers; `autopeft.domain.rules.peft_rules` refuses what else these match.
    """
    if not module.targets:
        return {}
    if module.peft_type != "LILY":
        return {"target_modules": list(module.targets)}
    split = [_NUMBERED.fullmatch(name) for name in module.targets]
    found = [match for match in split if match is not None]
    return {
        "target_modules": sorted({match["kind"] for match in found}),
        "layers_to_transform": sorted({int(match["layer"]) for match in found}),
        "layers_pattern": sorted({match["stack"] for match in found}),
    }


def reached(named: Mapping[str, Json], name: str) -> bool:
    """Whether kinds and layers as of `named_targets` match a module's full name, as PEFT reads."""
    match = _NUMBERED.fullmatch(name)
    return (
        match is not None
        and match["stack"] in named["layers_pattern"]
        and int(match["layer"]) in named["layers_to_transform"]
        and any(name.endswith(f".{kind}") for kind in named["target_modules"])
    )


def in_order(modules: Sequence[Module]) -> list[Module]:
    """As they are injected: PEFT's own first, then ours, a block after the modules inside it.

    What is inside a block that is wrapped already has another name, and PEFT passes it by.

    Raises:
        ValueError: two modules wrap a block around a target of each other.
    """
    left, ordered = sorted(modules, key=_place), list[Module]()
    while left:
        free = [m for m in left if not any(_holds(m, other) for other in left if other is not m)]
        if not free:
            names = " and ".join(module.peft_type for module in left)
            raise ValueError(
                "modules wrap blocks around targets of each other, so that none can be the first, "
                f"got {names}: give each block a module of its own"
            )
        left.remove(free[0])
        ordered.append(free[0])
    return ordered


def _holds(outer: Module, inner: Module) -> bool:
    """Whether a module of ours wraps a block around a target of another of ours."""
    if outer.peft_type not in OWN or inner.peft_type not in OWN:
        return False  # PEFT's own wrap no blocks, and come before those that do
    inside = tuple(f"{name}." for name in outer.targets)
    return any(name.startswith(inside) for name in inner.targets)


def _place(module: Module) -> tuple[bool, int]:
    depth = min((name.count(".") for name in module.targets), default=0)
    return module.peft_type in OWN, -depth


def refuse_shared_targets(modules: Sequence[Module]) -> None:
    """Nothing, if no two of PEFT's own tuners would wrap one layer; ours wrap whatever is there.

    Raises:
        ValueError: two of them share a target.
    """
    theirs = [module for module in modules if module.peft_type not in OWN]
    for one, other in combinations(theirs, 2):
        if shared := sorted(set(one.targets) & set(other.targets)):
            raise ValueError(
                f"{one.peft_type} and {other.peft_type} in one branch need targets of their own, "
                f"got {shared[0]} in both: change target_modules or layers of one"
            )
