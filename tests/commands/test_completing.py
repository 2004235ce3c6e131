"""The shell completes studies and trials from the store, and makes none."""

import os
import subprocess
import sys

import pytest
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem, record_of, study_spec

from autopeft.commands.completing import study_names, trial_numbers
from autopeft.domain.networks.describe import describe
from autopeft.orchestrator.session import StudySession
from autopeft.store import SqlStore


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("AUTOPEFT_STORE", raising=False)
    monkeypatch.setenv("AUTOPEFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Line:
    """A command line as far as click has read it."""

    def __init__(self, **params):
        self.params = params


def completed(line, cursor, home):
    """What bash is given for a line."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['autopeft']; from autopeft.cli import main; main()",
        ],
        env={
            **os.environ,
            "_AUTOPEFT_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(cursor),
            "AUTOPEFT_HOME": str(home),
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    return done.stdout.split()


def test_names_of_studies_and_numbers_of_trials(home):
    assert study_names("") == []
    assert trial_numbers(Line(study="fake"), "") == []
    assert not home.exists()
    home.mkdir()
    store = SqlStore(f"sqlite:///{home / 'autopeft.db'}")
    spec = study_spec(trials=12)
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1.0
    )
    drive(session, FakeEvaluator())
    assert study_names("") == study_names("fa") == ["fake"]
    assert study_names("x") == []
    found = trial_numbers(Line(study="fake"), "1")
    assert [number for number, _ in found] == ["1", "10", "11"]
    assert found[0][1] == describe(session.trials[1].configuration)
    assert trial_numbers(Line(study="other"), "") == []
    assert trial_numbers(Line(), "") == []
    assert completed("autopeft status ", 2, home) == ["fake"]


def test_a_store_that_is_none_completes_nothing(home):
    home.mkdir()
    (home / "autopeft.db").write_text("no database")
    assert study_names("") == []
