"""A store of every released schema opens, is read, searched on and sound.

released/NNNN.sql: what a search of that time left, killed while trial 4 ran; by its own code, two
rungs, a baseline and a failure (`released/make.py`). SQL as SQLite's `.dump` writes it. A new
migration comes with the store of its own schema.
"""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem
from sqlalchemy import create_engine, text

from autopeft import entry
from autopeft.domain.errors import StudyError
from autopeft.domain.results.front import front
from autopeft.domain.trial import State
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore
from autopeft.store.backup import backup, restore
from autopeft.store.check import check
from autopeft.store.upgrade import known_revisions, upgrade

RELEASED = {file.stem: file for file in (Path(__file__).parent / "released").glob("*.sql")}


def load(revision, url):
    """Put what was dumped into a new database."""
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file)
        connection.executescript(RELEASED[revision].read_text())
        connection.close()
        return
    # The tables of that time by their migrations, and the rows as they were written.
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    upgrade(engine, revision)
    rows = re.findall(r"^INSERT INTO (.*?);$", RELEASED[revision].read_text(), re.S | re.M)
    with engine.begin() as connection:
        for row in sorted(rows, key=lambda row: _ORDER.index(row.split('"')[1])):
            table = row.split('"')[1]
            if table not in _BY_MIGRATION:
                connection.exec_driver_sql(f"INSERT INTO {_booleans(table, row)}")
    with engine.begin() as connection:
        for table in ("rungs", "outbox"):
            connection.execute(
                text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
            )
    engine.dispose()


_ORDER = ["alembic_version", "stores", "studies", "trials", "rungs", "outbox", "facts"]
_BY_MIGRATION = ("alembic_version", "stores")


def _booleans(table, row):
    """SQLite's 0 and 1 where PostgreSQL takes a truth: `baseline` and `delivered`."""
    if table == "outbox":
        return re.sub(r",([01])\)$", lambda m: f",{'true' if m[1] == '1' else 'false'})", row)
    if table == "trials":
        return re.sub(
            r"',([01]),'(completed|paused|failed|running)'",
            lambda m: f"',{'true' if m[1] == '1' else 'false'},'{m[2]}'",
            row,
        )
    return row


def numbers(trials):
    return [(trial.number, str(trial.state), len(trial.rungs)) for trial in trials]


WAS = [(0, "completed", 2), (1, "paused", 1), (2, "failed", 0), (3, "paused", 1), (4, "running", 1)]


def test_every_schema_of_a_migration_has_a_store():
    assert sorted(RELEASED) == sorted(known_revisions())


@pytest.mark.parametrize("revision", sorted(RELEASED))
def test_it_opens_goes_on_and_is_sound(revision, url):
    load(revision, url)
    if revision != known_revisions()[0]:
        assert [f"schema {revision} is older" in str(each) for each in check(url)] == [True]
    store = SqlStore(url)
    trials = store.history("old")
    assert numbers(trials) == WAS
    assert store.recall("old") == {"mlflow.experiment": "7"}
    assert trials[2].failure.message == "loss is nan"
    assert trials[0].rungs[0].metrics["grad_norm"] != trials[0].rungs[0].metrics["grad_norm"]
    kinds = [event.kind for _, event in store.undelivered("old", 100)]
    assert kinds[:2] == ["study_started", "trial_started"]
    spec = entry.stored("old", store)
    assert [trial.number for trial in front(spec.objectives, (), trials)] == [0]
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1e9
    )
    assert session.ask().trial == 4  # what was cut off is handed out again
    session.release(session.running[0])
    drive(session, FakeEvaluator())
    assert session.finished
    session.close()
    assert repr(store.history("old")) == repr(session.trials)  # a NaN equals none
    assert repr(session.trials[0]) == repr(trials[0])
    assert not [t for t in session.trials if t.state is State.RUNNING]
    store.delivered("old", [number for number, _ in store.undelivered("old", 100)])
    assert check(url) == []


@pytest.mark.parametrize("revision", sorted(RELEASED))
def test_a_backup_of_it_is_of_its_own_schema_and_restores(revision, url, another, tmp_path):
    load(revision, url)
    assert backup(url, tmp_path / "b.db")["trials"] == 5
    with sqlite3.connect(tmp_path / "b.db") as copied:
        assert copied.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)
    for kind in ("sqlite", "postgresql"):
        there = another(kind)
        restore(tmp_path / "b.db", there)
        assert repr(SqlStore(there).history("old")) == repr(SqlStore(url).history("old"))


KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from autopeft.store import SqlStore

@event.listens_for(Engine, "after_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if "expected_left" in statement:  # in the middle of the second of its migrations
        os.kill(os.getpid(), signal.SIGKILL)

SqlStore(sys.argv[1])
"""


def test_an_upgrade_that_is_killed_in_the_middle_has_not_happened(url):
    load("0001", url)
    child = subprocess.run([sys.executable, "-c", KILLED, url], check=False)
    assert child.returncode == -signal.SIGKILL
    assert "schema 0001 is older" in str(check(url)[0])
    assert numbers(SqlStore(url).history("old")) == WAS


def test_two_processes_that_open_an_old_store_at_once_both_find_it_whole(url):
    load("0001", url)
    opens = "import sys; from autopeft.store import SqlStore; print(len(SqlStore(sys.argv[1]).history('old')))"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", opens, url],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(3)
    ]
    assert [child.communicate()[0] for child in children] == [b"5\n"] * 3
    assert numbers(SqlStore(url).history("old")) == WAS


def test_a_store_or_a_backup_of_a_newer_autopeft_is_refused_in_one_line(url, another, tmp_path):
    load("0003", url)
    store = SqlStore(url)
    backup(url, tmp_path / "b.db")
    for engine in (store._engine, create_engine(f"sqlite:///{tmp_path / 'b.db'}")):
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (
        lambda: SqlStore(url),
        lambda: backup(url, tmp_path / "c.db"),
        lambda: restore(tmp_path / "b.db", another("sqlite")),
    ):
        with pytest.raises(StudyError, match="upgrade autopeft") as caught:
            act()
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "c.db").exists()
    assert "'9999' is not known here" in str(check(url)[0])
