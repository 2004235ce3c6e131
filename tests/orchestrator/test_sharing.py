"""Trials beside each other: marked, and repeated alone where memory ran out."""

from dataclasses import replace

import pytest
from fakes import FakeEvaluator, MemoryStore, RandomSampler, fake_problem, record_of, study_spec

from autopeft.domain.study import Resources
from autopeft.domain.trial import Failure, FailureReason, State
from autopeft.orchestrator.session import StudySession

FULL = Failure(FailureReason.OUT_OF_MEMORY, "CUDA out of memory")


def open_session(*, store=None, trials=6, **resources):
    spec = replace(study_spec(trials=trials, baselines={}), resources=Resources(**resources))
    if store is None:
        store = MemoryStore()
        store.create(record_of(spec))
    return StudySession(
        spec,
        problem=fake_problem(spec),
        store=store,
        sampler=RandomSampler(),
        clock=lambda: 0.0,
    ), store


def well(session, segment):
    session.tell(segment, FakeEvaluator().run(segment, lambda step, metrics: None))


def alone(session):
    return {trial.number: trial.provenance.get("alone") for trial in session.trials}


def test_what_runs_beside_another_is_marked():
    session, _ = open_session()
    first = session.ask()
    well(session, first)
    second, third = session.ask(), session.ask()
    well(session, second)
    fourth = session.ask()  # third still runs
    well(session, third)
    well(session, fourth)
    fifth = session.ask()
    well(session, fifth)
    assert alone(session) == {0: True, 1: False, 2: False, 3: False, 4: True}


def test_trials_with_a_gpu_of_their_own_are_alone():
    session, _ = open_session(gpus_per_trial=1)
    for segment in [session.ask(), session.ask()]:
        well(session, segment)
    assert alone(session) == {0: True, 1: True}


def test_memory_that_ran_out_beside_others_is_tried_again_alone():
    session, store = open_session(gpus_per_trial=0.5)
    first, second = session.ask(), session.ask()
    assert session.tell(first, FULL)
    assert store.history("fake")[0].state is State.RUNNING
    assert session.ask() is None  # the other one has to end first
    assert session.ask_ready() is None
    well(session, second)
    again = session.ask()
    assert again == first
    assert session.ask() is None  # and nothing runs beside it
    well(session, again)
    assert alone(session) == {0: True, 1: False}
    assert session.ask() is not None


def test_memory_that_runs_out_alone_counts():
    session, _ = open_session(gpus_per_trial=0.5)
    first, second = session.ask(), session.ask()
    session.tell(first, FULL)
    well(session, second)
    session.tell(session.ask(), FULL)
    assert session.trials[0].state is State.FAILED
    assert session.trials[0].failure.teaches
    only = session.ask()
    session.tell(only, FULL)
    assert session.trials[only.trial].state is State.FAILED


def test_several_that_ran_out_are_repeated_one_after_another():
    session, _ = open_session()
    both = [session.ask(), session.ask()]
    for segment in both:
        session.tell(segment, FULL)
    for expected in both:
        again = session.ask()
        assert again == expected
        assert session.ask() is None
        session.tell(again, FULL)
    assert [trial.state for trial in session.trials] == [State.FAILED] * 2


def test_other_failures_and_whole_gpus_are_not_repeated():
    session, _ = open_session()
    first, _second = session.ask(), session.ask()
    session.tell(first, Failure(FailureReason.NOT_FINITE, "nan"))
    assert session.trials[0].state is State.FAILED
    session, _ = open_session(gpus_per_trial=1)
    first, _second = session.ask(), session.ask()
    session.tell(first, FULL)
    assert session.trials[0].state is State.FAILED


@pytest.mark.parametrize("lost", ["worker", "driver"])
def test_a_repeat_that_is_lost_is_handed_out_again(lost):
    session, store = open_session()
    first, second = session.ask(), session.ask()
    session.tell(first, FULL)
    well(session, second)
    again = session.ask()
    if lost == "worker":
        session.release(again)
    else:
        session, _ = open_session(store=store)
    assert session.ask() == first
