"""A full disk or a network that is away: the segment runs again, and no configuration is blamed."""

import pytest
from fakes import FakeEvaluator, MemoryStore, RandomSampler, fake_problem, record_of, study_spec

from autopeft.domain.errors import StudyError
from autopeft.domain.study import Rungs
from autopeft.domain.trial import Failure, FailureReason, State
from autopeft.orchestrator.session import StudySession

AWAY = Failure(FailureReason.INFRASTRUCTURE, "a disk is full on node-7: free it")


@pytest.fixture
def store():
    return MemoryStore()


def opened(store, trials=6, **settings):
    spec = study_spec(trials=trials, baselines={}, **settings)
    if spec.name not in store.records:
        store.create(record_of(spec))
    return StudySession(
        spec, problem=fake_problem(spec), store=store, sampler=RandomSampler(), clock=lambda: 0.0
    )


def well(session, segment):
    session.tell(segment, FakeEvaluator().run(segment, lambda step, metrics: None))


def test_a_segment_that_a_disk_ended_runs_again(store):
    session = opened(store)
    first = session.ask()
    assert session.tell(first, AWAY)
    assert session.ask() == first
    well(session, first)
    assert store.history("fake")[0].state is State.COMPLETED
    assert not AWAY.teaches


def test_where_nothing_goes_well_the_study_is_paused_and_goes_on_later(store):
    session = opened(store, rungs=Rungs("epochs", (3, 9)))
    well(session, session.ask())
    for _ in range(2):
        segments = [session.ask() for _ in range(3)]
        assert all(session.tell(segment, AWAY) for segment in segments)
    with pytest.raises(StudyError, match=r"node-7: free it.*autopeft resume fake"):
        session.tell(session.ask(), AWAY)
    session.close()
    assert store.study("fake").state == "paused"
    assert all(trial.failure is None for trial in store.history("fake"))
    again = opened(store, rungs=Rungs("epochs", (3, 9)))
    segments.sort(key=lambda segment: segment.trial)
    assert [again.ask() for _ in range(3)] == segments


def test_one_that_fails_while_others_go_well_is_recorded_without_a_lesson(store):
    session = opened(store)
    first, other = session.ask(), session.ask()
    session.tell(first, AWAY)
    assert session.ask() == first
    well(session, other)
    session.tell(first, AWAY)
    assert session.ask() == first
    session.tell(first, AWAY)
    failed = store.history("fake")[0]
    assert failed.failure == AWAY
    assert not failed.failure.teaches
