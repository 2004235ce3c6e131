"""The rules of a study, driven by a plain loop."""

import threading
from dataclasses import replace

import pytest
from fakes import (
    FakeEvaluator,
    MemoryStore,
    RandomSampler,
    drive,
    fake_problem,
    record_of,
    study_spec,
)

from autopeft.domain.objective import Constraint
from autopeft.domain.study import Rungs
from autopeft.domain.trial import Failure, FailureReason, Result, State
from autopeft.orchestrator.segments import segment_of
from autopeft.orchestrator.session import StudySession

RUNGS = Rungs("epochs", (1, 3), eta=3)


def open_session(spec, store=None, **options):
    store = store or MemoryStore()
    if spec.name not in store.records:
        store.create(record_of(spec))
    session = StudySession(
        spec,
        problem=fake_problem(spec),
        store=store,
        sampler=options.pop("sampler", RandomSampler()),
        clock=options.pop("clock", lambda: 0.0),
        **options,
    )
    return session, store


def test_a_study_runs_its_budget_and_ends():
    session, store = open_session(study_spec(trials=12))
    assert drive(session, FakeEvaluator()) == 12
    assert session.finished
    assert all(trial.state is State.COMPLETED for trial in store.history("fake"))


def test_no_network_is_trained_twice_at_a_seed():
    session, store = open_session(study_spec(trials=40))
    drive(session, FakeEvaluator())
    keys = [trial.configuration.key for trial in store.history("fake")]
    assert len(set(keys)) == len(keys)


def test_a_space_that_is_used_up_ends_the_study():
    branches = {
        "tiny": {
            "modules": [{"peft_type": "LORA", "r": 4, "target_modules": ["query"]}],
            "training": {"learning_rate": 1e-3},
        }
    }
    session, store = open_session(study_spec(trials=50, branches=branches, baselines={}))
    assert drive(session, FakeEvaluator()) == 1
    assert session.finished


def test_a_baseline_gets_the_trials_of_a_branch():
    session, store = open_session(study_spec(trials=12))
    drive(session, FakeEvaluator())
    assert sum(trial.baseline for trial in store.history("fake")) == 4


def test_a_baseline_that_breaks_a_known_limit_is_trained_all_the_same():
    """It was never tried: nothing was compared with it, and limits that follow it had no bound."""
    limits = ("adapter_params <= 3000", "accuracy >= baselines.house.accuracy - 0.9")
    spec = replace(study_spec(trials=12), constraints=tuple(map(Constraint.parse, limits)))
    session, _ = open_session(spec)
    drive(session, FakeEvaluator())
    house = [trial for trial in session.trials if trial.baseline]
    assert [trial.state for trial in house] == [State.COMPLETED] * 4
    assert all(trial.known["adapter_params"] > 3000 for trial in house)
    searched = [trial for trial in session.trials if not trial.baseline]
    assert all(trial.known["adapter_params"] <= 3000 for trial in searched)
    assert session.front
    assert not any(trial.baseline for trial in session.front)


def test_rungs_pause_the_losers_and_finish_the_winners():
    session, store = open_session(study_spec(trials=27, rungs=RUNGS, baselines={}))
    drive(session, FakeEvaluator())
    states = [trial.state for trial in store.history("fake")]
    assert set(states) == {State.PAUSED, State.COMPLETED}
    assert 1 <= states.count(State.COMPLETED) <= 27 / 3
    assert session.finished


def test_a_promoted_trial_goes_on_from_its_checkpoint():
    evaluator = FakeEvaluator()
    session, _ = open_session(study_spec(trials=9, rungs=RUNGS, baselines={}))
    drive(session, evaluator)
    assert all(segment.resume == (segment.rung > 0) for segment in evaluator.ran)
    assert any(segment.last and segment.rung == 2 for segment in evaluator.ran)


def test_every_baseline_completes_although_a_smaller_adapter_beats_it_at_each_rung():
    session, store = open_session(study_spec(trials=12, rungs=RUNGS))
    drive(session, FakeEvaluator())
    assert any(t.baseline and t.state is State.COMPLETED for t in store.history("fake"))


def test_a_failure_is_remembered_and_the_search_goes_on():
    session, store = open_session(study_spec(trials=20))
    drive(session, FakeEvaluator(fail_above=1e-3))
    failed = [trial for trial in store.history("fake") if trial.state is State.FAILED]
    assert failed
    assert all(t.failure.reason is FailureReason.NOT_FINITE for t in failed)
    assert len(store.history("fake")) == 20


def test_a_result_that_is_not_a_number_is_a_failure():
    session, store = open_session(study_spec(trials=2))
    segment = session.ask()
    session.tell(segment, Result(step=1, metrics={"accuracy": float("nan")}))
    assert store.history("fake")[0].failure.reason is FailureReason.NOT_FINITE


def test_a_result_that_no_model_can_take_is_a_failure():
    limit = Constraint.parse("peak_memory_gib <= 1")
    session, store = open_session(replace(study_spec(trials=3), constraints=(limit,)))
    for metrics in (
        {"accuracy": -1.7e308},
        {"accuracy": 0.5, "peak_memory_gib": float("inf")},
        {"accuracy": 0.5, "peak_memory_gib": 2.0},
    ):
        session.tell(session.ask(), Result(step=1, metrics=metrics))
    first, second, third = store.history("fake")
    assert "needs a value up to 1e+100, got -1.7e+308" in first.failure.message
    assert "peak_memory_gib <= 1 needs a finite value, got inf" in second.failure.message
    assert third.failure is None


