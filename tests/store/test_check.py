"""`check` finds what is wrong with a store, and nothing in a sound one."""

import sqlite3

import pytest
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem, record_of, study_spec

from autopeft.domain.errors import StudyError
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore
from autopeft.store.check import check


@pytest.fixture
def store(tmp_path):
    """A finished study of four trials whose events were delivered, and a connection to change it."""
    spec, made = study_spec(trials=4), SqlStore(f"sqlite:///{tmp_path / 'a.db'}")
    made.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=made, sampler=RandomSampler(), clock=lambda: 1.0
    )
    drive(session, FakeEvaluator())
    session.close()
    made.delivered("fake", [number for number, _ in made.undelivered("fake", 99)])
    connection = sqlite3.connect(tmp_path / "a.db")
    yield connection, f"sqlite:///{tmp_path / 'a.db'}"
    connection.close()


def test_a_sound_store_has_no_finding(store):
    assert check(store[1]) == []


def test_trials_that_a_pause_interrupted_are_no_finding(store):
    connection, url = store
    connection.executescript(
        "UPDATE studies SET state = 'paused'; UPDATE trials SET state = 'running' WHERE number = 3"
    )
    connection.commit()
    assert check(url) == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("UPDATE trials SET configuration = '{}' WHERE number = 1", "fake: trial 1 cannot be read"),
        (
            "UPDATE trials SET configuration_key = 'x' WHERE number > 1",
            "fake: the configuration of trials 2, 3 (2) is not the one that was stored",
        ),
        (
            "UPDATE rungs SET trial = 77 WHERE trial = 1",
            "fake: there are results of trial 77, and no such trial",
        ),
        ("UPDATE rungs SET study = 'nobody'", "4 rows of rungs belong to no study"),
        ("UPDATE trials SET provenance = '[1]' WHERE number = 1", "fake: trial 1 cannot be read"),
        ("UPDATE trials SET point = '{\"a\": ' WHERE number = 1", "fake: trial 1 cannot be read"),
        ("UPDATE trials SET known = 'none' WHERE number > 1", "fake: trials 2, 3 (2) cannot be"),
        (
            "UPDATE rungs SET metrics = '{\"a\": ' WHERE trial = 2",
            "fake: results of trial 2 cannot be read: restore a backup into another store",
        ),
        ("UPDATE rungs SET stderr = '[]' WHERE trial < 2", "fake: results of trials 0, 1 (2) can"),
        ("UPDATE rungs SET seconds = 'long' WHERE trial = 0", "fake: results of trial 0 cannot be"),
        ("UPDATE studies SET document = '{'", "fake: its space file cannot be read: restore a"),
        ("UPDATE studies SET document = '[]'", "fake: its space file cannot be read: restore a"),
        (
            "DELETE FROM rungs WHERE trial = 2",
            "fake: trial 2 completed, and there is no result: restore a backup",
        ),
        (
            "UPDATE outbox SET delivered = 0, payload = '{' WHERE id < 3",
            "fake: 2 of these events cannot be read: restore a backup",
        ),
        (
            "UPDATE trials SET state = 'running' WHERE number = 3",
            "fake: the study is finished, and trial 3 still running",
        ),
        (
            "UPDATE studies SET state = 'running'; UPDATE trials SET state = 'running' WHERE number = 3",
            "fake: trial 3 running, and nobody searches the study: go on with `autopeft resume fake`",
        ),
        (
            "UPDATE outbox SET delivered = 0 WHERE id < 3",
            "fake: MLflow has not taken 2 events: deliver them by `autopeft sync fake`",
        ),
        (
            "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = replace(sql, "
            "'CONSTRAINT one_result_a_rung UNIQUE (study, trial, rung)', 'CHECK (1)') "
            "WHERE name = 'rungs'; DELETE FROM sqlite_master WHERE name LIKE '%autoindex_rungs%'",
            None,
        ),
    ],
)
def test_each_fault_is_found_in_one_line(store, made, said):
    connection, url = store
    connection.executescript(made)
    connection.commit()
    if said is None:  # without the constraint, a second result gets in
        connection.close()
        with sqlite3.connect(url.removeprefix("sqlite:///")) as again:
            again.execute(
                "INSERT INTO rungs SELECT NULL, study, trial, rung, step, metrics, stderr, seconds,"
                " started, ended, worker, test, test_stderr FROM rungs WHERE trial = 2"
            )
        said = "fake: a rung of trial 2 has two results"
    found = [str(each) for each in check(url)]
    assert any(each.startswith(said) for each in found), found
    assert all(len(each.splitlines()) == 1 for each in found)


def test_a_study_that_is_searched_may_run_trials_and_have_events_waiting(store):
    connection, url = store
    connection.executescript("UPDATE trials SET state = 'running'; UPDATE outbox SET delivered = 0")
    connection.commit()
    assert len(check(url)) == 2
    assert check(url, driven=lambda study: study == "fake") == []


def test_a_damaged_file_is_said_to_be_damaged(tmp_path, store):
    connection, url = store
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    file = tmp_path / "a.db"
    whole = bytearray(file.read_bytes())
    whole[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    file.write_bytes(whole)
    found = check(url)
    assert found
    assert "restore a backup" in str(found[0])


@pytest.mark.parametrize(
    ("made", "read", "said"),
    [
        (
            "UPDATE studies SET document = '{'",
            lambda store: store.studies(),
            "the space file of study 'fake' cannot be read from the store (TypeError: JSON with "
            "names was stored, got '{'): `autopeft store check` says what else is damaged; "
            "restore a backup into another store",
        ),
        (
            "UPDATE studies SET document = '7'",
            lambda store: store.study("fake"),
            "the space file of study 'fake' cannot be read from the store (TypeError: ",
        ),
        (
            "UPDATE trials SET configuration = '{' WHERE number = 2",
            lambda store: store.history("fake"),
            "trial 2 of study 'fake' cannot be read from the store (TypeError: ",
        ),
        (
            "UPDATE rungs SET metrics = '{' WHERE trial = 1",
            lambda store: store.history("fake"),
            "the result of trial 1 of study 'fake' cannot be read from the store (",
        ),
        (
            "UPDATE outbox SET payload = '[', delivered = 0",
            lambda store: store.undelivered("fake", 9),
            "an event of study 'fake' that waits for MLflow cannot be read from the store (",
        ),
    ],
)
def test_who_reads_what_is_damaged_is_told_so_in_one_line(store, made, read, said):
    connection, url = store
    connection.executescript(made)
    connection.commit()
    with pytest.raises(StudyError) as refused:
        read(SqlStore(url))
    assert str(refused.value).startswith(said)
    assert len(str(refused.value).splitlines()) == 1
