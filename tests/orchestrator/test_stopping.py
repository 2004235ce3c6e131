"""When a search has had enough: by what its sampler said of each trial."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import (
    FakeEvaluator,
    MemoryStore,
    drive,
    fake_problem,
    record_of,
    study_spec,
)

from autopeft.domain.ports import Suggestion
from autopeft.domain.study import Resources, Rungs, StopRule
from autopeft.domain.trial import Rung, State
from autopeft.orchestrator.session import StudySession
from autopeft.orchestrator.stopping import enough, hours_of_a_trial, prospects


class PromisingSampler:
    """Draws at random; trial by trial it says that less is left: 1, 1/2, 1/4, ...

    silent: numbers of the trials that no model speaks of.
    """

    def __init__(self, silent=(), gains=None) -> None:
        self._silent = set(silent)
        self._gains = gains

    def suggest(self, problem, history, *, seed):
        point, number = problem.space.draw(np.random.default_rng(seed)), len(history)
        if number in self._silent:
            return Suggestion(point, "away from the model")
        left = self._gains[number] if self._gains else 0.5**number
        return Suggestion(point, "model-based", left / 10, left)


def stopping_spec(rule, **options):
    spec = study_spec(**{"trials": 40, "baselines": {}, **options})
    return replace(spec, search=replace(spec.search, stop=rule))


def open_session(spec, store=None, sampler=None, clock=lambda: 0.0):
    store = store or MemoryStore()
    if spec.name not in store.records:
        store.create(record_of(spec))
    session = StudySession(
        spec,
        problem=fake_problem(spec),
        store=store,
        sampler=sampler or PromisingSampler(),
        clock=clock,
    )
    return session, store


def test_a_search_ends_when_too_little_is_left_to_gain():
    session, store = open_session(stopping_spec(StopRule(min_gain=0.01, patience=3)))
    drive(session, FakeEvaluator())
    # 0.5**7 is the first below 0.01, and trials 7, 8 and 9 the first three.
    assert len(session.trials) == 10
    assert session.finished
    assert prospects(session.spec, session.trials, session.stopped) == [
        "Stopped: the model took less than 1 % of the hypervolume to be left to gain, 3 proposals "
        "in a row (search.stop.min_gain); 30 of 40 trials were left.",
        "Left to gain, by the model: 0.2 % of the hypervolume; by one trial 0.02 %.",
    ]


def test_what_was_confirmed_is_no_trial_of_the_budget():
    session, _ = open_session(stopping_spec(StopRule(min_gain=0.01, patience=3)))
    drive(session, FakeEvaluator())
    confirmed = [replace(t, confirms=t.number) for t in [*session.trials] * 4]
    (said, _) = prospects(session.spec, [*session.trials, *confirmed], session.stopped)
    assert "; 30 of 40 trials were left." in said


def test_without_a_rule_a_search_runs_its_budget():
    session, _ = open_session(stopping_spec(None))
    drive(session, FakeEvaluator())
    assert len(session.trials) == 40
    assert session.stopped is None


def test_patience_counts_what_the_model_proposed_alone():
    rule = StopRule(min_gain=0.01, patience=3)
    session, _ = open_session(stopping_spec(rule), sampler=PromisingSampler(silent=(8, 9)))
    drive(session, FakeEvaluator())
    assert len(session.trials) == 12


def test_one_promise_in_between_begins_the_count_anew():
    left = [0.001, 0.001, 0.5, 0.001, 0.001, 0.001, 0.001]
    session, _ = open_session(
        stopping_spec(StopRule(min_gain=0.01, patience=3)), sampler=PromisingSampler(gains=left)
    )
    drive(session, FakeEvaluator())
    assert len(session.trials) == 6


def test_a_baseline_that_is_due_has_its_trials_before_the_end():
    # Of every third trial the baseline's, at the end as well; what it promises counts for nothing.
    rule = StopRule(min_gain=0.01, patience=3)
    spec = stopping_spec(rule, trials=40, baselines=None)
    session, _ = open_session(spec, sampler=PromisingSampler(gains=[0.001] * 40))
    drive(session, FakeEvaluator())
    own = [trial for trial in session.trials if trial.baseline]
    searched = [trial for trial in session.trials if not trial.baseline]
    assert len(searched) == 3
    assert len(own) * 3 > len(session.trials)
    assert all(trial.expected_left is None and trial.expected_gain is None for trial in own)


def test_the_end_promotes_what_is_paused_as_the_end_of_a_budget_does():
    rule = StopRule(min_gain=0.01, patience=3)
    session, _ = open_session(stopping_spec(rule, rungs=Rungs("epochs", (1, 3), eta=3)))
    drive(session, FakeEvaluator())
    assert len(session.trials) == 10
    assert session.finished
    assert any(trial.state is State.COMPLETED for trial in session.trials)
    # What 10 trials may complete where the budget itself is 10.
    budget, _ = open_session(stopping_spec(None, trials=10, rungs=Rungs("epochs", (1, 3), eta=3)))
    drive(budget, FakeEvaluator())
    assert [t.state for t in session.trials] == [t.state for t in budget.trials]


def test_a_search_cut_off_anywhere_stops_where_it_would_have():
    spec = stopping_spec(
        StopRule(min_gain=0.01, patience=3), baselines=None, rungs=Rungs("epochs", (1, 3), eta=3)
    )
    whole, whole_store = open_session(spec)
    drive(whole, FakeEvaluator())
    store = MemoryStore()
    for _ in range(200):
        session, _ = open_session(spec, store)
        if drive(session, FakeEvaluator(), limit=2) < 2:
            break
    assert store.history("fake") == whole_store.history("fake")
    assert whole.stopped == session.stopped is not None


def test_a_loosened_rule_goes_on():
    store = MemoryStore()
    session, _ = open_session(stopping_spec(StopRule(min_gain=0.01, patience=3)), store)
    drive(session, FakeEvaluator())
    session.close()
    assert store.study("fake").state == "finished"
    session, _ = open_session(stopping_spec(StopRule(min_gain=0.001, patience=3)), store)
    drive(session, FakeEvaluator())
    assert len(session.trials) == 13
    assert "less than 0.1 %" in session.stopped


def test_a_spent_budget_is_not_called_a_stop():
    spec = stopping_spec(StopRule(min_gain=0.01, patience=3), trials=10)
    session, _ = open_session(spec)
    drive(session, FakeEvaluator())
    assert session.stopped is None
    assert session.finished


def test_what_ended_the_study_is_told_to_the_tracker():
    session, store = open_session(stopping_spec(StopRule(min_gain=0.01, patience=3)))
    drive(session, FakeEvaluator())
    session.close()
    (ended,) = [event for event in store.events["fake"] if event.kind == "study_ended"]
    assert ended.payload == {"state": "finished", "why": session.stopped}
    started = [event for event in store.events["fake"] if event.kind == "trial_started"]
    assert started[1].payload["promised"] == {"expected_gain": 0.05, "expected_left": 0.5}


# -- against the hours of a trial ----------------------------------------------------------


def with_results(session, seconds, ended):
    """The trials as if each had taken so long, told at these times."""
    return [
        replace(trial, created=10.0, rungs=(Rung(0, 1, {}, seconds=s, ended=e),))
        for trial, s, e in zip(session.trials, seconds, ended, strict=True)
    ]


@pytest.fixture
def three():
    session, _ = open_session(stopping_spec(None, trials=3))
    drive(session, FakeEvaluator())
    return session


def test_a_trial_is_weighed_against_the_device_hours_of_those_before_it(three):
    # Gains of 10, 5 and 2.5 %; an hour and a half each, on two devices.
    trials = with_results(three, [7200, 3600, 99], [1.0, 2.0, 11.0])
    spec = replace(three.spec, resources=Resources(gpus_per_trial=2))
    assert hours_of_a_trial(spec, trials, before=10.0) == pytest.approx(3.0)
    assert hours_of_a_trial(spec, trials, before=0.5) is None

    def said(least, patience):
        rule = StopRule(min_gain_per_gpu_hour=least, patience=patience)
        search = replace(spec.search, stop=rule)
        return enough(replace(spec, search=search, budget=replace(spec.budget, trials=9)), trials)

    assert said(0.0083, 1) is None
    assert said(0.0084, 1) == (
        "the next trial was to gain less than 0.84 % of the hypervolume per GPU hour, at the last "
        "proposal (search.stop.min_gain_per_gpu_hour)"
    )
    assert said(0.0084, 2) is None
    assert said(0.0170, 2) is not None


def test_later_results_do_not_change_what_was_decided(three):
    trials = with_results(three, [3600, 3600, 3600], [1.0, 2.0, 3.0])
    spec = replace(
        three.spec,
        search=replace(three.spec.search, stop=StopRule(min_gain_per_gpu_hour=0.03, patience=1)),
        budget=replace(three.spec.budget, trials=9),
    )
    assert enough(spec, trials) is not None
    first, *rest = trials
    later = replace(first, rungs=(*first.rungs, Rung(1, 2, {}, seconds=1e-3, ended=20.0)))
    assert enough(spec, [later, *rest]) == enough(spec, trials)


def test_a_rule_needs_a_limit():
    with pytest.raises(ValueError, match="needs min_gain or min_gain_per_gpu_hour"):
        StopRule()
