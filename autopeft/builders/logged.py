"""A trial's model for MLflow: the adapter merged into its base, as transformers loads it."""

from pathlib import Path

from autopeft.builders.tracked import deliver, tracking_place
from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.ports import Store
from autopeft.domain.rules.fit import loads_quantised
from autopeft.domain.rules.serving import unmerged_because
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.home import Home
from autopeft.hygiene import public_url

PIPELINES = {
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "CAUSAL_LM": "text-generation",
}
"""What MLflow serves of the kinds of task; transformers 5 has no pipeline from text to text."""


def log_model(
    spec: StudySpec,
    shape: ModelShape,
    trial: Trial,
    adapter: Path,
    home: Home,
    store: Store,
    *,
    register: str | None = None,
) -> str:
    """Log a completed trial's model with its run; returns MLflow's URI of it.

    The adapter is merged: MLflow cannot load one with a trained head beside its base.

    Raises:
        ExportError: it cannot be merged, MLflow has no pipeline for the task, or its weights
            were not kept.
    """
    check_loggable(spec, shape, trial)
    from autopeft.export.folder import check_trained
    from autopeft.tracking.models import log_model as log
    from autopeft.training.merged import merged

    check_trained(spec, trial, adapter)
    if left := deliver(spec, home, store):
        raise ExportError(
            f"MLflow at {public_url(home.mlflow_uri)} did not take {left} events of the study: "
            "start it, and try again"
        )
    components = merged(spec, adapter, head=shape.head, seed=trial.seed)
    return log(
        store,
        spec.name,
        trial.number,
        components,
        pipeline=PIPELINES[spec.task.task_type],
        register=register,
        **tracking_place(spec, home),
    )


def check_loggable(spec: StudySpec, shape: ModelShape, trial: Trial) -> None:
    """Raises:
    ExportError: see `log_model`; known before anything is loaded.
    """
    if spec.evaluator is not None:
        raise ExportError(
            f"--to mlflow needs a trial that autopeft trained, study {spec.name} trains by code of "
            "its own: log its model there"
        )
    architecture = trial.configuration.architecture
    if spec.task.task_type not in PIPELINES:
        raise ExportError(
            f"--to mlflow takes {', '.join(PIPELINES)}, got {spec.task.name}: MLflow has no "
            "pipeline for it. Take --to peft"
        )
    if architecture.full_fine_tuning or architecture.frozen:
        raise ExportError("--to mlflow takes an adapter, the trial has none: take --to FOLDER")
    if reason := unmerged_because(architecture, shape, quantized=loads_quantised(spec.model)):
        raise ExportError(
            f"--to mlflow merges the adapter into its base, which trial {trial.number} does not "
            f"take: {reason}. Take --to peft, or another trial"
        )
