"""`delete` takes a study's rows and files, asks before, and keeps off one that is searched."""

import threading
from dataclasses import replace

import pytest
from command_line import here
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem, record_of, study_spec

from autopeft.artifacts import Artifacts
from autopeft.builders.places import claimed
from autopeft.home import Home
from autopeft.orchestrator.lease import Lease
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore

SPEC = study_spec(trials=3, baselines={})


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "autopeft-studies")


@pytest.fixture
def store(home, monkeypatch):
    for name in ("AUTOPEFT_STORE", "AUTOPEFT_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)
    home.folder.mkdir()
    store = SqlStore(home.store_url)
    store.create(record_of(SPEC))
    return store


def search(store):
    session = StudySession(
        SPEC, problem=fake_problem(SPEC), store=store, sampler=RandomSampler(), clock=lambda: 0.0
    )
    drive(session, FakeEvaluator())


def test_a_study_is_deleted_with_its_files_when_one_says_yes(tmp_path, home, store):
    search(store)
    adapter, other = home.adapter("fake", 0), home.adapter("fake/nested", 0)
    for folder in (adapter, other):
        folder.mkdir(parents=True)
    asked = here(tmp_path, "delete", "fake", code=2).stderr
    assert f"study fake, its 3 trials and its files in {home.study('fake')}" in asked
    assert "say --yes" in asked
    assert adapter.exists()
    assert "deleted study fake" in here(tmp_path, "delete", "fake", "--yes").stdout
    assert store.studies() == []
    assert not adapter.parent.exists()
    assert other.exists()
    assert "there is no study 'fake'" in here(tmp_path, "delete", "fake", "--yes", code=2).stderr


def test_its_files_go_wherever_they_are(tmp_path, home, store, monkeypatch):
    url = f"file://{tmp_path}/nfs"
    monkeypatch.setenv("AUTOPEFT_ARTIFACTS", url)
    claimed(SPEC, home, store, begun=False, local=True)
    search(store)
    place = Artifacts(url)
    for study in ("fake", "fake-2"):
        place.put(tmp_path / "autopeft-studies", f"{study}/adapters/trial-0")
    here(tmp_path, "delete", "fake", "--yes")
    assert place.keys("fake") == frozenset()
    assert not (tmp_path / "nfs" / "fake" / "study.json").exists()
    assert place.keys("fake-2")
    store.create(record_of(SPEC))
    assert (
        claimed(SPEC, home, store, begun=False, local=True) is not None
    )  # the name is free there too


def test_what_was_sent_for_it_goes_with_the_last_study_of_the_same_files(tmp_path, home, store):
    came = home.folder / ".sent" / "0123"
    came.mkdir(parents=True)
    store.update(replace(store.study("fake"), folder=str(came)))
    store.create(replace(record_of(SPEC), name="fake-2", folder=str(came)))
    here(tmp_path, "delete", "fake", "--yes")
    assert came.is_dir()
    here(tmp_path, "delete", "fake-2", "--yes")
    assert not came.exists()


def test_what_was_sent_to_another_home_stays(tmp_path, home, store):
    came = tmp_path / "elsewhere" / ".sent" / "0123"
    came.mkdir(parents=True)
    store.update(replace(store.study("fake"), folder=str(came)))
    here(tmp_path, "delete", "fake", "--yes")
    assert came.is_dir()


def test_a_study_that_is_searched_is_not_deleted(tmp_path, store):
    with Lease(store, "fake", threading.Event()).hold():
        assert "is being searched" in here(tmp_path, "delete", "fake", "--yes", code=2).stderr
    assert [record.name for record in store.studies()] == ["fake"]
