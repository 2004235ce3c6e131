"""Delivery to a real `mlflow server` that is late, slow, or dies."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow_server import MlflowServer
from outbox import (
    Clock,
    MemoryStore,
    front,
    study_ended,
    study_started,
    trial_started,
    whole_trial,
)

import autopeft.tracking.mlflow as tracking
from autopeft.tracking.mlflow import MlflowTracker
from autopeft.tracking.shown import Shown

WARNING_OF_ABSENCE = "does not take events"


def wait_until(reached: Callable[[], bool], timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, f"not reached within {timeout_s} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "LONGEST_WAIT_S", 0.3)


def tracker(store: MemoryStore, uri: str) -> MlflowTracker:
    return MlflowTracker(
        store,
        store.record.name,
        uri=uri,
        experiment=store.record.name,
        show=lambda: Shown(files={"front.html": "<p>front</p>"}),
        every_s=0.02,
    )


def children(uri: str, study: str) -> tuple[Any, list[Any]]:
    """The parent run of the study and its trials by number."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    ids = [experiment.experiment_id]
    (parent,) = client.search_runs(
        ids, f"tags.\"autopeft.study\" = '{study}' and tags.\"autopeft.study_id\" != ''"
    )
    found = client.search_runs(ids, f"tags.\"mlflow.parentRunId\" = '{parent.info.run_id}'")
    return parent, sorted(found, key=lambda run: int(run.data.tags["autopeft.trial"]))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "autopeft.tracking.mlflow"]


@pytest.mark.slow
def test_a_server_that_comes_late_gets_everything(
    server: MlflowServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock, store = Clock(), MemoryStore("late")
    events = [study_started(clock), *whole_trial(clock, 0), *whole_trial(clock, 1)]
    store.commit("late", [], [*events, front(clock, 1, told=2), study_ended(clock)])
    delivery = tracker(store, server.uri)
    delivery.start()
    wait_until(lambda: bool(warnings_of(caplog)))
    time.sleep(1)
    assert len(store.undelivered("late", 100)) == 13
    server.start()
    server.wait()
    wait_until(lambda: not store.undelivered("late", 1))
    assert delivery.close(10) == 0
    assert len(warnings_of(caplog)) == 2
    assert WARNING_OF_ABSENCE in warnings_of(caplog)[0]
    assert warnings_of(caplog)[1] == f"MLflow at {server.uri} is back"
    parent, trials = children(server.uri, "late")
    assert [run.data.tags["autopeft.on_front"] for run in trials] == ["false", "true"]
    assert [run.info.status for run in [parent, *trials]] == ["FINISHED"] * 3
    client = MlflowClient(tracking_uri=server.uri)
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert names == {"space.json", "space.yaml", "front.html"}


@pytest.mark.slow
def test_a_server_that_is_killed_half_way_loses_and_doubles_nothing(server: MlflowServer) -> None:
    server.start()
    server.wait()
    clock, store = Clock(), MemoryStore("killed")
    events = [study_started(clock)]
    for number in range(12):
        events += [*whole_trial(clock, number), front(clock, number, told=number + 1)]
    store.commit("killed", [], [*events, study_ended(clock)])
    delivery = tracker(store, server.uri)
    delivery.start()
    wait_until(lambda: "mlflow.run.trial.5" in store.facts)
    server.kill()
    assert store.undelivered("killed", 1)
    server.start()
    server.wait()
    wait_until(lambda: not store.undelivered("killed", 1))
    assert delivery.close(10) == 0
    parent, trials = children(server.uri, "killed")
    assert [int(run.data.tags["autopeft.trial"]) for run in trials] == list(range(12))
    assert {run.info.status for run in trials} == {"FINISHED"}
    client = MlflowClient(tracking_uri=server.uri)
    for run in trials:
        steps = [row.step for row in client.get_metric_history(run.info.run_id, "accuracy")]
        assert steps == [10, 20]
    told = [row.step for row in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert told == list(range(1, 13))


@pytest.mark.slow
def test_a_later_driver_delivers_what_an_earlier_one_left(server: MlflowServer) -> None:
    clock, store = Clock(), MemoryStore("later")
    store.commit("later", [], [study_started(clock), trial_started(clock, 0)])
    away = tracker(store, "http://127.0.0.1:9")
    away.start()
    assert away.close(5) == 2
    server.start()
    server.wait()
    back = tracker(store, server.uri)
    back.start()
    assert back.close(20) == 0
    assert len(children(server.uri, "later")[1]) == 1


def test_a_server_that_never_answers_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        clock, store = Clock(), MemoryStore("slow")
        delivery = tracker(store, f"http://127.0.0.1:{silent.getsockname()[1]}")
        delivery.start()
        store.commit("slow", [], [study_started(clock)])
        time.sleep(0.2)
        began = time.monotonic()
        assert delivery.close(0.5) == 1
        assert time.monotonic() - began < 1.5


def test_passwords_of_the_address_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore("secret")
    store.commit("secret", [], [study_started(Clock())])
    delivery = tracker(store, "http://ann:hunter2@127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        delivery.start()
        assert delivery.close(5) == 1
    assert WARNING_OF_ABSENCE in caplog.text
    assert "127.0.0.1:9" in caplog.text
    assert "hunter2" not in caplog.text
