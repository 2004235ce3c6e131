"""Metrics for Prometheus, as Prometheus reads them."""

import json
import re
import socket
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEvaluator, MemoryStore, RandomSampler, drive, fake_problem, study_spec
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from autopeft import metrics
from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import StudyRecord
from autopeft.domain.results.front import front, normalised_hypervolume
from autopeft.metrics import DriverMetrics, StoreMetrics, driver_metrics
from autopeft.orchestrator.session import StudySession

DASHBOARD = Path(__file__).parents[1] / "dashboards" / "grafana.json"
TOKEN = "a-token-of-more-than-16"


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    for name in ("AUTOPEFT_METRICS_PORT", "AUTOPEFT_METRICS_HOST", "AUTOPEFT_UI_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def searched():
    """A store with a searched study, its session, and how often it was asked for a proposal."""
    spec, store, thought = study_spec(name="nlp/rte"), MemoryStore(), []
    store.create(StudyRecord(spec.name, spec.document, ".", 0.0, "running", owner="ada"))
    ticks = iter(range(10**6))
    session = StudySession(
        *(spec,),
        problem=fake_problem(spec),
        store=store,
        sampler=RandomSampler(),
        clock=lambda: float(next(ticks)),
        suggested=thought.append,
    )
    drive(session, FakeEvaluator(fail_above=3e-3))
    return spec, store, session, thought


def key(name: str, study: str = "nlp/rte", **labels: str) -> tuple[object, ...]:
    """Of a value that `told` tells."""
    labels |= {"study": study, "namespace": study.rpartition("/")[0]}
    return f"autopeft_{name}", frozenset(labels.items())


def told(text: bytes) -> dict[tuple[object, ...], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def get(port: int, path: str = "/metrics", **headers: str) -> bytes:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read()


def test_a_driver_tells_of_its_study_what_the_store_has(searched):
    spec, store, session, thought = searched
    driver = DriverMetrics(spec, store.study(spec.name))
    driver.watch(lambda: session.trials)
    for seconds in thought:
        driver.suggested(seconds)
    found = told(driver.text())
    trials = session.trials
    failed = sum(trial.failure is not None for trial in trials)
    assert failed > 0
    assert found[key("trials", state="completed")] == len(trials) - failed
    assert found[key("trials", state="running")] == 0
    assert found[key("failures_total", reason="not_finite")] == failed
    assert found[key("failures_total", reason="error")] == 0
    assert found[key("hypervolume")] == normalised_hypervolume(
        spec.objectives, spec.constraints, trials
    )
    assert found[key("front_size")] == len(front(spec.objectives, spec.constraints, trials))
    spent = sum(trial.seconds for trial in trials)
    assert found[key("device_seconds_total", device="cpu")] == spent > 0
    assert found[key("budget_trials")] == 12
    assert found[key("study_info", owner="ada", state="running")] == 1
    assert found[key("share")] == spec.search.parallel
    driver.shared(7)
    assert told(driver.text())[key("share")] == 7
    assert len(thought) >= 12
    assert found[key("suggestion_seconds_count")] == len(thought)
    assert found[key("suggestion_seconds_sum")] == sum(thought)


def test_all_studies_of_a_store_are_told_and_one_that_cannot_be_read_hides_no_other(
    searched, monkeypatch, caplog
):
    spec, store, session, _ = searched
    store.create(StudyRecord("broken", {"autopeft": 9}, ".", 0.0, "finished"))
    known = {spec.name: spec}

    def spec_of(record):
        if record.name not in known:
            raise AutopeftError("the space file is none")
        return known[record.name]

    monkeypatch.setattr(metrics, "spec_of", spec_of)
    now = [0.0]
    found = StoreMetrics(store, clock=lambda: now[0])
    first = told(found.text())
    assert first[key("trials", state="completed")] > 0
    broken = key("study_info", study="broken", owner="", state="finished")
    assert first[broken] == 1
    assert [found for found in first if ("study", "broken") in found[1]] == [broken]
    assert "the metrics of study broken cannot be told" in caplog.text
    # Read again when it may have changed, not at every question.
    more = replace(session.trials[0], number=99)
    store.commit(spec.name, [more], [])
    state = key("trials", state=str(more.state))
    assert told(found.text())[state] == first[state]
    now[0] = metrics.FRESH_S
    assert told(found.text())[state] == first[state] + 1


def test_a_driver_serves_where_the_environment_says_and_to_this_machine_alone(
    searched, monkeypatch
):
    spec, store, session, _ = searched
    with driver_metrics(spec, store) as off:
        assert off is None
    port = free_port()
    monkeypatch.setenv("AUTOPEFT_METRICS_PORT", str(port))
    with driver_metrics(spec, store) as driver:
        driver.watch(lambda: session.trials)
        assert told(get(port)) == told(driver.text())
        for path, code in (("/", 404), ("/metrics", 403)):
            headers = {"Host": "evil.example"} if code == 403 else {}
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(port, path, **headers)
            assert refused.value.code == code
    with pytest.raises(urllib.error.URLError):
        get(port)


def test_beyond_this_machine_a_token_is_asked_for(searched, monkeypatch):
    spec, store, _, _ = searched
    port = free_port()
    monkeypatch.setenv("AUTOPEFT_METRICS_PORT", str(port))
    monkeypatch.setenv("AUTOPEFT_METRICS_HOST", "0.0.0.0")
    with (
        pytest.raises(AutopeftError, match="AUTOPEFT_METRICS_HOST needs a token.*'0.0.0.0'"),
        driver_metrics(spec, store),
    ):
        pass
    monkeypatch.setenv("AUTOPEFT_UI_TOKEN", TOKEN)
    with driver_metrics(spec, store):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(port)
        assert b"autopeft_trials" in get(port, Authorization=f"Bearer {TOKEN}")


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "9464.0"])
def test_a_port_that_is_none_is_refused(searched, monkeypatch, port):
    spec, store, _, _ = searched
    monkeypatch.setenv("AUTOPEFT_METRICS_PORT", port)
    with (
        pytest.raises(AutopeftError, match=f"takes a port from 1 to 65535, got '{port}'"),
        driver_metrics(spec, store),
    ):
        pass


def test_a_port_that_is_taken_is_said_and_the_search_goes_on(searched, monkeypatch, caplog):
    spec, store, _, _ = searched
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("AUTOPEFT_METRICS_PORT", str(port))
        with driver_metrics(spec, store) as driver:
            driver.suggested(0.1)
    assert f"nlp/rte are not served, the search goes on: 127.0.0.1:{port}" in caplog.text
    assert "its own AUTOPEFT_METRICS_PORT" in caplog.text


def test_without_the_library_it_is_said_what_to_install(searched, monkeypatch):
    spec, store, _, _ = searched
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setenv("AUTOPEFT_METRICS_PORT", str(free_port()))
    with (
        pytest.raises(AutopeftError, match=r"pip install 'autopeft\[service\]'"),
        driver_metrics(spec, store),
    ):
        pass


def test_the_dashboard_asks_for_nothing_that_nobody_tells(searched):
    spec, store, session, _ = searched
    driver = DriverMetrics(spec, store.study(spec.name))
    driver.watch(lambda: session.trials)
    names = {name for name, _ in told(driver.text())}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"autopeft_\w+", target["expr"])
    }
    assert len(panels) > 8
    assert asked <= names
