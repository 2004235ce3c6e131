"""The store's contract on SQLite and PostgreSQL: atomic, durable, once."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem, record_of, study_spec
from sqlalchemy import MetaData, create_engine, event, select, text

import autopeft.store
from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event
from autopeft.domain.study import Rungs
from autopeft.domain.trial import Failure, FailureReason, Rung, State
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore, tables


@pytest.fixture
def told(url):
    """A store with a whole small study."""
    spec, store = study_spec(trials=9, rungs=Rungs("epochs", (1,))), SqlStore(url)
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1.0
    )
    drive(session, FakeEvaluator(fail_above=3e-3))
    return store, session


def test_what_is_read_back_is_what_was_told(told, url):
    _, session = told
    assert SqlStore(url).history("fake") == session.trials


def test_a_rung_is_told_once(told):
    store, session = told
    trial = next(t for t in session.trials if t.rungs)
    store.commit("fake", [trial], [])
    other = replace(trial, rungs=(replace(trial.rungs[0], step=999), *trial.rungs[1:]))
    with pytest.raises(StudyError, match="was told already, with another result"):
        store.commit("fake", [other], [])
    assert store.history("fake") == session.trials


def test_a_commit_that_fails_leaves_nothing_behind(told):
    store, session = told
    before = len(store.undelivered("fake", 1000))
    trial = next(t for t in session.trials if t.rungs)
    wrong = replace(trial, rungs=(replace(trial.rungs[0], step=999),))
    with pytest.raises(StudyError):
        store.commit("fake", [replace(trial, number=77), wrong], [Event("rung", 1, 0.0)])
    assert store.history("fake") == session.trials
    assert len(store.undelivered("fake", 1000)) == before


def test_who_reads_while_a_driver_commits_finds_no_completed_trial_without_its_result(told, url):
    store, session = told
    trial = next(t for t in session.trials if t.state is State.COMPLETED)
    store.commit("fake", [replace(trial, number=70, state=State.RUNNING, rungs=())], [])
    reader, queries = SqlStore(url), []

    @event.listens_for(reader._engine, "before_cursor_execute")
    def _another_commits(connection, cursor, statement, *rest):
        queries.append(statement)
        if len(queries) == 2:  # between what a history is made of
            store.commit("fake", [replace(trial, number=70)], [])

    first, second = reader.history("fake")[-1], reader.history("fake")[-1]
    assert (first.state, second.state) == (State.RUNNING, State.COMPLETED)
    assert second.rungs == trial.rungs


def test_events_are_delivered_in_order_and_once(told):
    store, _ = told
    ids = [number for number, _ in store.undelivered("fake", 3)]
    assert ids == sorted(ids)
    store.delivered("fake", ids)
    assert not set(ids) & {number for number, _ in store.undelivered("fake", 1000)}


def test_a_name_is_taken_once_and_a_missing_one_names_what_there_is(told):
    store, session = told
    with pytest.raises(StudyError, match="'fake' exists"):
        store.create(record_of(session.spec))
    with pytest.raises(StudyError, match="there is no study 'none' in the store: it has fake"):
        store.study("none")


def test_a_store_is_the_same_by_another_address_and_no_other(url, tmp_path):
    one = SqlStore(url).identity()
    assert SqlStore(url).identity() == one
    assert len(one) == 32
    assert SqlStore(f"sqlite:///{tmp_path / 'another.db'}").identity() != one


def test_a_deleted_study_leaves_nothing_and_the_others_stay(told, url):
    store, session = told
    other = replace(session.spec, name="other")
    store.create(record_of(other))
    store.commit("other", session.trials, [Event("curve", 0, 1.0)])
    for name in ("fake", "other"):
        store.remember(name, "run", name)
    store.delete("fake")
    assert [record.name for record in store.studies()] == ["other"]
    assert not store.history("fake")
    assert not store.undelivered("fake", 9)
    assert store.recall("fake") == {}
    assert store.history("other") == session.trials
    assert store.recall("other") == {"run": "other"}
    store.create(record_of(session.spec))  # the name is free
    assert store.history("fake") == ()


def test_facts_are_kept_by_key(told):
    store, _ = told
    store.remember("fake", "run", "1")
    store.remember("fake", "run", "2")
    assert store.recall("fake") == {"run": "2"}


def test_a_fact_is_found_in_all_studies_that_have_it(told):
    store, session = told
    store.create(replace(record_of(session.spec), name="nlp/other"))
    store.create(replace(record_of(session.spec), name="bare"))
    store.remember("fake", "driver", "a")
    store.remember("nlp/other", "driver", "b")
    store.remember("bare", "driver.heard", "1")
    assert store.everywhere("driver") == {"fake": "a", "nlp/other": "b"}
    assert store.everywhere("none") == {}


def test_a_fact_is_swapped_by_one_alone(told, url):
    store, _ = told
    assert store.swap("fake", "driver", None, "a")
    assert not store.swap("fake", "driver", None, "b")
    assert not store.swap("fake", "driver", "b", "c")
    assert store.swap("fake", "driver", "a", "b")
    assert store.recall("fake") == {"driver": "b"}
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: SqlStore(url).swap("fake", "driver", "b", str(n)), range(8)))
    assert won.count(True) == 1
    assert store.recall("fake") == {"driver": str(won.index(True))}
    assert store.swap("fake", "driver", str(won.index(True)), None)
    assert store.recall("fake") == {}


def test_a_commit_is_for_who_holds_the_study_alone(told):
    store, session = told
    store.remember("fake", "driver", "me")
    before = len(store.undelivered("fake", 1000))
    store.commit("fake", [session.trials[0]], [Event("rung", 0, 0.0)], held=("driver", "me"))
    with pytest.raises(StudyError, match="was taken over by another driver"):
        store.commit("fake", [], [Event("rung", 0, 0.0)], held=("driver", "you"))
    assert len(store.undelivered("fake", 1000)) == before + 1


def test_numbers_and_texts_that_databases_refuse_come_back(told):
    store, session = told
    trial = replace(
        session.trials[0],
        number=50,
        failure=Failure(FailureReason.ERROR, "a \x00 byte", "ü 🙂"),
        rungs=(Rung(0, 1, {"grad_norm": float("inf")}),),
    )
    store.commit("fake", [trial], [Event("rung", 50, 0.0, {"x": float("nan")})])
    assert store.history("fake")[-1].rungs[0].metrics["grad_norm"] == float("inf")


def test_a_newer_store_is_refused(url):
    store = SqlStore(url)
    with store._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StudyError, match="upgrade autopeft"):
        SqlStore(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no url", "takes an SQLAlchemy URL"),
        ("sqlite:////proc/none/x.db", "folder cannot be made"),
        ("postgresql://me:secret@127.0.0.1:1/none", "store"),
    ],
)
def test_a_store_that_cannot_be_opened_is_said_without_secrets(url, said):
    with pytest.raises(StudyError, match=said) as caught:
        SqlStore(url)
    assert "secret" not in str(caught.value)


def test_the_migrations_make_the_tables_of_this_version(tmp_path):
    from sqlalchemy import inspect

    from autopeft.store.tables import metadata

    store = SqlStore(f"sqlite:///{tmp_path / 'a.db'}")
    found = inspect(store._engine)
    for table in metadata.sorted_tables:
        columns = {column["name"] for column in found.get_columns(table.name)}
        assert columns == {column.name for column in table.columns}


def test_a_store_of_the_first_schema_opens_with_its_trials(tmp_path):
    """Every study and trial of an older autopeft; what it did not keep is None."""
    spec = study_spec(trials=3)
    new = SqlStore(f"sqlite:///{tmp_path / 'new.db'}")
    new.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=new, sampler=RandomSampler(), clock=lambda: 1.0
    )
    drive(session, FakeEvaluator())
    url = f"sqlite:///{tmp_path / 'old.db'}"
    config = Config()
    folder = Path(autopeft.store.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    engine = create_engine(url)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    first = MetaData()
    first.reflect(engine)
    assert "expected_gain" not in first.tables["trials"].columns
    with new._engine.connect() as source, engine.begin() as target:
        for name in ("studies", "trials", "rungs"):
            table = first.tables[name]
            rows = source.execute(
                select(*(tables.metadata.tables[name].c[c.name] for c in table.c))
            )
            for row in rows:
                target.execute(table.insert().values(row._asdict()))
    old = SqlStore(url)
    assert old.history("fake") == session.trials
    assert [trial.expected_gain for trial in old.history("fake")] == [None] * 3
    promised = replace(session.trials[0], expected_gain=0.01, expected_left=0.2)
    old.commit("fake", [promised], [])
    assert old.history("fake")[0] == promised
    assert old.study("fake").owner is None
    old.update(replace(old.study("fake"), owner="ada"))
    assert SqlStore(url).study("fake") == replace(record_of(spec), owner="ada")


WRITER = """
import os, sys
sys.path.insert(0, sys.argv[3])
from fakes import *
from autopeft.store import SqlStore
from autopeft.orchestrator.session import StudySession
store, spec = SqlStore(sys.argv[1]), study_spec(trials=100000)
if not store.studies():
    store.create(record_of(spec))
session = StudySession(spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1.0)
ledger = os.open(sys.argv[2], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
evaluator = FakeEvaluator()
while (segment := session.ask()) is not None:
    session.tell(segment, evaluator.run(segment, None))
    os.write(ledger, f"{segment.trial}\\n".encode())
    os.fsync(ledger)
"""


def test_what_was_committed_survives_kill_9(tmp_path):
    rng = random.Random(0)
    url, ledger = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "ledger"
    tests = os.path.dirname(os.path.dirname(__file__))
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", WRITER, url, str(ledger), tests])
        begun = ledger.stat().st_size if ledger.exists() else 0
        while not ledger.exists() or ledger.stat().st_size <= begun:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
    told = [int(line) for line in ledger.read_text().split()]
    history = SqlStore(url).history("fake")
    completed = {trial.number for trial in history if trial.rungs}
    assert set(told) <= completed
    assert len(told) == len(set(told))
    assert len(completed - set(told)) <= 4
