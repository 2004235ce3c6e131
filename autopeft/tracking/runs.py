"""The MLflow runs of one study: what each event of the outbox writes.

    experiment (named by the study)
    └── parent run        autopeft.study; space, front, hypervolume by trial
        └── run per trial mlflow.parentRunId, autopeft.*; parameters, metrics by step, state

Delivery is at least once, so every write may be repeated: the server is the truth about which
runs exist, found by their tags, and the ids that the store remembers are a cache of it. Client
calls only: the fluent stack is per process and loses parents.

Status of a trial's run: completed -> FINISHED, failed -> FAILED, paused -> RUNNING while the
search goes on (it may be promoted) and KILLED when the study ends.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from mlflow import MlflowClient

from autopeft.domain.architecture import fingerprint
from autopeft.domain.ports import Event, Store
from autopeft.tracking.batches import log_metrics, log_params, metric_key, set_tags, short

_PAGE = 200

_STATUS = {"completed": "FINISHED", "finished": "FINISHED", "failed": "FAILED"}


class StudyRuns:
    """Writes the events of one study.

    One thread at a time. Every method may raise whatever MLflow's client or the store raises;
    the event is then written again later.

    store: keeps the ids (`mlflow.experiment`, `mlflow.run.parent`, `mlflow.run.trial.<n>`), the
        front that was last written (`mlflow.front`) and which server they belong to
        (`mlflow.server`).
    artifact_location: where a new experiment puts its artifacts; None: the server decides.
    """

    def __init__(
        self,
        client: MlflowClient,
        store: Store,
        study: str,
        *,
        experiment: str,
        artifact_location: str | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._study = study
        self._experiment = experiment
        self._artifact_location = artifact_location
        record = store.study(study)
        # Two people may call a study the same on one server; the moment of its making differs.
        self._identity = fingerprint([record.name, record.created])
        self._states: dict[int, str] = {}
        self._study_state = ""  # empty: not asked for yet
        self._ids = self._remembered()

    def forget(self) -> None:
        """Drop all cached ids: the server no longer knows them."""
        self._ids = {}
        self._states = {}
        self._study_state = ""

    def write(self, event: Event) -> None:
        """Write one event; unknown kinds are left out."""
        payload = event.payload
        if event.trial is not None:
            self._resume_study()
        match event.kind, event.trial:
            case "study_started", _:
                self._study_started(event)
            case "study_ended", _:
                self._study_ended(event)
            case "front", _:
                self._front(event)
            case "trial_started", int(trial):
                self._trial_started(trial, event)
            case "curve", int(trial):
                self._revive(trial)
                log_metrics(self._client, self._trial(trial), payload["points"], _ms(event))
            case "rung", int(trial):
                self._rung(trial, event)
            case "trial_ended", int(trial):
                self._trial_ended(trial, event)

    def publish(self, artifacts: Mapping[str, str]) -> None:
        """Put files (name -> text) on the parent run, over those of the same name."""
        parent = self._parent()
        for name, text in artifacts.items():
            self._client.log_text(parent, text, name)

    # The study

    def _study_started(self, event: Event) -> None:
        parent = self._parent(event)
        self._client.update_run(parent, status="RUNNING")
        set_tags(self._client, parent, {"autopeft.state": "running"})
        self._study_state = "running"
        document = event.payload.get("document")
        if document is not None:
            self._client.log_dict(parent, dict(document), "space.json")
            self._client.log_dict(parent, dict(document), "space.yaml")

    def _study_ended(self, event: Event) -> None:
        state = event.payload["state"]
        parent = self._parent(event)
        for run in self._unfinished(parent):
            self._client.set_terminated(run, "KILLED", _ms(event))
        self._states = {}
        self._study_state = state
        tags = {"autopeft.state": state, "autopeft.stopped": event.payload.get("why", "")}
        set_tags(self._client, parent, tags)
        self._client.set_terminated(parent, _STATUS.get(state, "KILLED"), _ms(event))

    def _resume_study(self) -> None:
        """A study whose trials go on runs again, also after its end was told."""
        if self._study_state != "running":
            parent = self._parent()
            if self._client.get_run(parent).data.tags.get("autopeft.state") != "running":
                self._client.update_run(parent, status="RUNNING")
                set_tags(self._client, parent, {"autopeft.state": "running"})
            self._study_state = "running"

    def _unfinished(self, parent: str) -> list[str]:
        """The runs of trials that wait for a promotion or were cut off."""
        runs = self._search(f"tags.\"mlflow.parentRunId\" = '{parent}'")
        return [
            run.info.run_id
            for run in runs
            if run.data.tags.get("autopeft.state") in ("paused", "running")
        ]

    def _front(self, event: Event) -> None:
        payload = event.payload
        told = int(payload["told"])
        front = sorted(int(number) for number in payload["trials"])
        parent = self._parent(event)
        self._metrics(
            parent,
            {"hypervolume": payload["hypervolume"], "trials": told, "front_size": len(front)},
            told,
            event,
        )
        before = set(json.loads(self._store.recall(self._study).get("mlflow.front", "[]")))
        for trial in sorted(before ^ set(front)):
            set_tags(self._client, self._trial(trial), {"autopeft.on_front": _flag(trial in front)})
        self._store.remember(self._study, "mlflow.front", json.dumps(front))

    # A trial

    def _trial_started(self, trial: int, event: Event) -> None:
        payload = event.payload
        run = self._trial(trial, event)
        self._revive(trial)
        log_params(self._client, run, payload.get("params", {}))
        there = {**payload.get("known", {}), **payload.get("promised", {})}
        self._metrics(run, there, 0, event)

    def _rung(self, trial: int, event: Event) -> None:
        payload = event.payload
        metrics = {
            **payload["metrics"],
            **{f"{name}_stderr": value for name, value in payload.get("stderr", {}).items()},
            "rung": payload["rung"],
            "rung_seconds": payload.get("seconds", 0.0),
        }
        self._metrics(self._trial(trial, event), metrics, int(payload["step"]), event)

    def _trial_ended(self, trial: int, event: Event) -> None:
        payload = event.payload
        state = payload["state"]
        run = self._trial(trial, event)
        # The rungs have written the metrics with their steps; here only what none of them had.
        there = self._client.get_run(run).data.metrics
        metrics = payload.get("metrics") or {}
        self._metrics(
            run, {k: v for k, v in metrics.items() if metric_key(k) not in there}, 0, event
        )
        failure = payload.get("failure") or {}
        tags = {f"autopeft.failure.{name}": failure[name] for name in sorted(failure)}
        if payload.get("adapter"):
            tags["autopeft.adapter"] = payload["adapter"]
        set_tags(self._client, run, {**tags, "autopeft.state": state})
        if state in _STATUS:
            self._client.set_terminated(run, _STATUS[state], _ms(event))
        self._states[trial] = state

    def _revive(self, trial: int) -> None:
        """A paused trial that was promoted runs again, also after its study had ended."""
        run = self._trial(trial)
        if trial not in self._states:
            tags = self._client.get_run(run).data.tags
            self._states[trial] = tags.get("autopeft.state", "running")
        if self._states[trial] == "paused":
            self._client.update_run(run, status="RUNNING")
            set_tags(self._client, run, {"autopeft.state": "running"})
            self._states[trial] = "running"

    def _metrics(self, run: str, metrics: Mapping[str, Any], step: int, event: Event) -> None:
        log_metrics(self._client, run, [(step, metrics)], _ms(event))

    # Ids

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
            return str(self._client.create_experiment(self._experiment, self._artifact_location))
        if found.lifecycle_stage != "active":
            # A deleted experiment keeps its name: no other can be made in its place.
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _parent(self, event: Event | None = None) -> str:
        def find() -> str:
            found = self._search(f"tags.\"autopeft.study_id\" = '{self._identity}'")
            if found:
                return str(found[0].info.run_id)
            tags = {"autopeft.study": self._study, "autopeft.study_id": self._identity}
            return self._create(self._study, tags, event)

        return self._id("mlflow.run.parent", find)

    def _trial(self, trial: int, event: Event | None = None) -> str:
        def find() -> str:
            parent = self._parent()
            found = self._search(
                f"tags.\"mlflow.parentRunId\" = '{parent}' and tags.\"autopeft.trial\" = '{trial}'"
            )
            if found:
                return str(found[0].info.run_id)
            payload = event.payload if event and event.kind == "trial_started" else {}
            self._states[trial] = "running"
            name = payload.get("name", "")
            return self._create(
                f"#{trial} {name}".strip(), self._trial_tags(trial, parent, payload), event
            )

        return self._id(f"mlflow.run.trial.{trial}", find)

    def _trial_tags(self, trial: int, parent: str, payload: Mapping[str, Any]) -> dict[str, str]:
        return {
            "mlflow.parentRunId": parent,
            "autopeft.trial": str(trial),
            "autopeft.study": self._study,
            "autopeft.state": "running",
            "autopeft.on_front": "false",
            "autopeft.baseline": _flag(bool(payload.get("baseline"))),
            "autopeft.branch": str(payload.get("branch", "")),
            "autopeft.seed": str(payload.get("seed", "")),
            "autopeft.confirms": _number(payload.get("confirms")),
            "autopeft.why": str(payload.get("why", "")),
        }

    def _create(self, name: str, tags: Mapping[str, str], event: Event | None) -> str:
        tags = {name: short(tag) for name, tag in tags.items()}
        tags["mlflow.source.name"] = "autopeft"
        start = None if event is None else _ms(event)
        run = self._client.create_run(
            self._experiment_id(), start_time=start, tags=tags, run_name=name
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


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _flag(on: bool) -> str:
    return "true" if on else "false"


def _ms(event: Event) -> int:
    return int(event.time * 1000)
