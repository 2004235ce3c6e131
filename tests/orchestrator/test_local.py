"""The plain loop runs a study to its end, stops between segments, and loses nothing."""

import threading

import pytest
from fakes import FakeEvaluator, MemoryStore, RandomSampler, fake_problem, record_of, study_spec

from autopeft.domain.trial import Result, State
from autopeft.orchestrator import local
from autopeft.orchestrator.session import StudySession


def open_session(spec, store):
    if spec.name not in store.records:
        store.create(record_of(spec))
    return StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 0.0
    )


class Stopping(FakeEvaluator):
    """Sets `stop` during its second segment."""

    def __init__(self, stop):
        super().__init__()
        self._stop = stop

    def run(self, segment, report):
        report(1, {"loss": 0.5})
        if len(self.ran) == 1:
            self._stop.set()
        return super().run(segment, report)


def test_the_loop_runs_a_study_to_its_end():
    store = MemoryStore()
    session = open_session(study_spec(trials=5), store)
    local.run(session, FakeEvaluator(), stop=threading.Event())
    assert session.finished
    assert len(store.history("fake")) == 5


def test_stop_ends_the_loop_after_the_segment_that_runs():
    stop, store = threading.Event(), MemoryStore()
    evaluator = Stopping(stop)
    session = open_session(study_spec(trials=5), store)
    local.run(session, evaluator, stop=stop)
    assert [trial.state for trial in store.history("fake")] == [State.COMPLETED] * 2
    assert not session.running


def test_curves_are_remembered_before_the_result():
    stop, store = threading.Event(), MemoryStore()
    local.run(open_session(study_spec(trials=5), store), Stopping(stop), stop=stop)
    kinds = [event.kind for event in store.events["fake"]]
    assert kinds.index("curve") < kinds.index("rung")


def test_an_interrupted_segment_is_handed_out_again():
    class Interrupted:
        def run(self, segment, report) -> Result:
            raise KeyboardInterrupt

    session = open_session(study_spec(trials=5), MemoryStore())
    with pytest.raises(KeyboardInterrupt):
        local.run(session, Interrupted(), stop=threading.Event())
    assert session.ask() == session.running[0]
