"""A database that is away is waited for, and nothing is written twice by who asks again."""

import logging
import sqlite3
import time
from dataclasses import replace

import pytest
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem, record_of, study_spec

from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore


def full():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


class Away:
    """A database whose answers to so many commits get lost.

    committed: whether what was asked for is done all the same.
    """

    def __init__(self, store, times, *, committed):
        self._dialect, self._times, self._committed = store._engine.dialect, times, committed
        self._commit = self._dialect.do_commit
        self._dialect.do_commit = self.do_commit

    def do_commit(self, connection):
        if self._times > 0:
            self._times -= 1
            if self._committed:
                self._commit(connection)
            raise full()
        self._commit(connection)


@pytest.fixture
def store(tmp_path):
    return SqlStore(f"sqlite:///{tmp_path / 'a.db'}", patience_s=30)


@pytest.fixture
def session(store):
    spec = study_spec(trials=3)
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1.0
    )
    drive(session, FakeEvaluator())
    return session


@pytest.mark.parametrize("committed", [True, False], ids=["done", "not done"])
def test_a_commit_whose_answer_was_lost_is_repeated_once(store, session, committed, caplog):
    trial = replace(session.trials[0], number=9)
    event = Event("rung", 9, 2.5, {"metrics": {"loss": float("nan")}, "at": (1, 2)})
    before = len(store.undelivered("fake", 1000))
    Away(store, 2, committed=committed)
    store.commit("fake", [trial], [event, event])
    assert store.history("fake")[-1] == trial
    assert len(store.undelivered("fake", 1000)) == before + 2
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "database or disk is full: make room, `autopeft resume` goes on; tried" in said[0]
    assert said[1].startswith("the store is back after ")


@pytest.mark.parametrize("committed", [True, False], ids=["done", "not done"])
def test_so_is_what_changes_a_fact_or_makes_a_study(store, session, committed):
    Away(store, 1, committed=committed)
    assert store.swap("fake", "driver", None, "me")
    Away(store, 1, committed=committed)
    assert store.swap("fake", "driver", "me", None)
    assert "driver" not in store.recall("fake")
    Away(store, 1, committed=committed)
    store.create(replace(record_of(session.spec), name="other"))
    with pytest.raises(StudyError, match="'other' exists"):
        store.create(replace(record_of(session.spec), name="other"))


def test_who_waited_long_enough_says_so_and_nothing_waits_after_that(tmp_path, session):
    store = SqlStore(f"sqlite:///{tmp_path / 'a.db'}", patience_s=0.3)
    Away(store, 1_000, committed=False)
    with pytest.raises(StudyError, match="disk is full: make room"):
        store.remember("fake", "a", "b")
    began = time.monotonic()
    with pytest.raises(StudyError, match="disk is full"):
        store.remember("fake", "a", "b")
    assert time.monotonic() - began < 0.2


def test_a_mistake_is_no_database_that_is_away(store, session):
    began = time.monotonic()
    with pytest.raises(StudyError, match="'fake' exists"):
        store.create(record_of(session.spec))
    with store._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE facts")
    with pytest.raises(StudyError, match="no such table"):
        store.recall("fake")
    assert time.monotonic() - began < 2
