"""Which runs of MLflow are whose: found by their tags, made where they are missing.

The server is the truth about which runs exist; the ids that the store remembers are a cache of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mlflow import MlflowClient

from autopeft.domain.architecture import fingerprint
from autopeft.domain.ports import Store
from autopeft.tracking.batches import short

_PAGE = 200
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow 3 opens the experiment as one of traces and judges."""


class Finder:
    """The experiment and the runs of one study.

    artifact_location: where a new experiment puts its artifacts; None: the server decides.
    """

    def __init__(
        self,
        client: MlflowClient,
        store: Store,
        study: str,
        experiment: str,
        artifact_location: str | None,
    ) -> None:
        self._client = client
        self._store = store
        self._study = study
        self._experiment = experiment
        self._artifact_location = artifact_location
        record = store.study(study)
        # Two people may call a study the same on one server; the moment of its making differs.
        self._identity = fingerprint([record.name, record.created])
        self._owner = record.owner
        self._ids = self._remembered()

    def forget(self) -> None:
        """Drop all cached ids."""
        self._ids = {}

    def parent(self, start_ms: int | None = None) -> str:
        """The study's run. start_ms: of a new one."""

        def find() -> str:
            found = self._search(f"tags.\"autopeft.study_id\" = '{self._identity}'")
            if found:
                return str(found[0].info.run_id)
            tags = {"autopeft.study": self._study, "autopeft.study_id": self._identity}
            return self._create(self._study, tags, start_ms)

        return self._id("mlflow.run.parent", find)

    def trial(self, trial: int, name: str, tags: Mapping[str, str], start_ms: int | None) -> str:
        """A trial's run. name, tags, start_ms: of a new one."""

        def find() -> str:
            parent = self.parent()
            found = self._search(
                f"tags.\"mlflow.parentRunId\" = '{parent}' and tags.\"autopeft.trial\" = '{trial}'"
            )
            if found:
                return str(found[0].info.run_id)
            place = {
                "mlflow.parentRunId": parent,
                "autopeft.trial": str(trial),
                "autopeft.study": self._study,
            }
            return self._create(name, {**place, **tags}, start_ms)

        return self._id(f"mlflow.run.trial.{trial}", find)

    def children(self, parent: str) -> list[Any]:
        return self._search(f"tags.\"mlflow.parentRunId\" = '{parent}'")

    def _remembered(self) -> dict[str, str]:
        server = fingerprint(self._client.tracking_uri)
        facts = self._store.recall(self._study)
        if facts.get("mlflow.server") == server:
            return {k: v for k, v in facts.items() if k.startswith("mlflow.")}
        # Another server than before: it knows none of the ids and none of the front's tags.
        self._store.remember(self._study, "mlflow.front", "[]")
        self._store.remember(self._study, "mlflow.server", server)
        return {}

    def _id(self, key: str, find: Callable[[], str]) -> str:
        if key not in self._ids:
            value = find()
            self._store.remember(self._study, key, value)
            self._ids[key] = value
        return self._ids[key]

    def _experiment_id(self) -> str:
        return self._id("mlflow.experiment", self._find_experiment)

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            location = self._artifact_location
            return str(self._client.create_experiment(self._experiment, location, tags=_KIND))
        if found.lifecycle_stage != "active":
            # A deleted experiment keeps its name: no other can be made in its place.
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _create(self, name: str, tags: Mapping[str, str], start_ms: int | None) -> str:
        tags = {name: short(tag) for name, tag in tags.items()}
        tags["mlflow.source.name"] = "autopeft"
        if self._owner:  # "Created by" in MLflow's tables
            tags["mlflow.user"] = self._owner
        run = self._client.create_run(
            self._experiment_id(), start_time=start_ms, tags=tags, run_name=name
        )
        return str(run.info.run_id)

    def _search(self, condition: str) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id()], condition, max_results=_PAGE, page_token=token
            )
            found.extend(page)
            token = page.token
            if not token:
                return found
