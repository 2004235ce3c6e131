"""Backups: whole while somebody writes, into any database, and nothing but rows of a strange file."""

import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem, record_of, study_spec

from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore
from autopeft.store.backup import backup, names_in, restore
from autopeft.store.check import check


def search(url, *, name="fake", trials=6):
    spec, store = study_spec(trials=trials, name=name), SqlStore(url)
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1.0
    )
    drive(session, FakeEvaluator(fail_above=3e-3))
    return store, session


def test_a_backup_opens_as_a_store_without_the_driver_of_the_first(url, tmp_path):
    store, session = search(url)
    store.remember("fake", "driver", "somebody")
    store.remember("fake", "mlflow.run", "7")
    told = backup(url, tmp_path / "b.db")
    assert told["trials"] == 6
    copied = SqlStore(f"sqlite:///{tmp_path / 'b.db'}")
    assert copied.history("fake") == session.trials
    assert copied.recall("fake") == {"mlflow.run": "7"}
    assert [e for _, e in copied.undelivered("fake", 99)] == [
        e for _, e in store.undelivered("fake", 99)
    ]


def test_a_store_moves_between_databases_and_goes_on(url, another, tmp_path):
    store, session = search(url)
    backup(url, tmp_path / "b.db")
    for kind in ("sqlite", "postgresql"):
        there = another(kind)
        search(there, name="other")  # a team's database has studies already
        assert restore(tmp_path / "b.db", there)["studies"] == 1
        moved = SqlStore(there)
        assert moved.history("fake") == session.trials
        assert [e for _, e in moved.undelivered("fake", 99)] == [
            e for _, e in store.undelivered("fake", 99)
        ]
        moved.commit("fake", [replace(session.trials[0], number=90)], [Event("rung", 90, 0.0)])
        moved.commit("other", [], [Event("rung", 1, 0.0)])
        with pytest.raises(StudyError, match="has a study 'fake' already"):
            restore(tmp_path / "b.db", there)


def test_one_study_of_several_can_be_restored(another, tmp_path):
    url = another("sqlite")
    search(url, name="one", trials=2)
    search(url, name="two", trials=3)
    backup(url, tmp_path / "b.db")
    there = another("sqlite")
    assert restore(tmp_path / "b.db", there, only=["two"])["trials"] == 3
    assert [record.name for record in SqlStore(there).studies()] == ["two"]
    with pytest.raises(StudyError, match="has no study 'three': it has one, two"):
        restore(tmp_path / "b.db", there, only=["three"])


def test_backups_while_a_search_writes_hold_whole_commits(url, tmp_path):
    """Of every trial with a result the events are there, which are committed with it."""
    stop = threading.Event()
    spec, store = study_spec(trials=100_000), SqlStore(url)
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1.0
    )

    def write():
        evaluator = FakeEvaluator()
        while not stop.is_set():
            drive(session, evaluator, limit=1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            backup(url, tmp_path / f"{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(4):
        copied = SqlStore(f"sqlite:///{tmp_path / f'{number}.db'}")
        told = {t.number for t in copied.history("fake") if t.rungs}
        ended = {e.trial for _, e in copied.undelivered("fake", 10**6) if e.kind == "trial_ended"}
        assert told == ended
        assert [each.what for each in check(f"sqlite:///{tmp_path / f'{number}.db'}")] in (
            [],
            *[[what] for what in _waits(copied)],
            _waits(copied),
        )


def _waits(store):
    running = [t.number for t in store.history("fake") if str(t.state) == "running"]
    said = [f"trial {number} running, and nobody searches the study" for number in running]
    return [*said, f"MLflow has not taken {len(store.undelivered('fake', 10**6))} events"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: (folder / "b.db").touch(), "b.db exists: name another file"),
        (lambda folder: None, "unable to open database file: let this user write its folder"),
    ],
)
def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing(another, tmp_path, make, said):
    url = another("sqlite")
    search(url, trials=1)
    folder = tmp_path / "to"
    if "exists" in said:
        folder.mkdir()
    make(folder)
    with pytest.raises(StudyError, match=said):
        backup(url, folder / "b.db")
    assert {file.name for file in folder.glob("*")} <= {"b.db"}


