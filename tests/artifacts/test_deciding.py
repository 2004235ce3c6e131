"""Where a study's files lie is decided when it begins, and remembered with it."""

import json
from pathlib import Path

import pytest
from fakes import FakeEvaluator, MemoryStore, RandomSampler, fake_problem, record_of, study_spec

from autopeft import build
from autopeft.artifacts import Artifacts
from autopeft.builders.places import claimed
from autopeft.domain.errors import ArtifactError
from autopeft.home import Home
from autopeft.orchestrator.session import StudySession

SPEC = study_spec(trials=2, baselines={})


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def store():
    store = MemoryStore()
    store.create(record_of(SPEC))
    return store


@pytest.fixture
def at(monkeypatch, home, store):
    """Begins or resumes the study with AUTOPEFT_ARTIFACTS, in the store."""

    def begin(url: str, *, local: bool = True):
        monkeypatch.setenv("AUTOPEFT_ARTIFACTS", url)
        begun = bool(store.history(SPEC.name))
        return claimed(SPEC, home, store, begun=begun, local=local)

    return begin


def tell_one(store):
    session = StudySession(
        SPEC, problem=fake_problem(SPEC), store=store, sampler=RandomSampler(), clock=lambda: 0.0
    )
    segment = session.ask()
    session.tell(segment, FakeEvaluator().run(segment, lambda step, metrics: None))


def test_without_the_variable_nothing_is_asked_or_remembered(at, store, home):
    assert at("") is None
    assert store.recall("fake") == {}
    assert build.place_of("fake", store) is None
    assert build.adapter_folder(home, "fake", 3, None) == home.adapter("fake", 3)
    assert not home.folder.exists()


def test_a_study_s_place_stays_once_it_has_a_trial(at, store, tmp_path, caplog):
    first, second = f"file://{tmp_path}/first", f"file://{tmp_path}/second"
    at(first)
    assert build.place_of("fake", store) == first
    at(second)  # nothing lies there yet
    assert build.place_of("fake", store) == second
    tell_one(store)
    assert at("").url == second
    assert not caplog.text
    assert at(first).url == second
    assert f"began with its files in {second}, where they stay" in caplog.text


def test_a_study_that_began_in_a_folder_stays_there(at, store, home, caplog):
    at("")
    tell_one(store)
    assert at("memory://x") is None
    assert f"began with its files in {home.study('fake')}, where they stay" in caplog.text


def test_a_study_that_never_began_may_go_back_to_its_folder(at, store):
    at("memory://back")
    assert at("") is None
    assert build.place_of("fake", store) is None


def test_another_store_s_study_of_this_name_is_not_touched(at, store, tmp_path):
    at(str(tmp_path))
    theirs = {"url": f"file://{tmp_path}", "id": "another"}
    store.remember("fake", "artifacts", json.dumps(theirs))
    with pytest.raises(ArtifactError, match="a study of this name in another store"):
        at(str(tmp_path))


def test_memory_is_no_place_for_workers_on_ray(at):
    with pytest.raises(ArtifactError, match="which no worker on Ray sees.*--local"):
        at("memory://x", local=False)


def test_an_adapter_is_fetched_where_it_is_asked_for(home, tmp_path):
    url = f"memory://deciding/{tmp_path.name}"
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "weights").write_text("w")
    Artifacts(url).put(tmp_path / "trained", "fake/adapters/trial-3")
    copy = build.adapter_folder(home, "fake", 3, url)
    assert (copy / "weights").read_text() == "w"
    assert copy.parent == Path(home.study("fake")) / "fetched"
    assert not build.adapter_folder(home, "fake", 4, url).exists()
