"""A trial, taken away."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial

if TYPE_CHECKING:
    from peft import PeftConfig


def peft_config(spec: StudySpec, shape: ModelShape, trial: Trial) -> "PeftConfig":
    """PEFT's own config object of a trial."""
    from autopeft.export import peft_config as config_of

    if spec.evaluator is not None:
        task_type = spec.model.get("task_type", "")
        # AdaLoRA's schedule alone reads the steps, and an evaluator's study has none.
        return config_of(trial.configuration, shape, task_type=task_type, total_steps=1)
    task_type = spec.model["task_type"]
    steps, ranks = _steps(spec, trial), trial.provenance.get("ranks")
    return config_of(
        trial.configuration, shape, task_type=task_type, total_steps=steps, ranks=ranks
    )


def export_suite(spec: StudySpec, shape: ModelShape, trial: Trial, to: Path) -> tuple[Path, ...]:
    """Write a trial's configuration in the layout of the PEFT comparison suite.

    Raises:
        ExportError: the suite cannot train it, or the experiment is there already.
    """
    from autopeft.export import export_suite as write
    from autopeft.training.model import resolve_model

    if spec.evaluator is not None:
        raise ExportError(
            f"the comparison suite trains by itself, study {spec.name} by code of its own: "
            "leave --to peft-suite out"
        )
    model = resolve_model(spec.model["model_name_or_path"], folder=spec.folder)
    steps = _steps(spec, trial)
    return write(spec, trial, shape=shape, model=model, total_steps=steps, to=to)


def export(
    spec: StudySpec,
    shape: ModelShape,
    trial: Trial,
    adapter: Path,
    to: Path,
    *,
    force: bool = False,
    confirmed: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Write a completed trial as files that need no autopeft.

    confirmed: see `export_trial`.

    Raises:
        ExportError: the trial cannot be exported, or `to` is in use.
    """
    if spec.evaluator is not None:
        from autopeft.export.own_code import export_own

        return export_own(spec, trial, shape=shape, adapter=adapter, to=to, force=force)
    from autopeft.export import Prepared, export_trial
    from autopeft.training.data import load_data
    from autopeft.training.model import load_arguments, processor_arguments, resolve_model
    from autopeft.training.tasks.language import trained_columns

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    prepared = Prepared(
        model=resolve_model(spec.model["model_name_or_path"], folder=spec.folder),
        load_arguments=load_arguments(spec.model, shape.head),
        labels=data.labels,
        splits={
            "train": trained_columns(data.train),
            "validation": trained_columns(data.validation),
        },
        data_fingerprint=data.fingerprint,
        max_length=spec.data.get("max_length", spec.task.max_length),
        max_target_length=spec.data.get("max_target_length", spec.task.max_target_length),
        processor_arguments=processor_arguments(spec.model, folder=spec.folder),
    )
    return export_trial(
        spec,
        trial,
        shape=shape,
        adapter=adapter,
        to=to,
        prepared=prepared,
        force=force,
        confirmed=confirmed,
    )


def _steps(spec: StudySpec, trial: Trial) -> int:
    """Optimiser steps of a trial's full run."""
    from autopeft.training.data import load_data
    from autopeft.training.inject import total_steps

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    return total_steps(trial.configuration.recipe, len(data.train))
