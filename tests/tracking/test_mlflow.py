"""Events into a real SQLite tracking store."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from outbox import (
    Clock,
    MemoryStore,
    curve,
    front,
    rung,
    study_ended,
    study_started,
    trial_ended,
    trial_started,
    whole_trial,
)

from autopeft.domain.ports import Event
from autopeft.tracking.mlflow import MlflowTracker, deliver
from autopeft.tracking.shown import Member, Shown

ARTIFACTS = Shown("# tiny", {"front.json": "{}", "front.html": "<p>front</p>"})


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking database without runs; making one takes seconds, copying does not."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(empty_database: Path, tmp_path: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def send(uri: str, tmp_path: Path) -> Iterator[Callable[..., MemoryStore]]:
    """Deliver events of one store, in as many drivers as calls."""
    store = MemoryStore()

    def deliver_events(*events: Event, show: Any = lambda: ARTIFACTS) -> MemoryStore:
        store.commit("tiny", [], events)
        left = deliver(
            store,
            "tiny",
            uri=uri,
            experiment="tiny",
            show=show,
            timeout_s=30,
            artifact_location=tmp_path / "mlartifacts",
        )
        assert left == 0
        return store

    return deliver_events


def runs(uri: str, condition: str = "") -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return sorted(
        client.search_runs([experiment.experiment_id], condition),
        key=lambda run: int(run.data.tags.get("autopeft.trial", -1)),
    )


def trial_run(uri: str, trial: int) -> Any:
    (run,) = runs(uri, f"tags.\"autopeft.trial\" = '{trial}'")
    return run


def parent_run(uri: str) -> Any:
    (run,) = runs(uri, "tags.\"autopeft.study_id\" != ''")
    return run


def history(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    rows = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, metric)
    return sorted((row.step, row.value) for row in rows)


def test_a_study_is_a_parent_run_with_a_child_per_trial(uri: str, send: Any, clock: Clock) -> None:
    send(
        study_started(clock),
        *whole_trial(clock, 0),
        *whole_trial(clock, 1),
        study_ended(clock),
    )
    parent = parent_run(uri)
    children = runs(uri, f"tags.\"mlflow.parentRunId\" = '{parent.info.run_id}'")
    assert [run.data.tags["autopeft.trial"] for run in children] == ["0", "1"]
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    child = children[1]
    assert child.data.tags["mlflow.runName"] == "#1 lora r1 q,v L0-5 lr 1e-3"
    assert child.data.tags["autopeft.branch"] == "lora"
    assert child.data.tags["autopeft.baseline"] == "false"
    assert child.data.tags["autopeft.why"] == "initial design"
    assert child.data.params == {"lora.r": "1", "learning_rate": "0.001"}
    assert child.data.metrics["accuracy"] == pytest.approx(0.71)
    assert child.data.metrics["accuracy_stderr"] == pytest.approx(0.01)
    assert history(uri, child, "loss") == [(5, 0.9), (10, 0.8)]
    assert [step for step, _ in history(uri, child, "accuracy")] == [10, 20]
    assert history(uri, child, "adapter_params")[0] == (0, 1001)


def test_what_a_trial_promised_is_a_metric_and_why_a_search_stopped_a_tag(
    uri: str, send: Any, clock: Clock
) -> None:
    promised = {"expected_gain": 0.01, "expected_left": 0.2}
    send(
        study_started(clock),
        trial_started(clock, 0, promised=promised),
        trial_ended(clock, 0),
        Event("study_ended", None, clock(), {"state": "finished", "why": "enough"}),
    )
    parent = parent_run(uri)
    assert parent.data.tags["autopeft.stopped"] == "enough"
    (child,) = runs(uri, f"tags.\"mlflow.parentRunId\" = '{parent.info.run_id}'")
    assert {name: child.data.metrics[name] for name in promised} == promised


def test_the_parent_holds_the_space_the_front_and_hypervolume_by_trial(
    uri: str, send: Any, clock: Clock, tmp_path: Path
) -> None:
    send(
        study_started(clock),
        *whole_trial(clock, 0),
        front(clock, 0, told=1, hypervolume=0.2),
        *whole_trial(clock, 1),
        front(clock, 0, 1, told=2, hypervolume=0.3),
        study_ended(clock),
    )
    parent = parent_run(uri)
    assert history(uri, parent, "hypervolume") == [(1, 0.2), (2, 0.3)]
    assert parent.data.metrics["trials"] == 2
    files = {path.name: path for path in (tmp_path / "mlartifacts").rglob("*.*")}
    assert set(files) == {"space.json", "space.yaml", "front.json", "front.html"}
    assert json.loads(files["space.json"].read_text())["study"] == "tiny"
    assert files["front.html"].read_text() == "<p>front</p>"


def test_only_the_trials_that_enter_or_leave_the_front_are_tagged_anew(
    uri: str, send: Any, clock: Clock
) -> None:
    send(*(event for n in range(3) for event in whole_trial(clock, n)))
    assert [run.data.tags.get("autopeft.on_front") for run in runs(uri)[1:]] == ["false"] * 3
    send(front(clock, 0, 1, told=3))
    send(front(clock, 1, 2, told=3))
    on_front = [run.data.tags.get("autopeft.on_front") for run in runs(uri)[1:]]
    assert on_front == ["false", "true", "true"]


def test_the_best_so_far_is_a_chart_and_the_front_a_description(
    uri: str, send: Any, clock: Clock
) -> None:
    moved = front(clock, 0, told=1)
    best = {"accuracy": 0.7, "accuracy_within_house": 0.6}
    send(
        study_started(clock),
        *whole_trial(clock, 0),
        replace(moved, payload={**moved.payload, "best": best}),
    )
    parent = parent_run(uri)
    assert parent.data.tags["mlflow.note.content"] == "# tiny"
    assert history(uri, parent, "best_accuracy") == [(1, 0.7)]
    assert history(uri, parent, "best_accuracy_within_house") == [(1, 0.6)]
    experiment = MlflowClient(tracking_uri=uri).get_experiment_by_name("tiny")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_members_of_the_front_get_their_adapter_once_the_study_has_ended(
    uri: str, send: Any, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = tmp_path / "adapters" / "trial-1"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    member = Member({"layer_map.html": "<table>"}, adapter)
    shown = Shown(members={0: Member(), 1: member})
    trials = [*whole_trial(clock, 0), *whole_trial(clock, 1)]
    send(study_started(clock), *trials, front(clock, 0, 1, told=2), show=lambda: shown)
    client, run = MlflowClient(tracking_uri=uri), trial_run(uri, 1).info.run_id
    assert client.list_artifacts(run) == []
    send(study_ended(clock), show=lambda: shown)
    assert {file.path for file in client.list_artifacts(run)} == {"adapter", "layer_map.html"}
    assert [f.path for f in client.list_artifacts(run, "adapter")] == [
        "adapter/adapter_config.json"
    ]
    assert client.get_run(run).data.tags["autopeft.adapter"] == str(adapter)
    assert client.list_artifacts(trial_run(uri, 0).info.run_id) == []
    (adapter / "more").write_text("")  # what is there is not sent again
    send(study_ended(clock), show=lambda: shown)
    assert len(client.list_artifacts(run, "adapter")) == 1


def test_an_adapter_that_is_too_large_stays_where_it_is(
    uri: str,
    send: Any,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("autopeft.tracking.runs._LARGEST_ADAPTER", 3)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_text("four")
    place = "s3://bucket/small/adapters/trial-0"  # what lies here is a copy
    shown = Shown(members={0: Member(adapter=tmp_path / "adapter", place=place)})
    send(*whole_trial(clock, 0), front(clock, 0, told=1), study_ended(clock), show=lambda: shown)
    run = trial_run(uri, 0)
    assert MlflowClient(tracking_uri=uri).list_artifacts(run.info.run_id) == []
    assert run.data.tags["autopeft.adapter"] == place
    assert f"it stays in {place}" in caplog.text


def test_delivering_everything_twice_changes_nothing(uri: str, send: Any, clock: Clock) -> None:
    events = [
        study_started(clock),
        *whole_trial(clock, 0),
        front(clock, 0, told=1),
        trial_started(clock, 1),
        rung(clock, 1, 0, 10, 0.5),
        trial_ended(clock, 1, "paused"),
        study_ended(clock),
    ]
    store = send(*events)
    before = [(run.info.run_id, run.info.status, run.data.to_dictionary()) for run in runs(uri)]
    store.taken.clear()
    send()
    after = [(run.info.run_id, run.info.status, run.data.to_dictionary()) for run in runs(uri)]
    assert after == before
    assert history(uri, trial_run(uri, 0), "loss") == [(5, 0.9), (10, 0.8)]


def test_a_run_whose_id_was_lost_is_found_and_not_made_again(
    uri: str, send: Any, clock: Clock
) -> None:
    store = send(study_started(clock), *whole_trial(clock, 0))
    store.facts.clear()
    store.taken.clear()
    send()
    assert len(runs(uri)) == 2


def test_an_answer_that_is_lost_after_a_run_was_made_makes_no_second_run(
    uri: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, lost = MlflowClient.create_run, []

    def create_and_lose(client: MlflowClient, *args: Any, **more: Any) -> Any:
        run = create(client, *args, **more)
        if len(lost) < 2:
            lost.append(run)
            raise MlflowException("API request failed with timeout exception")
        return run

    monkeypatch.setattr(MlflowClient, "create_run", create_and_lose)
    store = MemoryStore()
    store.commit("tiny", [], [study_started(clock), *whole_trial(clock, 0)])
    tracker = MlflowTracker(
        store,
        "tiny",
        uri=uri,
        experiment="tiny",
        show=Shown,
        every_s=0.01,
        artifact_location=tmp_path / "mlartifacts",
    )
    tracker.start()
    end = time.monotonic() + 20
    while store.undelivered("tiny", 1) and time.monotonic() < end:
        time.sleep(0.02)
    assert tracker.close(10) == 0
    assert len(lost) == 2
    assert len(runs(uri)) == 2


def test_a_parameter_keeps_its_first_value(uri: str, send: Any, clock: Clock) -> None:
    send(trial_started(clock, 0, params={"lora.r": 4}))
    send(trial_started(clock, 0, params={"lora.r": 8, "bias": "none"}))
    assert trial_run(uri, 0).data.params == {"lora.r": "4", "bias": "none"}


def test_long_values_go_to_an_artifact(uri: str, send: Any, clock: Clock, tmp_path: Path) -> None:
    params = {"lora.targets": "x" * 501, "lora.r": 4, "odd[0]:name": 1}
    send(trial_started(clock, 0, params=params))
    assert trial_run(uri, 0).data.params == {"lora.r": "4", "odd_0__name": "1"}
    (path,) = tmp_path.rglob("params.json")
    assert json.loads(path.read_text()) == params


def test_hundreds_of_parameters_and_thousands_of_points_arrive(
    uri: str, send: Any, clock: Clock
) -> None:
    points = [(step, {"loss": step / 7}) for step in range(1500)]
    params = {f"p{n}": n for n in range(250)}
    send(trial_started(clock, 0, params=params), curve(clock, 0, *points))
    run = trial_run(uri, 0)
    assert len(run.data.params) == 250
    assert len(history(uri, run, "loss")) == 1500


def test_values_that_are_not_finite_are_left_out_and_told(
    uri: str, send: Any, clock: Clock
) -> None:
    send(
        trial_started(clock, 0),
        curve(
            clock, 0, (1, {"loss": 0.5}), (2, {"loss": "nan", "grad": float("inf")})
        ),  # the store keeps it as a text
    )
    run = trial_run(uri, 0)
    assert history(uri, run, "loss") == [(1, 0.5)]
    assert "grad" not in run.data.metrics
    assert run.data.tags["autopeft.not_finite.loss"] == "nan at step 2"
    assert run.data.tags["autopeft.not_finite.grad"] == "inf at step 2"


def test_a_failed_trial_says_why(uri: str, send: Any, clock: Clock) -> None:
    failure = {"reason": "out_of_memory", "message": "needs 9 GiB " + "x" * 2000}
    send(trial_started(clock, 0), trial_ended(clock, 0, "failed", failure=failure))
    run = trial_run(uri, 0)
    assert run.info.status == "FAILED"
    assert run.data.tags["autopeft.state"] == "failed"
    assert run.data.tags["autopeft.failure.reason"] == "out_of_memory"
    assert run.data.tags["autopeft.failure.message"].startswith("needs 9 GiB")


def test_a_paused_trial_runs_until_the_study_ends_and_again_when_promoted(
    uri: str, send: Any, clock: Clock
) -> None:
    send(study_started(clock), trial_started(clock, 0), trial_ended(clock, 0, "paused"))
    assert trial_run(uri, 0).info.status == "RUNNING"
    assert trial_run(uri, 0).data.tags["autopeft.state"] == "paused"
    send(study_ended(clock, "paused"))
    assert trial_run(uri, 0).info.status == "KILLED"
    assert parent_run(uri).info.status == "KILLED"
    send(curve(clock, 0, (11, {"loss": 0.1})))
    assert trial_run(uri, 0).info.status == "RUNNING"
    assert trial_run(uri, 0).data.tags["autopeft.state"] == "running"
    assert parent_run(uri).info.status == "RUNNING"
    send(trial_ended(clock, 0), study_ended(clock))
    assert trial_run(uri, 0).info.status == "FINISHED"


def test_metrics_that_no_rung_wrote_are_written_at_the_end(
    uri: str, send: Any, clock: Clock
) -> None:
    metrics = {"accuracy": 0.1, "test_accuracy": 0.8}
    send(
        trial_started(clock, 0), rung(clock, 0, 0, 10, 0.6), trial_ended(clock, 0, metrics=metrics)
    )
    run = trial_run(uri, 0)
    assert run.data.metrics["accuracy"] == 0.6
    assert run.data.metrics["test_accuracy"] == 0.8


def test_another_tracking_server_gets_runs_of_its_own(
    uri: str, send: Any, clock: Clock, empty_database: Path, tmp_path: Path
) -> None:
    store = send(study_started(clock), trial_started(clock, 0))
    shutil.copy(empty_database, tmp_path / "other.db")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    store.commit("tiny", [], [trial_ended(clock, 0)])
    left = deliver(
        store,
        "tiny",
        uri=other,
        experiment="tiny",
        show=Shown,
        timeout_s=30,
        artifact_location=tmp_path / "other",
    )
    assert left == 0
    assert trial_run(other, 0).info.status == "FINISHED"
    assert trial_run(uri, 0).info.status == "RUNNING"


def test_a_server_that_was_emptied_gets_new_runs(
    uri: str, send: Any, clock: Clock, empty_database: Path, tmp_path: Path
) -> None:
    store = send(study_started(clock), trial_started(clock, 0))
    store.facts |= {
        "mlflow.run.trial.0": "0" * 32,
        "mlflow.run.parent": "1" * 32,
        "mlflow.experiment": "77",
    }
    send(trial_ended(clock, 0))
    assert trial_run(uri, 0).info.status == "FINISHED"
    assert len(runs(uri)) == 2


def test_an_event_that_mlflow_refuses_lets_others_through(
    uri: str, send: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store = send(trial_started(clock, 0))
    MlflowClient(tracking_uri=uri).delete_run(store.facts["mlflow.run.trial.0"])
    broken = Event("rung", 1, clock(), {"metrics": {}})
    with caplog.at_level(logging.WARNING, "autopeft.tracking.mlflow"):
        send(rung(clock, 0, 0, 5, 0.5), broken, *whole_trial(clock, 2))
    assert trial_run(uri, 2).info.status == "FINISHED"
    assert [record.getMessage()[:39] for record in caplog.records] == [
        "MLflow refused rung of trial 0 of study",
        "MLflow refused rung of trial 1 of study",
    ]


def test_two_studies_of_one_name_on_one_server_keep_apart(
    uri: str, send: Any, clock: Clock
) -> None:
    send(study_started(clock), trial_started(clock, 0))
    other = MemoryStore()
    other.record = replace(other.record, created=5.0)
    other.commit("tiny", [], [study_started(clock), trial_started(clock, 0)])
    deliver(other, "tiny", uri=uri, experiment="tiny", show=Shown, timeout_s=30)
    assert len(runs(uri, "tags.\"autopeft.study\" = 'tiny'")) == 4


def test_a_running_tracker_delivers_as_events_come(uri: str, clock: Clock, tmp_path: Path) -> None:
    store, published = MemoryStore(), []

    def show() -> Shown:
        published.append(time.monotonic())
        return ARTIFACTS

    tracker = MlflowTracker(
        store,
        "tiny",
        uri=uri,
        experiment="tiny",
        show=show,
        every_s=0.05,
        artifact_location=tmp_path / "mlartifacts",
    )
    tracker.start()
    for number in range(4):
        events = [*whole_trial(clock, number), front(clock, number, told=number + 1)]
        store.commit("tiny", [], events)
        end = time.monotonic() + 20
        while store.undelivered("tiny", 1) and time.monotonic() < end:
            time.sleep(0.02)
    assert store.undelivered("tiny", 1) == []
    assert tracker.close(10) == 0
    assert len(runs(uri)) == 5
    assert len(published) == 2  # the first change of the front and the end: not every trial


def test_pictures_that_cannot_be_made_do_not_stop_the_events(
    uri: str, send: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def show() -> Shown:
        raise RuntimeError("no trial has an outcome yet")

    send(*whole_trial(clock, 0), front(clock, 0, told=1), study_ended(clock), show=show)
    assert trial_run(uri, 0).info.status == "FINISHED"
    assert [record.getMessage() for record in caplog.records if "front" in record.message] == [
        "the front of study tiny was not drawn: RuntimeError('no trial has an outcome yet')"
    ]


def test_a_database_whose_making_was_cut_off_takes_the_events_of_the_next_driver(
    clock: Clock, tmp_path: Path
) -> None:
    program = """
