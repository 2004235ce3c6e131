"""What allocation strategies found: ranks by module, scores by layer, and a pattern to re-use."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.networks.allocation import with_ranks
from autopeft.domain.networks.describe import module_name, short_kind
from autopeft.domain.trial import State, Trial

Json = Any

_THERE = "●"
_NUMBERED = re.compile(r"^(?:.*?\.)??\w+\.(\d+)\.(.+)$")


def split(name: str) -> tuple[int | None, str]:
    """`bert.encoder.layer.0.attention.self.query` -> (0, `attention.self.query`).

    The layer is None where the name has no number between two dots.
    """
    found = _NUMBERED.match(name)
    return (int(found[1]), found[2]) if found else (None, name)


def columns_of(
    architecture: Architecture, layers: int, found: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], dict[int | None, str]]:
    """(method, kind) -> layer -> cell. A method that wraps no module has the kind "layer"."""
    columns: dict[tuple[str, str], dict[int | None, str]] = {}
    stacked = len({_stack(t) for m in architecture.modules for t in m.targets}) > 1
    for position, module in enumerate(architecture.modules):
        method = _method(architecture.modules, position)
        if not module.targets:
            cells = columns.setdefault((method, "layer"), {})
            cells |= dict.fromkeys(module.layers or range(layers), _size(module, None, found))
        for target in module.targets:
            layer, _ = split(target)
            kind = f"{_stack(target)} {short_kind(target)}" if stacked else short_kind(target)
            columns.setdefault((method, kind), {})[layer] = _size(module, target, found)
    return columns


def layer_maps(trials: Sequence[Trial], front: Sequence[int]) -> dict[str, Json]:
    """The maps of the trials that have some, those of the front first.

    ranks: by trial [layer, kind, rank] each, and `pattern`, a plain LORA of these ranks.
    scores: by trial {layer: score}; of IST the lowest is the most important layer.
    mean: the ranks of all of them together, where there are several on the same modules.
    """
    told = [trial for trial in trials if trial.state is State.COMPLETED]
    order = {number: i for i, number in enumerate(front)}
    told.sort(key=lambda trial: (order.get(trial.number, len(order)), trial.number))
    ranked = [trial for trial in told if trial.provenance.get("ranks")]
    scored = [trial for trial in told if trial.provenance.get("layer_scores")]
    return {
        "ranks": [
            {"trial": trial.number, **_ranks(trial, trial.provenance["ranks"])} for trial in ranked
        ],
        "mean": _mean(ranked),
        "scores": [
            {"trial": trial.number, "scores": trial.provenance["layer_scores"]} for trial in scored
        ],
    }


def _ranks(trial: Trial, ranks: Mapping[str, int]) -> dict[str, Json]:
    return {
        "allocation": trial.configuration.architecture.allocation[0],
        "cells": [[*split(name), rank] for name, rank in ranks.items()],
        "pattern": _pattern(trial.configuration.architecture.modules, ranks),
    }


def _pattern(modules: Sequence[Module], ranks: Mapping[str, int]) -> list[dict[str, Json]]:
    """LORA modules of these ranks, every scaling as it was; modules of rank 0 are left out."""
    found = []
    for module in modules:
        known = {name: int(ranks.get(name, 0)) for name in module.targets}
        if not any(known.values()):
            continue
        lora = with_ranks(module, known)
        fields = {k: v for k, v in lora.fields.items() if k not in ("init_r", "target_r")}
        found.append({"peft_type": "LORA", **fields, "target_modules": list(lora.targets)})
    return found


def _mean(ranked: Sequence[Trial]) -> dict[str, Json] | None:
    """The mean rank of every module over the trials that have the very same modules."""
    if len(ranked) < 2:
        return None
    first = ranked[0]
    alike = [t for t in ranked if set(t.provenance["ranks"]) == set(first.provenance["ranks"])]
    if len(alike) < 2:
        return None
    mean = {
        name: round(sum(t.provenance["ranks"][name] for t in alike) / len(alike))
        for name in first.provenance["ranks"]
    }
    return {"trials": [trial.number for trial in alike], **_ranks(first, mean)}


def _stack(target: str) -> str:
    """`encoder` or `decoder` of a model that has both; "" of one stack."""
    return next((part for part in target.split(".") if part in ("encoder", "decoder")), "")


def _method(modules: Sequence[Module], position: int) -> str:
    """`lora`, and `lora 2` for the second of its kind."""
    name = module_name(modules[position])
    before = sum(m.peft_type == modules[position].peft_type for m in modules[:position])
    return f"{name} {before + 1}" if before else name


def _size(module: Module, target: str | None, found: Mapping[str, Any] | None) -> str:
    if target is not None and found and target in found:
        return str(found[target])
    size = module.sizes.get(target, module.size) if target is not None else module.size
    return _THERE if size is None else str(size)
