"""A trial, taken away."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial

if TYPE_CHECKING:
    from peft import PeftConfig

    from autopeft.export import Prepared


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

    if spec.evaluator is not None:
        raise ExportError(
            f"the comparison suite trains by itself, study {spec.name} by code of its own: "
            "leave --to peft-suite out"
        )
    return write(spec, trial, shape=shape, prepared=_prepared(spec, shape), to=to)


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
    from autopeft.export import export_trial

    return export_trial(
        spec,
        trial,
        shape=shape,
        adapter=adapter,
        to=to,
        prepared=_prepared(spec, shape),
        force=force,
        confirmed=confirmed,
    )


def export_as(
    kind: str,
    spec: StudySpec,
    shape: ModelShape,
    trial: Trial,
    adapter: Path,
    to: Path,
    *,
    force: bool = False,
    confirmed: Mapping[str, Any] | None = None,
    servable: str | None = None,
    rank: float | None = None,
) -> tuple[Path, ...]:
    """Write a completed trial for another tool.

    Args:
        kind: `peft`, `script`, `trl`, `axolotl`, `llama-factory` or `converted-lora`.
        servable: `vllm`: as it serves it; of `peft` and `converted-lora`.
        rank: of `converted-lora`, see `autopeft.export.converted.to_lora`.

    Raises:
        ExportError: the trial cannot be exported so, or `to` is in use.
    """
    if spec.evaluator is not None:
        raise ExportError(
            f"--to {kind} needs a trial that autopeft trained, study {spec.name} trains by code of "
            f"its own: {_own_way(spec, trial)}"
        )
    from autopeft import export as exports

    common: dict[str, Any] = {"shape": shape, "to": to, "prepared": _prepared(spec, shape)}
    common["force"] = force
    if kind in exports.RECIPES:
        return exports.export_recipe(kind, spec, trial, **common)
    if kind == "script":
        return exports.export_trial(spec, trial, adapter=None, confirmed=confirmed, **common)
    common |= {"adapter": adapter, "vllm": servable == "vllm", "confirmed": confirmed}
    if kind == "peft":
        return exports.export_adapter(spec, trial, **common)
    from autopeft.builders.conversions import converter
    from autopeft.export.converted import RANK

    common["rank"] = RANK if rank is None else rank
    return exports.export_converted(
        spec, trial, convert=lambda: converter(spec, trial, adapter), **common
    )


def export_optuna(spec: StudySpec, trials: Sequence[Trial], to: Path) -> Path:
    """Write all trials of a study as an Optuna storage, for optuna-dashboard.

    Raises:
        ExportError: the file is there already.
    """
    from autopeft.search.optuna.written import write_storage

    write_storage(to, spec, trials)
    return to


def push(folder: Path, repository: str, *, public: bool) -> str:
    """Upload an exported folder by the user's own token; returns its address.

    Raises:
        ExportError: the hub does not take it.
    """
    from autopeft.export.hub import push as upload

    return upload(folder, repository, public=public)


def _own_way(spec: StudySpec, trial: Trial) -> str:
    """How to take a trial of the user's own code."""
    if trial.configuration.architecture.modules:
        return "--to FOLDER writes its PEFT config and what that code saved"
    return f"`autopeft show {spec.name} {trial.number} --json` has its parameters"


def _prepared(spec: StudySpec, shape: ModelShape) -> "Prepared":
    from autopeft.export import Prepared
    from autopeft.training.loading.data import load_data
    from autopeft.training.loading.model import load_arguments, processor_arguments, resolve_model
    from autopeft.training.tasks.language import trained_columns

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    return Prepared(
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


def _steps(spec: StudySpec, trial: Trial) -> int:
    """Optimiser steps of a trial's full run."""
    from autopeft.training.inject import total_steps
    from autopeft.training.loading.data import load_data

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    return total_steps(trial.configuration.recipe, len(data.train))
