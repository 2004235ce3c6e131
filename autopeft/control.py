"""The control that a sceptic asks for: the whole budget on LoRA alone.

`search --control` runs a second study, NAME-control, with the same model, data, recipe,
objectives, constraints, budget, sampler and seeds, whose space is LoRA's rank, targets and
learning rate. What the search is worth is what its front has over the control's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autopeft import config, entry
from autopeft.config.branching import BASELINES, LEARNING_RATE, SHORT
from autopeft.domain.model import ModelShape
from autopeft.domain.ports import Store
from autopeft.domain.results.front import best_of, first_measured, hypervolumes
from autopeft.domain.results.replicates import averaged, completed, fresh, standing
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial

SUFFIX = "-control"
_RANKS = [1, 2, 4, 8, 16, 32, 64]
_ATTENTION = [f"attention.{part}" for part in ("query", "key", "value", "qkv", "output")]
_FEED_FORWARD = [f"feed_forward.{part}" for part in ("up", "gate", "gate_up", "down")]


@dataclass(frozen=True)
class Control:
    """The control of a study, as the store has it."""

    spec: StudySpec
    trials: tuple[Trial, ...]


def control_of(spec: StudySpec, shape: ModelShape) -> StudySpec:
    """The control of a study on this model.

    It has no baseline but those that a constraint names: they would take a part of its budget.
    """
    kept = {key: value for key, value in spec.document.items() if key not in SHORT}
    named = {c.baseline for c in spec.constraints if c.baseline}
    baselines = {n: tree for n, tree in dict(_baselines(spec)).items() if n in named}
    document = {
        **kept,
        "study": spec.name + SUFFIX,
        "space": {"lora": _lora(shape)},
        "baselines": baselines or False,
    }
    return config.parse(document, folder=spec.folder, source=f"the control of {spec.name}")


def _baselines(spec: StudySpec) -> Mapping[str, Any]:
    return spec.document.get("baselines") or BASELINES


def _lora(shape: ModelShape) -> dict[str, Any]:
    roles = {module.role for module in shape.modules}
    usual = [role for role in ("attention.query", "attention.value") if role in roles]
    attention = [role for role in _ATTENTION if role in roles]
    feed_forward = [role for role in _FEED_FORWARD if role in roles]
    targets: list[Any] = ["all-linear"]
    for roles_of in (usual or attention, attention, feed_forward):
        if roles_of and roles_of not in targets:
            targets.append(roles_of)
    linear = [module for module in shape.modules if module.type == "Linear"] or shape.modules
    narrowest = min(min(module.inputs, module.outputs) for module in linear)
    module = {
        "peft_type": "LORA",
        "r": {"choice": [rank for rank in _RANKS if rank <= narrowest] or [1]},
        "lora_alpha": {"expr": "2 * r"},
        "target_modules": {"choice": targets},
    }
    return {"modules": [module], "training": {"learning_rate": LEARNING_RATE}}


def found(spec: StudySpec, store: Store) -> Control | None:
    """The control of a study; None where the store has none."""
    name = spec.name + SUFFIX
    if name not in {record.name for record in store.studies()}:
        return None
    return Control(entry.stored(name, store), store.history(name))


def confirmed(spec: StudySpec, control: Control | None) -> dict[str, Sequence[Trial]]:
    """The fresh runs of the control's best configuration, by the control's name."""
    best = None if control is None else _best(spec, control.trials)
    if control is None or best is None:
        return {}
    again = [t for t in fresh(completed(control.trials)) if t.confirms == best.number]
    return {control.spec.name: again} if again else {}


def compared(spec: StudySpec, trials: Sequence[Trial], control: Control) -> dict[str, Any]:
    """Both fronts by one reference, the best quality and what was spent."""
    sides = {spec.name: trials, control.spec.name: control.trials}
    volumes = hypervolumes(spec.objectives, spec.constraints, list(sides.values()))
    quality = first_measured(spec.objectives).metric
    rows = []
    for (name, own), volume in zip(sides.items(), volumes, strict=True):
        best = _best(spec, own)
        rows.append(
            {
                "study": name,
                "hypervolume": volume,
                "best": None if best is None else best.metrics[quality],
                "stderr": None if best is None else best.stderr.get(quality),
                "trials": len(own),
                "device_hours": sum(t.seconds for t in own) * spec.resources.devices / 3600,
            }
        )
    return {"metric": quality, "studies": rows}


def compared_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The comparison in two sentences."""
    mine, other = comparison["studies"]
    metric = comparison["metric"]
    said = [
        f"Control {other['study']} (LoRA alone): hypervolume {other['hypervolume']:.4f} against "
        f"{mine['hypervolume']:.4f} by the same reference, with {other['trials']} trials against "
        f"{mine['trials']} and {other['device_hours']:.3g} device hours against "
        f"{mine['device_hours']:.3g}."
    ]
    if mine["best"] is not None and other["best"] is not None:
        said.append(f"Best {metric}: {_told(other)} of the control against {_told(mine)}.")
    return said


def _told(row: Mapping[str, Any]) -> str:
    error = f" (s.e. {row['stderr']:.4f})" if row["stderr"] else ""
    return f"{row['best']:.4g}{error}"


def _best(spec: StudySpec, trials: Sequence[Trial]) -> Trial | None:
    return best_of(spec.objectives, spec.constraints, trials, standing(trials, averaged(trials)))
