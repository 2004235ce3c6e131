"""What `--submit` checks before anything is sent, and what is said of jobs that were not."""

import json
import sys
import threading
import zipfile

import pytest
import typer
from fakes import MemoryStore
from own_code import at_home, autopeft, parsed, write
from tiny_study import write_study

from autopeft import entry
from autopeft.commands import submitting
from autopeft.domain.errors import StudyError
from autopeft.domain.ports import StudyRecord
from autopeft.orchestrator.jobs import JobState
from autopeft.orchestrator.lease import Lease
from autopeft.store import SqlStore

PLAIN = """
study: small
modules: [{peft_type: LORA, r: 2, target_modules: [query]}]
objectives: [eval_loss]
budget: {trials: 3}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    at_home(monkeypatch, tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")  # nobody, so whoever comes there passed
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def said(place, monkeypatch, capsys):
    """said(*arguments): what a verb that fails says."""

    def said(*arguments, code=2):
        assert autopeft(monkeypatch, *arguments) == code
        return capsys.readouterr().err

    return said


def test_a_mistake_that_this_machine_can_see_is_said_before_the_cluster_is_asked(place, said):
    write(place, space="autopeft: 1\nstudy: a b")
    assert "study" in said("search", "space.yaml", "--submit")
    write(place)
    (place / "my_package" / "train.py").write_text("def other(configuration, context): ...")
    assert "it has other" in said("search", "space.yaml", "--submit")
    write(place)
    assert "no job server answers" in said("search", "space.yaml", "--submit")
    assert "add --submit" not in said("resume", "free", "--submit")


def test_local_and_submit_are_two_places(place, said):
    write(place)
    for verb in (["search", "space.yaml"], ["resume", "free"], ["confirm", "free"]):
        assert "take one of them" in said(*verb, "--submit", "--local")


def test_model_and_data_are_checked_where_they_are_here(place, said):
    write_study(place, PLAIN)
    (place / "train.jsonl").write_text('{"words": "a", "label": "1"}\n' * 8)
    assert "text" in said("search", "space.yaml", "--submit")
    at = place / "space.yaml"
    at.write_text(at.read_text().replace("train.jsonl", "/shared/rows/train.jsonl"))
    told = said("search", "space.yaml", "--submit")
    assert "not on this machine, checked on the cluster: /shared/rows/train.jsonl" in told
    assert "no job server answers" in told


def test_a_library_that_only_the_cluster_has_is_no_mistake(place, said):
    write(place)
    code = place / "my_package" / "train.py"
    code.write_text(f"import only_there\n{code.read_text()}")
    told = said("search", "space.yaml", "--submit")
    assert "only_there is not installed here: your code is checked on the cluster" in told
    code.write_text(f"import my_package.gone\n{code.read_text()}")
    assert "No module named 'my_package.gone'" in said("search", "space.yaml", "--submit")


def test_a_job_that_ended_early_is_told_in_its_own_words():
    log = "INFO setting up\nRunning entrypoint\nversions differ\nerror: first\nerror: a: 2 mistakes\n  b\n"
    with pytest.raises(StudyError) as caught:
        submitting._ended(JobState("FAILED", ""), log, "a", "a-1")
    assert str(caught.value) == "on the cluster: a: 2 mistakes\n  b"
    with pytest.raises(StudyError, match=r"job a-1 .* sh: 1: exec: python: not found"):
        submitting._ended(JobState("FAILED", ""), "sh: 1: exec: python: not found\n", "a", "a-1")
    with pytest.raises(StudyError, match="the runtime env cannot be set up"):
        submitting._ended(JobState("FAILED", "the runtime env cannot be set up"), "", "a", "a-1")


class Told:
    """A job server in memory, whose job ends or is not heard of any more."""

    def __init__(self, status, log=""):
        self.status, self.log = status, log

    def state(self, job):
        if self.status == "gone":
            raise StudyError("no job server answers")
        return JobState(self.status, "")

    def logs(self, job):
        return self.log


def test_a_job_that_begins_is_known_by_the_driver_that_it_became(monkeypatch):
    store = MemoryStore()
    for name in ("nlp/rte", "nlp/rte-2", "sst"):
        store.create(StudyRecord(name, {}, ".", 0.0, "running"))
    told = {"metadata": {"job_submission_id": "rte-1f"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(told))
    with Lease(store, "nlp/rte-2", threading.Event()).hold():
        pass
    assert submitting._begun(Told("RUNNING"), store, "rte", "rte-1f") == "nlp/rte-2"
    with pytest.raises(StudyError, match="on the cluster: no"):
        submitting._begun(Told("FAILED", "error: no\n"), store, "rte", "rte-2f")


def test_a_job_with_nothing_to_do_says_so_and_one_that_is_lost_may_go_on(capsys):
    with pytest.raises(typer.Exit) as ended:
        submitting._begun(Told("SUCCEEDED", "all is told\n"), MemoryStore(), "rte", "rte-1f")
    assert ended.value.exit_code == 0
    assert "all is told" in capsys.readouterr().err
    with pytest.raises(submitting.LostError, match="no job server answers"):
        submitting._begun(Told("gone"), MemoryStore(), "rte", "rte-1f")


@pytest.fixture
def sent(place, monkeypatch):
    """sent(*arguments): the request, all bytes of the package, and the variables that go along."""
    taken = []

    class Taking(Told):
        def __init__(self):
            super().__init__("SUCCEEDED")

        def submit(self, job, package, variables):
            with zipfile.ZipFile(package) as whole:
                everything = b"".join(whole.read(name) for name in whole.namelist())
                request = json.loads(whole.read("request.json"))
            taken.append((request, everything, variables))

    monkeypatch.setattr("autopeft.orchestrator.jobs.Jobs", Taking)

    def sent(*arguments):
        assert autopeft(monkeypatch, *arguments) == 0
        return taken[-1]

    return sent


def test_the_job_is_the_same_verb_with_its_options_and_without_any_secret(place, sent, monkeypatch):
    write(place)
    store = f"sqlite:///{place / 'planted.db'}"
    secrets = {"AUTOPEFT_STORE": store, "HF_TOKEN": "hf_planted", "RAY_AUTH_TOKEN": "planted" * 9}
    for name, value in {**secrets, "AUTOPEFT_NAMESPACE": "nlp", "AUTOPEFT_OWNER": "me"}.items():
        monkeypatch.setenv(name, value)
    request, everything, variables = sent(
        "search", "space.yaml", "--submit", "--set", "budget.trials=9", "--new", "--extend"
    )
    assert request["arguments"] == ["search", "--set=budget.trials=9", "--new", "--extend"]
    assert request["space"] == "space.yaml"
    assert request["versions"].keys() == {"autopeft", "ray", "peft", "python"}
    assert variables == {"AUTOPEFT_NAMESPACE": "nlp", "AUTOPEFT_OWNER": "me"}
    for secret in (*secrets.values(), "127.0.0.1:9"):
        assert secret.encode() not in everything
    entry.enter(parsed(place), SqlStore(store))
    assert sent("resume", "free", "--submit")[0]["arguments"] == ["resume", "nlp/free"]
    again = sent("confirm", "free", "--submit", "--seeds", "3")[0]
    assert again["arguments"] == ["confirm", "nlp/free", "--seeds", "3"]
    assert (again["space"], again["parcel"]) == ("", "")


def test_who_drives_a_study_is_told_and_where_its_log_is(place, said, monkeypatch, capsys):
    write(place)
    parsed(place)
    assert "there is no study 'free'" in said("logs", "free")
    assert autopeft(monkeypatch, "search", "space.yaml", "--local", "--quiet") == 0
    capsys.readouterr()
    assert "was last searched by process" in said("logs", "free")
    assert autopeft(monkeypatch, "status", "free") == 0
    assert "\nLast searched by process " in capsys.readouterr().out
    assert autopeft(monkeypatch, "status", "free", "--json") == 0
    driver = json.loads(capsys.readouterr().out)["driver"]
    assert (driver["searches"], driver["job"]) == (False, None)
