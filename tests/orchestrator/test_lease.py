"""One driver a study: who holds it, who may take it over, and what the loser can still write."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest
from fakes import MemoryStore

from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event, StudyRecord
from autopeft.orchestrator import lease
from autopeft.orchestrator.lease import (
    ASKED,
    HEARD,
    HOLDER,
    Holder,
    Lease,
    ask_to_stop,
    holder,
    last_driver,
    study_of,
)

NOTHING = Event("front", None, 0.0, {})


@pytest.fixture
def store():
    found = MemoryStore()
    found.create(StudyRecord("tiny", {}, ".", 0.0, "running"))
    return found


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", 0.01)


def left_behind(store, *, heard=0.0, **changes):
    """A lease that nobody gave back."""
    found = replace(Holder.here(), id="other", **changes)
    store.remember("tiny", HOLDER, found.text())
    store.remember("tiny", HEARD, repr(heard))
    return found


def wait_for(event):
    assert event.wait(10)


def test_a_driver_holds_a_study_until_it_ends(store):
    with Lease(store, "tiny", threading.Event()).hold() as leased:
        held = holder(store, "tiny")
        assert (held.pid, held.host) == (os.getpid(), platform.node())
        leased.commit("tiny", [], [NOTHING])
        assert leased.history("tiny") == ()
        with (
            pytest.raises(StudyError, match=rf"is being searched by process {os.getpid()} on "),
            Lease(store, "tiny", threading.Event()).hold(),
        ):
            pass
        assert holder(store, "tiny") == held
    assert holder(store, "tiny") is None
    assert store.events["tiny"] == [NOTHING]


def test_a_driver_whose_process_is_gone_from_this_machine_is_followed_at_once(store, caplog):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    left_behind(store, pid=int(gone.stdout), heard=time.time())
    with Lease(store, "tiny", threading.Event()).hold():
        assert holder(store, "tiny").pid == os.getpid()
    assert "took over study tiny from process" in caplog.text


def test_a_killed_driver_that_nobody_reaped_is_gone(store):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(killed.pid)
    try:
        left_behind(store, pid=killed.pid, process=process.create_time(), heard=time.time())
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert holder(store, "tiny") is None
    finally:
        killed.wait()


def test_another_process_with_its_number_is_not_the_driver(store):
    left_behind(store, process=1.0, heard=time.time())
    assert holder(store, "tiny") is None


def test_a_driver_elsewhere_is_followed_after_a_minute_of_silence(store):
    there = left_behind(store, host="elsewhere", heard=time.time() - 50)
    assert holder(store, "tiny") == there
    left_behind(store, host="elsewhere", heard=time.time() - 70)
    assert holder(store, "tiny") is None


def test_who_slept_through_the_loss_of_a_lease_ends_and_writes_nothing(store):
    stop = threading.Event()
    with Lease(store, "tiny", stop).hold() as leased:
        other = left_behind(store, heard=time.time())
        with pytest.raises(StudyError, match="was taken over"):
            leased.commit("tiny", [], [NOTHING])
        wait_for(stop)
    assert store.events["tiny"] == []
    assert store.recall("tiny")[HOLDER] == other.text()  # the other's lease is not given back


def test_two_that_are_equally_quick_are_told_apart(store, monkeypatch):
    monkeypatch.setattr(store, "swap", lambda *_: False)
    with (
        pytest.raises(StudyError, match="another process began to search study 'tiny': try again"),
        Lease(store, "tiny", threading.Event()).hold(),
    ):
        pass


def test_a_driver_is_asked_to_stop_by_the_store(store):
    stop = threading.Event()
    with pytest.raises(StudyError, match="not being searched: there is nothing to stop"):
        ask_to_stop(store, "tiny")
    store.remember("tiny", ASKED, "an earlier driver")
    with Lease(store, "tiny", stop).hold():
        assert not stop.wait(0.1)
        ask_to_stop(store, "tiny")
        wait_for(stop)


def test_a_store_that_is_away_for_a_while_costs_no_lease(store, monkeypatch, caplog):
    stop, missed = threading.Event(), threading.Event()

    def away(*_):
        missed.set()
        raise StudyError("the server is away")

    with Lease(store, "tiny", stop).hold():
        with monkeypatch.context() as patch:
            patch.setattr(store, "remember", away)
            wait_for(missed)
        assert not stop.wait(0.1)
    assert "was not renewed: the server is away" in caplog.text


def test_who_searched_last_is_known_after_it_ended_with_its_job(store, monkeypatch):
    assert last_driver(store, "tiny") is None
    told = {"metadata": {"job_submission_id": "tiny-1"}, "runtime_env": {}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(told))
    with Lease(store, "tiny", threading.Event()).hold():
        assert str(holder(store, "tiny")).startswith(f"job tiny-1, process {os.getpid()} on ")
    found = last_driver(store, "tiny")
    assert (found.who.job, found.now, holder(store, "tiny")) == ("tiny-1", False, None)
    assert time.time() - found.heard < 60
    assert (study_of(store, "tiny-1"), study_of(store, "tiny-2")) == ("tiny", None)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    with Lease(store, "tiny", threading.Event()).hold():
        assert last_driver(store, "tiny").who.job == ""
        assert study_of(store, "tiny-1") is None  # another driver searched it since


def test_a_lease_of_a_version_without_jobs_is_read(store):
    mine = vars(Holder.here())
    old = json.dumps({key: value for key, value in mine.items() if key != "job"})
    store.remember("tiny", HOLDER, old)
    assert holder(store, "tiny").job == ""
