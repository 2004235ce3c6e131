"""The MLflow runs of one study: what each event of the outbox writes.

    experiment (named by the study)
    └── parent run        autopeft.study; description, space, front, hypervolume and best by trial
        └── run per trial mlflow.parentRunId, autopeft.*; parameters, metrics by step, state;
                          of the front: layer_map.html, adapter/

Delivery is at least once, so every write may be repeated. Client calls only: the fluent stack is
per process and loses parents.

Status of a trial's run: completed -> FINISHED, failed -> FAILED, paused -> RUNNING while the
search goes on (it may be promoted) and KILLED when the study ends.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient

from autopeft.domain.ports import Event, Store
from autopeft.tracking.batches import log_metrics, log_params, metric_key, set_tags
from autopeft.tracking.finding import Finder
from autopeft.tracking.shown import Member, Shown

_LARGEST_ADAPTER = 512 * 2**20
"""Bytes; a larger folder is named by a tag and stays where it is."""
_NOTE = "mlflow.note.content"

_log = logging.getLogger(__name__)

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
        self._find = Finder(client, store, study, experiment, artifact_location)
        self._states: dict[int, str] = {}
        self._study_state = ""  # empty: not asked for yet

    def forget(self) -> None:
        """Drop all cached ids: the server no longer knows them."""
        self._find.forget()
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

    def publish(self, shown: Shown) -> None:
        """Put the description and the files on the parent run, over those that are there.

        What belongs to the front's members follows once the study has ended: the front moves.
        """
        parent = self._parent()
        if shown.note:
            self._client.set_tag(parent, _NOTE, shown.note)
        for name, text in shown.files.items():
            self._client.log_text(parent, text, name)
        if self._state() != "running":
            for trial, member in shown.members.items():
                self._publish_member(trial, member)

    def _publish_member(self, trial: int, member: Member) -> None:
        run = self._trial(trial)
        for name, text in member.files.items():
            self._client.log_text(run, text, name)
        key = f"mlflow.adapter.{trial}"
        if member.adapter is None or self._store.recall(self._study).get(key) == run:
            return
        place = member.place or member.adapter
        set_tags(self._client, run, {"autopeft.adapter": place})
        size = sum(file.stat().st_size for file in member.adapter.rglob("*") if file.is_file())
        if size > _LARGEST_ADAPTER:
            _log.warning(
                "the adapter of trial %s is not sent to MLflow: %.1f GiB, the limit is %.1f; it "
                "stays in %s",
                *(trial, size / 2**30, _LARGEST_ADAPTER / 2**30, place),
            )
        else:
            self._client.log_artifacts(run, str(member.adapter), "adapter")
        self._store.remember(self._study, key, run)

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
        why = event.payload.get("why")
        stopped = {"autopeft.stopped": why} if why else {}
        set_tags(self._client, parent, {"autopeft.state": state, **stopped})
        self._client.set_terminated(parent, _STATUS.get(state, "KILLED"), _ms(event))

    def _resume_study(self) -> None:
        """A study whose trials go on runs again, also after its end was told."""
        if self._study_state != "running":
            if self._state() != "running":
                parent = self._parent()
                self._client.update_run(parent, status="RUNNING")
                set_tags(self._client, parent, {"autopeft.state": "running"})
            self._study_state = "running"

    def _state(self) -> str:
        """Of the study, as the server has it."""
        if not self._study_state:
            tags = self._client.get_run(self._parent()).data.tags
            self._study_state = tags.get("autopeft.state", "")
        return self._study_state

    def _unfinished(self, parent: str) -> list[str]:
        """The runs of trials that wait for a promotion or were cut off."""
        return [
            run.info.run_id
            for run in self._find.children(parent)
            if run.data.tags.get("autopeft.state") in ("paused", "running")
        ]

    def _front(self, event: Event) -> None:
        payload = event.payload
        told = int(payload["told"])
        front = sorted(int(number) for number in payload["trials"])
        parent = self._parent(event)
        self._metrics(
            parent,
            {
                "hypervolume": payload["hypervolume"],
                "trials": told,
                "front_size": len(front),
                **{f"best_{name}": value for name, value in payload.get("best", {}).items()},
            },
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

    def _parent(self, event: Event | None = None) -> str:
        return self._find.parent(None if event is None else _ms(event))

    def _trial(self, trial: int, event: Event | None = None) -> str:
        payload = event.payload if event and event.kind == "trial_started" else {}
        name = f"#{trial} {payload.get('name', '')}".strip()
        start = None if event is None else _ms(event)
        return self._find.trial(trial, name, _trial_tags(payload), start)


def _trial_tags(payload: Mapping[str, Any]) -> dict[str, str]:
    tags = {
        "autopeft.state": "running",
        "autopeft.on_front": "false",
        "autopeft.baseline": _flag(bool(payload.get("baseline"))),
        "autopeft.branch": str(payload.get("branch", "")),
        "autopeft.seed": str(payload.get("seed", "")),
        "autopeft.confirms": _number(payload.get("confirms")),
        "autopeft.why": str(payload.get("why", "")),
    }
    return {name: text for name, text in tags.items() if text}


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _flag(on: bool) -> str:
    return "true" if on else "false"


def _ms(event: Event) -> int:
    return int(event.time * 1000)
