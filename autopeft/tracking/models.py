"""A model of a study in MLflow: logged with its trial's run, and registered where asked for."""

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from mlflow import MlflowClient

from autopeft.domain.ports import Store
from autopeft.tracking.finding import Finder
from autopeft.tracking.mlflow import absolute, prepare

_NEEDED = ("torch", "transformers", "accelerate")


def log_model(
    store: Store,
    study: str,
    trial: int,
    components: Mapping[str, Any],
    *,
    pipeline: str,
    uri: str,
    experiment: str,
    artifact_location: str | os.PathLike[str] | None,
    register: str | None = None,
) -> str:
    """Log a model of transformers with the run of its trial; returns its URI (`models:/m-...`).

    `mlflow.transformers.load_model` and `mlflow.pyfunc.load_model` load it by that, and by
    `models:/NAME/VERSION` where it was registered.

    Args:
        components: `model`, and its `tokenizer` or `image_processor`.
        pipeline: transformers' name of what is done with it.
        register: name of the registered model that this becomes the next version of.
    """
    import mlflow

    prepare()
    client = MlflowClient(tracking_uri=uri)
    location = absolute(artifact_location)
    run = Finder(client, store, study, experiment, location).trial(trial, "", {}, None)
    before = client.get_run(run).info
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run(run_id=run):
        logged = mlflow.transformers.log_model(
            dict(components),
            name="model",
            task=pipeline,
            # Named here: MLflow would find them by loading the model in another process.
            pip_requirements=[f"{name}=={version(name)}" for name in _NEEDED],
            registered_model_name=register,
        )
    # The fluent run began and ended now: the trial's own end is put back.
    client.set_terminated(run, before.status, before.end_time)
    return str(logged.model_uri)
