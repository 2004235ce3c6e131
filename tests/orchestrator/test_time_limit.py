"""A trial that takes longer than `resources.minutes_per_trial` is ended and says so."""

import threading
import time
from dataclasses import replace

from fakes import MemoryStore, RandomSampler, fake_problem, record_of, study_spec

from autopeft.domain.study import Resources, Rungs
from autopeft.domain.trial import FailureReason, Result, State
from autopeft.orchestrator import local
from autopeft.orchestrator.session import StudySession


class Hanging:
    """Trial 1 hangs; it takes every Exception, as training code may."""

    def __init__(self, *, seconds=0.0):
        self.seconds = seconds
        self.left = []

    def run(self, segment, report):
        self.left.append(segment.seconds)
        while segment.trial == 1:
            try:
                time.sleep(60)
            except Exception:
                continue
        metrics = {"accuracy": 0.5}
        return Result(step=1, metrics=metrics, seconds=self.seconds, worker="here")


def session_of(*, minutes, rungs=None):
    spec = replace(
        study_spec(trials=3, rungs=rungs, baselines={}),
        resources=Resources(minutes_per_trial=minutes),
    )
    store = MemoryStore()
    store.create(record_of(spec))
    return StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 1.0
    )


def test_a_trial_that_hangs_is_ended_and_the_others_go_on():
    session = session_of(minutes=0.01)
    local.run(session, Hanging(), stop=threading.Event())
    states = [trial.state for trial in session.trials]
    assert states == [State.COMPLETED, State.FAILED, State.COMPLETED]
    failure = session.trials[1].failure
    assert failure.reason is FailureReason.TIME_LIMIT
    assert failure.teaches
    assert failure.message == (
        "it took longer than resources.minutes_per_trial allows, which is 0.01, and was ended"
    )


def test_what_earlier_rungs_took_is_gone():
    session = session_of(minutes=1, rungs=Rungs("epochs", (1,), eta=1))
    evaluator = Hanging(seconds=50)
    session.tell(segment := session.ask(), evaluator.run(segment, None))
    while (segment := session.ask()).trial != 0:
        session.tell(segment, replace(evaluator.run(replace(segment, trial=0), None), seconds=5))
    assert (segment.rung, segment.seconds) == (1, 10.0)


def test_without_a_limit_nothing_is_ended():
    assert session_of(minutes=None).ask().seconds is None
