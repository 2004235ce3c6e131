"""The confirmation of a front, driven by a plain loop."""

import itertools
from dataclasses import replace
from functools import partial

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
from autopeft.domain.results.confirmation import parties
from autopeft.domain.results.front import fallen, front
from autopeft.domain.results.replicates import averaged, fresh, searched
from autopeft.domain.study import Confirm, Resources, Rungs
from autopeft.domain.trial import Failure, FailureReason, Result, State
from autopeft.orchestrator import confirm_plan
from autopeft.orchestrator.confirm_session import ConfirmSession, begin
from autopeft.orchestrator.retention import kept_adapters
from autopeft.orchestrator.session import StudySession

NOISE = 0.03


class Watching(RandomSampler):
    """Remembers the longest history that it was shown."""

    def suggest(self, problem, history, *, seed):
        assert not fresh(history)
        return super().suggest(problem, history, seed=seed)


def session_of(spec, store, kind=StudySession):
    if spec.name not in store.records:
        store.create(record_of(spec))
    return kind(
        spec,
        problem=fake_problem(spec),
        store=store,
        sampler=Watching(),
        clock=partial(next, itertools.count(len(store.events[spec.name]) + 1.0)),
    )


def searched_study(evaluator=None, **options):
    spec, store = study_spec(**options), MemoryStore()
    session = session_of(spec, store)
    drive(session, evaluator or FakeEvaluator(noise=NOISE))
    session.close()
    return spec, store


def confirm(spec, store, evaluator=None, *, seeds=3, limit=1000, trials=None):
    begin(spec, Confirm(seeds, trials), store, now=2.0)
    session = session_of(spec, store, ConfirmSession)
    ran = drive(session, evaluator or FakeEvaluator(noise=NOISE), limit=limit)
    return session, ran


def test_the_front_and_every_baseline_run_at_fresh_seeds_to_the_end_of_the_recipe():
    spec, store = searched_study(trials=20, rungs=Rungs("epochs", (1, 3)))
    before = store.history("fake")
    evaluator = FakeEvaluator(noise=NOISE)
    session, ran = confirm(spec, store, evaluator)
    due = {t.number for t in front(spec.objectives, (), before)}
    due |= {t.number for t in confirm_plan.parties(spec, before) if t.baseline}
    again = fresh(store.history("fake"))
    assert {(t.confirms, t.seed) for t in again} == {
        (n, s) for n in due for s in (1000, 1001, 1002)
    }
    assert ran == len(again)
    assert all(s.last and s.test and s.stop.epochs is None for s in evaluator.ran)
    assert session.finished
    assert searched(store.history("fake")) == before
    seeds = [segment.seed for segment in evaluator.ran]
    assert seeds == sorted(seeds), "seed after seed: what is cut short is still even"


def test_what_was_cut_short_goes_on_with_the_runs_that_are_left():
    spec, store = searched_study(trials=20)
    confirm(spec, store, limit=4)
    begun = session_of(spec, store, ConfirmSession)
    assert (lost := begun.ask()) is not None  # a driver is killed in this run
    evaluator = FakeEvaluator(noise=NOISE)
    session, ran = confirm(spec, store, evaluator)
    again = fresh(store.history("fake"))
    assert ran == len(again) - 4
    assert evaluator.ran[0].trial == lost.trial
    assert all(t.state is State.COMPLETED for t in again)
    assert confirm(spec, store)[1] == 0
    assert confirm(spec, store, seeds=4)[1] == len(again) / 3, "one seed more for each"


def test_a_search_goes_on_beside_what_a_confirmation_left_open_and_sees_nothing_of_it():
    spec, store = searched_study(trials=12)
    confirm(spec, store, limit=2)
    wider = study_spec(trials=14)
    session = session_of(wider, store)
    evaluator = FakeEvaluator(noise=NOISE)
    assert drive(session, evaluator) == 2
    assert not any(segment.test for segment in evaluator.ran)
    alone, other = searched_study(trials=14)
    keys = [t.configuration.key for t in searched(store.history("fake"))]
    assert keys == [t.configuration.key for t in other.history("fake")]


@pytest.mark.parametrize("trials", [12, 30])
def test_the_search_leaves_the_confirmation_its_part_of_the_budget(trials):
    asked = Confirm(3)
    spec, store = searched_study(trials=trials, confirm=asked)
    found = store.history("fake")
    settings = confirm_plan.settings(spec, found)
    session, ran = confirm(spec, store, seeds=3, trials=settings.trials)
    assert ran > 0
    assert trials - 3 <= len(store.history("fake")) <= trials, "but for a member that never came"
    assert not session_of(spec, store).ask(), "the search does not go on with what is left"