def test_a_damaged_store_is_not_backed_up(another, tmp_path):
    url = another("sqlite")
    search(url, trials=8)
    file = Path(url.removeprefix("sqlite:///"))
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'rungs'"
        ).fetchone()
    connection.close()
    with file.open("r+b") as pages:
        pages.seek((root - 1) * 4096 + 8)
        pages.write(b"\xa5" * 512)
    with pytest.raises(StudyError, match="the store is damaged|malformed"):
        backup(url, tmp_path / "b.db")
    assert not list(tmp_path.glob("*b.db*"))


FULL = """
import resource, signal, sys
from pathlib import Path
from autopeft.domain.errors import StudyError
from autopeft.store.backup import backup
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    backup(sys.argv[1], Path(sys.argv[2]))
except StudyError as error:
    print(error)
"""


def test_a_disk_that_is_full_is_said_and_the_half_is_removed(url, tmp_path):
    """A limit on the size of files stands for the disk."""
    search(url, trials=12)
    folder = tmp_path / "to"
    folder.mkdir()
    child = subprocess.run(
        [sys.executable, "-c", FULL, url, str(folder / "b.db")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert "b.db: " in child.stdout
    assert len(child.stdout.splitlines()) == 1
    assert not list(folder.iterdir())


def test_without_a_store_there_is_nothing_to_back_up(tmp_path):
    for act in (lambda url: backup(url, tmp_path / "b.db"), check):
        with pytest.raises(StudyError, match="there is no store"):
            act(f"sqlite:///{tmp_path / 'none.db'}")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def crafted(another, tmp_path):
    """A backup, a connection that may change it, and a store to restore into."""
    url = another("sqlite")
    search(url, trials=3)
    backup(url, tmp_path / "b.db")
    connection = sqlite3.connect(tmp_path / "b.db")
    yield tmp_path / "b.db", connection, another("sqlite")
    connection.close()


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TRIGGER t AFTER INSERT ON studies BEGIN DELETE FROM trials; END",
        "CREATE VIEW v AS SELECT load_extension('/tmp/x.so')",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
        "DROP TABLE facts; CREATE VIEW facts AS SELECT * FROM studies",
        "DROP TABLE facts; CREATE TABLE facts (study, key, value GENERATED ALWAYS AS (hex(study)))",
    ],
)
def test_a_file_that_holds_more_than_rows_is_refused(crafted, made):
    file, connection, there = crafted
    connection.executescript(made)
    connection.commit()
    with pytest.raises(StudyError, match="is no store of autopeft: it holds the"):
        restore(file, there)


@pytest.mark.parametrize(
    "made",
    [
        "UPDATE trials SET configuration = '{}'",
        "UPDATE trials SET configuration = 'no JSON'",
        "UPDATE trials SET number = 'one' WHERE number = 1",
        'UPDATE rungs SET metrics = \'{"accuracy": "x"}\'',
        "UPDATE studies SET document = '[]'",
        f"UPDATE studies SET document = '{'[' * 100_000}'",
        "UPDATE trials SET state = 'stopped'",
        "PRAGMA foreign_keys=OFF; UPDATE rungs SET study = 'nobody'",
    ],
)
def test_rows_that_no_autopeft_wrote_are_refused_and_nothing_is_restored(crafted, made):
    file, connection, there = crafted
    connection.executescript(made)
    connection.commit()
    with pytest.raises(StudyError) as caught:
        restore(file, there)
    assert len(str(caught.value).splitlines()) == 1
    assert not SqlStore(there).studies()


@pytest.mark.parametrize(
    "content", [b"", b"no database at all, but text", b"SQLite format 3\x00" * 99]
)
def test_what_is_no_database_is_refused_in_one_line(tmp_path, content, another):
    (tmp_path / "b.db").write_bytes(content)
    for act in (names_in, lambda file: restore(file, another("sqlite"))):
        with pytest.raises(StudyError) as caught:
            act(tmp_path / "b.db")
        assert len(str(caught.value).splitlines()) == 1


def test_a_restored_file_is_not_written_and_its_name_may_be_any(url, another, tmp_path):
    search(url, trials=1)
    file: Path = tmp_path / "a b?mode=rwc#%41.db"
    backup(url, file)
    before = file.read_bytes()
    restore(file, another("sqlite"))
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("a b*-*"))