import os
from sqlalchemy import Engine, event
from outbox import Clock, MemoryStore, study_started
from autopeft.tracking.mlflow import deliver
from autopeft.tracking.shown import Shown

@event.listens_for(Engine, "after_cursor_execute")
def cut_off(_connection, _cursor, statement, *_):
    if "CREATE TABLE spans" in statement:
        os._exit(137)

store = MemoryStore()
store.commit("tiny", [], [study_started(Clock())])
deliver(store, "tiny", uri="sqlite:///mlflow.db", experiment="tiny", show=Shown, timeout_s=60)
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment)
    store = MemoryStore()
    store.commit("tiny", [], [study_started(clock)])
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    left = deliver(
        store,
        "tiny",
        uri=uri,
        experiment="tiny",
        show=Shown,
        timeout_s=60,
        artifact_location=tmp_path / "artifacts",
    )
    assert (ended.returncode, left) == (137, 0)


def test_a_new_database_is_made_without_a_word_and_without_other_files(tmp_path: Path) -> None:
    program = """
from outbox import Clock, MemoryStore, study_ended, study_started, whole_trial
from autopeft.tracking.mlflow import deliver
from autopeft.tracking.shown import Member, Shown
clock, store = Clock(), MemoryStore()
store.commit("tiny", [], [study_started(clock), *whole_trial(clock, 0), study_ended(clock)])
left = deliver(
    store, "tiny", uri="sqlite:///home/mlflow.db", experiment="tiny", show=Shown,
    timeout_s=60, artifact_location="home/mlartifacts",
)
assert left == 0, left
"""
    (tmp_path / "home").mkdir()
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]
    assert {entry.name for entry in (tmp_path / "home").iterdir()} == {"mlflow.db", "mlartifacts"}