def test_what_an_extended_search_confirms_again_stays_within_the_new_budget():
    """Runs of who has left the front are spent; who stays on it needs none again."""
    asked = Confirm(3)
    spec, store = searched_study(trials=20, confirm=asked)
    for trials in (20, 26, 32, 40, 50, 60):
        spec = study_spec(trials=trials, confirm=asked)
        drive(session_of(spec, store), FakeEvaluator(noise=NOISE))
        settings = confirm_plan.settings(spec, store.history("fake"))
        _, ran = confirm(spec, store, seeds=3, trials=settings.trials)
        found = store.history("fake")
        assert trials - 4 <= len(found) <= trials
        assert not confirm_plan.planned(spec, settings, found, now=3.0)
    now = {trial.number for trial in confirm_plan.parties(spec, found)}
    assert {trial.confirms for trial in fresh(found)} - now, "somebody has left the front"


def with_more(trial, accuracy):
    rungs = [
        replace(r, metrics={**r.metrics, "accuracy": r.metrics["accuracy"] + accuracy})
        for r in trial.rungs
    ]
    return replace(trial, rungs=tuple(rungs))


def test_what_the_file_gives_is_the_most_that_is_taken_and_the_ends_of_the_front_come_first():
    spec, store = searched_study(trials=60, confirm=Confirm(2, trials=6))
    settings = confirm_plan.settings(spec, store.history("fake"))
    assert settings.trials == 6
    assert len(searched(store.history("fake"))) == 54
    _, ran = confirm(spec, store, seeds=2, trials=6)
    assert ran == 6
    members = front(spec.objectives, (), searched(store.history("fake")))
    confirmed = {t.confirms for t in fresh(store.history("fake"))}
    assert members[0].number in confirmed, "the best quality"
    assert sum(t.baseline for t in fresh(store.history("fake"))) == 2


def test_a_baseline_ahead_of_the_front_does_not_keep_what_stands_next_to_it_from_the_first_place():
    spec, store = searched_study(trials=60)
    told = [with_more(t, 0.05) if t.baseline else t for t in store.history("fake")]
    members = front(spec.objectives, (), searched(told))
    found, *others = (t for t in members if not t.baseline)
    assert members[0].baseline
    assert others, "or there is nothing to choose from"
    first = next(t for t in confirm_plan.parties(spec, told) if not t.baseline)
    assert first.number == found.number


def test_hours_are_kept_for_the_confirmation_too():
    free = searched_study(trials=None, gpu_hours=60 / 3600, baselines={})[1]
    spec, store = searched_study(trials=None, gpu_hours=60 / 3600, baselines={}, confirm=Confirm(2))
    assert len(free.history("fake")) == 60
    left = 60 - len(store.history("fake"))
    _, ran = confirm(spec, store, seeds=2)
    assert ran <= left <= ran + 4


def test_the_front_is_chosen_by_fresh_seeds_alone_and_the_lucky_do_not_come_back():
    spec, store = searched_study(FakeEvaluator(noise=0.1), trials=60, seed=3)
    before = store.history("fake")
    was = {t.number for t in front(spec.objectives, (), before)}
    confirm(spec, store, FakeEvaluator(noise=0.1))
    after = store.history("fake")
    now = front(spec.objectives, (), after)
    assert was - {t.number for t in now}, "with this much luck some fall"
    assert {t.number for t in fallen(spec.objectives, (), after)} == was - {t.number for t in now}
    for mean in now:
        again = [t for t in fresh(after) if t.confirms == mean.number]
        told = sum(t.metrics["accuracy"] for t in again) / 3
        assert mean.metrics["accuracy"] == pytest.approx(told)
    assert was <= kept_adapters(spec, after), "one may look at what did not hold"
    assert not kept_adapters(spec, after) & {t.number for t in fresh(after)}


def test_what_is_tried_after_a_confirmation_may_join_the_front():
    spec, store = searched_study(trials=20)
    confirm(spec, store)
    drive(session_of(study_spec(trials=80), store), FakeEvaluator(noise=NOISE))
    after = store.history("fake")
    last = max(t.number for t in fresh(after))
    members = front(spec.objectives, (), after)
    confirmed = {t.confirms for t in fresh(after)}
    assert all(t.number > last or t.number in confirmed for t in members)
    assert any(t.number > last for t in members)


