"""What a study shows: to MLflow, and to the explorer."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from autopeft.builders.places import adapter_folder, place_of
from autopeft.builders.problems import bound, problem
from autopeft.domain.errors import ArtifactError, AutopeftError
from autopeft.domain.ports import Problem, Store
from autopeft.domain.results.front import front
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.explorer import explorer_document
from autopeft.home import Home
from autopeft.records import spec_of
from autopeft.tracking.untracked import Untracked

if TYPE_CHECKING:
    from autopeft.tracking.mlflow import MlflowTracker


_SYNC_S = 300

log = logging.getLogger("autopeft")


def tracker_of(spec: StudySpec, home: Home, store: Store) -> "MlflowTracker | Untracked":
    if find_spec("mlflow") is None:
        return Untracked()
    from autopeft.tracking.mlflow import MlflowTracker

    return MlflowTracker(store, spec.name, **_tracking(spec, home, store))


def deliver(spec: StudySpec, home: Home, store: Store) -> int:
    """Deliver to MLflow what it has missed; returns the number of events that are left."""
    from autopeft.tracking.mlflow import deliver as deliver_events

    return deliver_events(store, spec.name, timeout_s=_SYNC_S, **_tracking(spec, home, store))


def _tracking(spec: StudySpec, home: Home, store: Store) -> dict[str, Any]:
    """Where a study is tracked, and what is shown there beside its trials."""
    from autopeft.report.description import description
    from autopeft.report.front import front_json
    from autopeft.report.layer_map import layer_map
    from autopeft.report.page import explorer_page
    from autopeft.tracking.shown import Member, Shown

    document = study_explorer(spec, store)

    def member(trial: Trial) -> Member:
        ranks = trial.provenance.get("ranks")
        shown = Member(files={"layer_map.html": layer_map(trial.configuration.architecture, ranks)})
        url = place_of(spec.name, store)
        if url is not None and store.study(spec.name).state == "running":
            return shown  # the front moves: what is fetched now may never be shown
        try:
            adapter = adapter_folder(home, spec.name, trial.number, url)
        except ArtifactError as error:
            log.warning("MLflow does not get the adapter of trial %d: %s", trial.number, error)
            return shown
        place = None if url is None else f"{url}/{spec.name}/adapters/trial-{trial.number}"
        return replace(shown, adapter=adapter if adapter.is_dir() else None, place=place)

    def show() -> Shown:
        trials = store.history(spec.name)
        members = front(spec.objectives, spec.constraints, trials)
        return Shown(
            note=description(spec, trials),
            files={
                "front.json": front_json(spec.objectives, trials, [t.number for t in members]),
                "front.html": explorer_page(document()),
            },
            members={trial.number: member(trial) for trial in members},
        )

    return {"show": show, **tracking_place(spec, home)}


def tracking_place(spec: StudySpec, home: Home) -> dict[str, Any]:
    """Where a study's runs are."""
    return {
        "uri": home.mlflow_uri,
        "experiment": os.environ.get("MLFLOW_EXPERIMENT_NAME", spec.name),
        "artifact_location": home.mlflow_artifacts,
    }


def study_explorer(spec: StudySpec, store: Store) -> Callable[[], dict[str, Any]]:
    """What gives the explorer's document of a study, as the store has it when it is called."""

    def asked() -> tuple[Problem, tuple[str, ...]]:
        checked, shape = bound(spec)
        return problem(checked, shape), shape.head

    return explorer_document(spec, store, asked)


def store_metrics(store: Store) -> Callable[[], bytes]:
    """What Prometheus reads of all studies of a store.

    Without prometheus_client it raises the AutopeftError that says so when it is called: the
    explorer does without.
    """
    from autopeft.metrics import StoreMetrics

    try:
        return StoreMetrics(store).text
    except AutopeftError as error:
        missing = error

        def refuse() -> bytes:
            raise missing

        return refuse


class StudyExplorers:
    """The explorer's documents of all studies of a store, for its server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents: dict[str, Callable[[], dict[str, Any]]] = {}

    def names(self) -> Sequence[tuple[str, str]]:
        return [(record.name, record.state) for record in self._store.studies()]

    def document(self, name: str) -> dict[str, Any]:
        """Raises:
        AutopeftError: there is no such study, or what it was made from cannot be read.
        """
        if name not in self._documents:
            spec = spec_of(self._store.study(name))
            self._documents[name] = study_explorer(spec, self._store)
        return self._documents[name]()


def modelled(spec: StudySpec, trials: Sequence[Trial]) -> list[Trial]:
    """The completed configurations as the search's model believes them to be."""
    from autopeft.search.insight.shrinkage import modelled as believed

    return believed(problem(*bound(spec)), trials)
