"""A configuration in the layout of the PEFT project's method comparison.

    experiments/<method>/<name>/adapter_config.json      PEFT's configuration; none of a full one
    experiments/<method>/<name>/training_params.json     what differs from the suite's defaults

The suite trains a language model on its own data with its own loop: what it has no word for (an
allocation, a tuner that PEFT lacks, several modules) is refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autopeft.domain.describe import describe
from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.peft_config import OWN
from autopeft.domain.space import Json
from autopeft.domain.stopping import EarlyStopping
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.configs import config_arguments, config_class
from autopeft.namespaces import file_name

_NAMES = {
    "per_device_train_batch_size": "batch_size",
    "max_steps": "max_steps",
    "max_grad_norm": "grad_norm_clip",
    "max_length": "max_seq_length",
    "lr_scheduler_type": "lr_scheduler",
}
"""Transformers' names and the suite's."""


def export_suite(
    spec: StudySpec, trial: Trial, *, shape: ModelShape, model: str, total_steps: int, to: Path
) -> tuple[Path, ...]:
    """Write a trial's configuration; returns the files.

    model: the folder or hub name that transformers loads.

    Raises:
        ExportError: the suite cannot train it, or the experiment is there already.
    """
    _check(spec, trial)
    architecture = trial.configuration.architecture
    method = "full-finetuning"
    files: dict[str, Any] = {}
    if not architecture.full_fine_tuning:
        (arguments,) = config_arguments(
            trial.configuration,
            shape,
            task_type=spec.model["task_type"],
            total_steps=total_steps,
            ranks=trial.provenance.get("ranks"),
        )
        method = str(arguments["peft_type"]).lower()
        files["adapter_config.json"] = _config(arguments, model)
    files["training_params.json"] = _params(trial, model, total_steps)
    name = "-".join(describe(trial.configuration).replace("/", "-").replace(",", "").split())
    folder = to / "experiments" / method / f"{file_name(spec.name)}-{trial.number}-{name}"
    if folder.exists():
        raise ExportError(f"{folder} is there already: name another folder")
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return tuple(folder / file for file in files)


def _check(spec: StudySpec, trial: Trial) -> None:
    architecture = trial.configuration.architecture
    ours = [m.peft_type for m in architecture.modules if m.peft_type in OWN]
    refusals = {
        f"a task of type {spec.model['task_type']}": spec.model["task_type"] != "CAUSAL_LM",
        "the frozen model": architecture.frozen,
        "early stopping": EarlyStopping.of(trial.configuration.recipe) is not None,
        f"allocation {architecture.allocation[0]}": architecture.allocation[0] != "uniform",
        f"{', '.join(ours)}, which PEFT does not have": bool(ours),
        f"{len(architecture.modules)} modules": len(architecture.modules) > 1,
    }
    if said := [what for what, refused in refusals.items() if refused]:
        raise ExportError(
            f"the comparison suite trains a language model with one module of PEFT's, trial "
            f"{trial.number} is or has {said[0]}: choose another trial or another layout"
        )


def _config(arguments: Mapping[str, Json], model: str) -> dict[str, Json]:
    """As `save_pretrained` writes it."""
    given = dict(arguments)
    config = config_class(str(given.pop("peft_type")))(**given)
    config.base_model_name_or_path = model
    found: dict[str, Json] = config.to_dict()
    return {k: sorted(v) if isinstance(v, set) else v for k, v in found.items()}


def _params(trial: Trial, model: str, total_steps: int) -> dict[str, Json]:
    recipe = trial.configuration.recipe
    optimizer = {"lr": recipe["learning_rate"], "weight_decay": recipe.get("weight_decay", 0.0)}
    named = {theirs: recipe[ours] for ours, theirs in _NAMES.items() if ours in recipe}
    return {
        "model_id": model,
        "seed": trial.seed,
        "optimizer_kwargs": optimizer,
        **named,
        "max_steps": total_steps,
    }