def test_what_was_running_before_a_confirmation_and_ends_after_it_may_join_the_front():
    spec, store = study_spec(trials=20), MemoryStore()
    session = session_of(spec, store)
    drive(session, FakeEvaluator(noise=NOISE), limit=10)
    cut_short = session.ask()
    session.close()
    confirm(spec, store)
    session = session_of(spec, store)
    again = session.ask()
    assert again.trial == cut_short.trial
    told = Result(step=1, metrics={"accuracy": 0.999}, stderr={}, seconds=1.0, ended=1e6 + 9)
    session.tell(again, told)
    assert again.trial in {member.number for member in session.front}


def test_until_all_fresh_seeds_have_ended_the_front_is_that_of_the_search():
    spec, store = searched_study(trials=20)
    before = front(spec.objectives, (), store.history("fake"))
    confirm(spec, store, limit=3)
    assert front(spec.objectives, (), store.history("fake")) == before


class Fragile(FakeEvaluator):
    """Fails one configuration at every fresh seed."""

    def __init__(self, key):
        super().__init__(noise=NOISE)
        self._key = key

    def run(self, segment, report):
        if segment.configuration.key == self._key:
            return Failure(FailureReason.NOT_FINITE, "loss is nan")
        return super().run(segment, report)


def test_what_trains_at_no_fresh_seed_does_not_hold():
    spec, store = searched_study(trials=20)
    best = front(spec.objectives, (), store.history("fake"))[0]
    confirm(spec, store, Fragile(best.configuration.key))
    after = store.history("fake")
    assert best.number not in {t.number for t in front(spec.objectives, (), after)}
    (party,) = [p for p in parties(spec.objectives, (), after) if p.trial.number == best.number]
    assert (party.seeds, party.failed, party.verdict) == (0, 3, "does not hold")


def test_errors_alone_are_told_as_such():
    spec, store = searched_study(trials=12)

    class Broken:
        def run(self, segment, report):
            return Failure(FailureReason.ERROR, "no such file")

    session, ran = confirm(spec, store, Broken())
    assert session.hopeless
    assert session.finished
    assert ran == 3, "it does not go on with what fails alike"
    found = parties(spec.objectives, (), store.history("fake"))
    assert {(p.seeds, p.verdict) for p in found} == {(0, "does not hold")}
    confirm(spec, store)
    found = parties(spec.objectives, (), store.history("fake"))
    assert {(p.seeds, p.failed) for p in found} == {(3, 0)}


def test_what_the_test_split_says_is_in_no_metric_no_event_and_no_choice():
    spec, store = searched_study(trials=12)
    confirm(spec, store, FakeEvaluator(noise=NOISE))
    after = store.history("fake")
    tests = {t.rungs[-1].test["accuracy"] for t in fresh(after)}
    assert len(tests) == len(fresh(after))
    said = [value for event in store.events["fake"] for value in _numbers(event.payload)]
    assert not tests & set(said)
    assert not any(tests & set(t.metrics.values()) for t in (*after, *averaged(after)))
    worse = [
        replace(t, rungs=(replace(t.rungs[-1], test={"accuracy": 0.0}),)) if t.confirms else t
        for t in after
    ]
    assert front(spec.objectives, (), worse) == front(spec.objectives, (), after)
    assert [p.on_front for p in parties(spec.objectives, (), worse)] == [
        p.on_front for p in parties(spec.objectives, (), after)
    ]


def test_a_constraint_on_a_baseline_follows_its_fresh_seeds():
    spec, store = searched_study(trials=20)
    text = "accuracy >= baselines.house.accuracy"
    limited = replace(spec, constraints=(Constraint.parse(text),), resources=Resources())
    confirm(limited, store)
    after = store.history("fake")
    (house,) = {t.confirms for t in fresh(after) if t.baseline}
    bound = next(m for m in averaged(after) if m.number == house).metrics["accuracy"]
    for member in front(limited.objectives, limited.constraints, after):
        assert member.metrics["accuracy"] >= bound


def _numbers(value):
    if isinstance(value, dict):
        return [n for item in value.values() for n in _numbers(item)]
    if isinstance(value, list | tuple):
        return [n for item in value for n in _numbers(item)]
    return [value] if isinstance(value, float) else []