def test_errors_alike_from_the_start_end_the_study_early():
    session, store = open_session(study_spec(trials=100))

    class Broken:
        def run(self, segment, report):
            return Failure(FailureReason.ERROR, "ModuleNotFoundError: no module named x")

    assert drive(session, Broken()) == 3
    assert session.given_up.message == "ModuleNotFoundError: no module named x"
    assert session.finished
    session.close()
    assert store.study("fake").state == "paused"  # who mends it may go on


def test_a_second_session_on_the_store_goes_on_where_the_first_ended():
    spec, store = study_spec(trials=12, rungs=RUNGS), MemoryStore()
    whole, whole_store = open_session(spec)
    drive(whole, FakeEvaluator())

    for _ in range(100):
        session, _ = open_session(spec, store)
        if drive(session, FakeEvaluator(), limit=3) < 3:
            break
    assert store.history("fake") == whole_store.history("fake")


def test_a_segment_that_was_running_when_the_driver_died_is_handed_out_again():
    spec, store = study_spec(trials=3), MemoryStore()
    first, _ = open_session(spec, store)
    lost = first.ask()
    second, _ = open_session(spec, store)
    assert second.ask() == lost
    assert second.ask().trial != lost.trial


def test_a_released_segment_is_handed_out_again():
    session, _ = open_session(study_spec(trials=3))
    segment = session.ask()
    session.release(segment)
    assert session.ask() == segment


def test_a_result_told_twice_counts_once():
    session, store = open_session(study_spec(trials=3))
    segment = session.ask()
    result = FakeEvaluator().run(segment, None)
    assert session.tell(segment, result)
    assert not session.tell(segment, Failure(FailureReason.ERROR, "late"))
    assert store.history("fake")[0].state is State.COMPLETED


def test_what_the_store_refused_did_not_happen():
    session, store = open_session(study_spec(trials=3))
    segment = session.ask()
    store.broken = True
    with pytest.raises(OSError, match="disk is full"):
        session.tell(segment, FakeEvaluator().run(segment, None))
    store.broken = False
    assert session.trials[0].state is State.RUNNING
    assert session.tell(segment, FakeEvaluator().run(segment, None))


def test_a_prepared_suggestion_is_not_computed_again():
    sampler = RandomSampler()
    session, _ = open_session(study_spec(trials=3), sampler=sampler)
    session.prepare()
    session.prepare()
    calls = sampler.calls
    assert session.ask() is not None
    assert sampler.calls == calls


def test_the_wall_clock_ends_a_study():
    now = [0.0]
    spec = study_spec(trials=None, wall_hours=1.0)
    session, store = open_session(spec, clock=lambda: now[0])
    assert session.ask() is not None
    now[0] = 3601.0
    assert session.ask() is None


def test_many_threads_never_get_the_same_segment():
    session, store = open_session(study_spec(trials=60))
    seen, lock = [], threading.Lock()

    def work():
        evaluator = FakeEvaluator()
        while (segment := session.ask()) is not None:
            with lock:
                seen.append((segment.trial, segment.rung))
            session.tell(segment, evaluator.run(segment, None))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(set(seen)) == 60


def test_the_hours_of_a_killed_driver_count():
    now, store = [0.0], None
    spec = study_spec(trials=None, wall_hours=1.0, baselines={})
    for _ in range(4):
        session, store = open_session(spec, store, clock=lambda: now[0])
        for _ in range(4):
            if (segment := session.ask()) is None:
                break
            now[0] += 390
            session.tell(segment, FakeEvaluator().run(segment, None))
        # kill -9: nobody closes it
    assert 3600 <= now[0] <= 3600 + 390


def test_what_failed_has_used_its_hours():
    """A search of failing trials never ended: only results told how long they took."""
    now = [0.0]
    spec = study_spec(trials=None, gpu_hours=0.5, baselines={})
    session, store = open_session(spec, clock=lambda: now[0])
    told = 0
    while (segment := session.ask()) is not None:
        now[0] += 600
        told += 1
        session.tell(segment, Failure(FailureReason.OUT_OF_MEMORY, "CUDA out of memory"))
    assert told == 3
    assert [trial.seconds for trial in store.history("fake")] == [600.0] * 3


def test_a_trial_that_starts_over_does_not_tell_its_curve_twice():
    """The study had ended, so its checkpoint was gone: MLflow got every early point again."""
    session, store = open_session(study_spec(trials=27, rungs=RUNGS, baselines={}))
    drive(session, FakeEvaluator())
    trial = next(t for t in store.history("fake") if len(t.rungs) > 1)
    segment = segment_of(session.spec, trial.promoted() if trial.state is State.PAUSED else trial)
    last = trial.rungs[-1].step
    before = len([e for e in store.events["fake"] if e.kind == "curve"])
    session.report(segment, [(1, {"loss": 1.0}), (last, {"loss": 0.5})])
    session.report(segment, [(1, {"loss": 1.0}), (last + 1, {"loss": 0.4})])
    curves = [event for event in store.events["fake"] if event.kind == "curve"][before:]
    assert [event.payload["points"] for event in curves] == [[[last + 1, {"loss": 0.4}]]]
