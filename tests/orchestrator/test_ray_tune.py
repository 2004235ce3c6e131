"""Ray Tune drives a study: trials overlap, a lost worker is survived, stop stops. A real Ray."""

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from fakes import MemoryStore, RandomSampler, fake_problem, record_of, study_spec
from ray import cloudpickle

from autopeft.domain.study import Resources, Rungs
from autopeft.domain.trial import Failure, Result, State
from autopeft.orchestrator import ray_tune
from autopeft.orchestrator.session import StudySession

# Workers cannot import this file: what it defines travels whole.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = pytest.mark.xdist_group("ray")


class Sleeper:
    """Sleeps, and says when; the first segment of one trial takes its worker down."""

    def __init__(self, seconds: float, folder: Path, kill: int | None = None, always: bool = False):
        self._seconds, self._folder, self._kill, self._always = seconds, folder, kill, always

    def run(self, segment, report) -> Result | Failure:
        started = time.time()
        report(1, {"loss": 1.0})
        mark = self._folder / f"killed-{segment.trial}"
        if segment.trial == self._kill and (self._always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._seconds)
        rate = segment.configuration.recipe["learning_rate"]
        return Result(
            step=segment.rung + 1,
            metrics={"accuracy": 0.5 + rate},
            seconds=self._seconds,
            started=started,
            ended=time.time(),
        )


def run(tmp_path, spec, make, stop=None, **options):
    store = MemoryStore()
    store.create(record_of(spec))
    session = StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=time.time
    )
    ray_tune.run(
        session,
        make,
        parallel=spec.search.parallel,
        resources=Resources(cpus_per_trial=1),
        folder=tmp_path / "study",
        stop=stop or threading.Event(),
    )
    return session, store


def most_at_once(trials) -> int:
    moments = [(rung.started, 1) for trial in trials for rung in trial.rungs]
    moments += [(rung.ended, -1) for trial in trials for rung in trial.rungs]
    running = best = 0
    for _, change in sorted(moments):
        running += change
        best = max(best, running)
    return best


def test_four_trials_overlap_with_rungs_on_and_the_study_ends(tmp_path):
    spec = study_spec(trials=12, rungs=Rungs("epochs", (1,), eta=2), parallel=4)
    session, store = run(tmp_path, spec, partial(Sleeper, 1.0, tmp_path))
    assert session.finished
    assert most_at_once(session.trials) == 4
    assert {trial.state for trial in session.trials} <= {State.COMPLETED, State.PAUSED}
    assert not (tmp_path / "study" / "ray").exists()
    assert any(event.kind == "curve" for event in store.events["fake"])


def test_a_worker_that_dies_is_replaced_and_its_segment_runs_again(tmp_path):
    spec = study_spec(trials=4, parallel=2)
    session, _ = run(tmp_path, spec, partial(Sleeper, 0.1, tmp_path, kill=1))
    assert [trial.state for trial in session.trials] == [State.COMPLETED] * 4


def test_a_segment_that_kills_every_worker_becomes_a_failure(tmp_path):
    spec = study_spec(trials=3, parallel=2)
    session, _ = run(tmp_path, spec, partial(Sleeper, 0.1, tmp_path, kill=1, always=True))
    assert session.trials[1].state is State.FAILED
    assert "died 3 times" in session.trials[1].failure.message
    assert session.finished


def test_stop_ends_the_run_and_what_ran_is_handed_out_again(tmp_path):
    stop = threading.Event()
    spec = study_spec(trials=4, parallel=2)
    threading.Timer(12.0, stop.set).start()
    began = time.monotonic()
    session, _ = run(tmp_path, spec, partial(Sleeper, 300.0, tmp_path), stop=stop)
    assert time.monotonic() - began < 60
    assert session.running
