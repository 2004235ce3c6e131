"""Another seed of what was tried: asked for by the sampler, started, counted and kept by the study."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEvaluator, MemoryStore, drive, fake_problem, record_of, study_spec

from autopeft.domain.ports import Suggestion
from autopeft.domain.study import Rungs
from autopeft.domain.trial import Failure, FailureReason, State
from autopeft.home import StudyFolder
from autopeft.orchestrator.housekeeping import LocalHousekeeper
from autopeft.orchestrator.proposal import baseline_due
from autopeft.orchestrator.retention import kept_adapters, tidy
from autopeft.orchestrator.session import StudySession

RUNGS = Rungs("epochs", (1, 3), eta=3)


class Repeating:
    """Asks for another seed of a trial as long as it may, from the second suggestion on."""

    def __init__(self, number=0):
        self.number = number

    def suggest(self, problem, history, *, seed):
        if any(trial.number == self.number and trial.rungs for trial in history) and not seed % 2:
            return Suggestion(history[self.number].point, "again", again=self.number)
        return Suggestion(problem.space.draw(np.random.default_rng(seed)), "new")


class Noisy(FakeEvaluator):
    """Worse at every seed but the first."""

    def run(self, segment, report):
        result = super().run(segment, report)
        metrics = {**result.metrics, "accuracy": result.metrics["accuracy"] - 0.1 * segment.seed}
        return replace(result, metrics=metrics)


def repeated(spec, *, seeds):
    return replace(spec, search=replace(spec.search, seeds=seeds))


def open_session(spec, store=None, sampler=None):
    store = store or MemoryStore()
    if spec.name not in store.records:
        store.create(record_of(spec))
    problem = fake_problem(spec)
    sampler = sampler or Repeating()
    return StudySession(
        spec, problem=problem, store=store, sampler=sampler, clock=lambda: 0.0
    ), store


def seeds_by_key(trials):
    found = {}
    for trial in trials:
        found.setdefault(trial.configuration.key, []).append(trial.seed)
    return found


def test_a_replicate_gets_the_next_seed_and_no_more_than_the_study_allows():
    spec = repeated(study_spec(trials=12, baselines={}, seed=7), seeds=3)
    session, store = open_session(spec)
    assert drive(session, FakeEvaluator()) == 12
    trials = store.history("fake")
    found = seeds_by_key(trials)
    assert found[trials[0].configuration.key] == [7, 8, 9]
    assert all(seeds == [7] for key, seeds in found.items() if key != trials[0].configuration.key)
    again = [t for t in trials if t.seed != 7]
    assert all(t.why.endswith(": again") and t.point == trials[0].point for t in again)
    assert all(t.known == trials[0].known for t in again)


def test_without_leave_nothing_is_repeated():
    session, store = open_session(study_spec(trials=12, baselines={}))
    drive(session, FakeEvaluator())
    assert all(len(seeds) == 1 for seeds in seeds_by_key(store.history("fake")).values())


def test_a_trial_that_does_not_exist_is_not_repeated():
    spec = repeated(study_spec(trials=6, baselines={}), seeds=3)

    class Confused(Repeating):
        def suggest(self, problem, history, *, seed):
            if not seed % 2:
                return Suggestion({}, "again", again=99)
            return super().suggest(problem, history, seed=seed)

    session, store = open_session(spec, sampler=Confused(number=99))
    assert drive(session, FakeEvaluator()) == 6
    assert all(len(seeds) == 1 for seeds in seeds_by_key(store.history("fake")).values())


def test_replicates_count_in_the_budget():
    spec = repeated(study_spec(trials=5, baselines={}), seeds=4)
    session, store = open_session(spec)
    assert drive(session, FakeEvaluator()) == 5
    assert len(seeds_by_key(store.history("fake"))) < 5
    assert session.finished


def test_a_second_session_on_the_store_repeats_what_the_first_would_have():
    spec, store = repeated(study_spec(trials=12), seeds=3), MemoryStore()
    whole, whole_store = open_session(spec)
    drive(whole, Noisy())
    for _ in range(100):
        session, _ = open_session(spec, store)
        if drive(session, Noisy(), limit=2) < 2:
            break
    assert store.history("fake") == whole_store.history("fake")
    assert any(trial.seed for trial in store.history("fake"))


def test_a_replicate_that_was_running_when_the_driver_died_runs_again_at_its_seed():
    spec, store = repeated(study_spec(trials=12, baselines={}), seeds=3), MemoryStore()
    session, _ = open_session(spec, store)
    while (segment := session.ask()).seed == 0:
        session.tell(segment, FakeEvaluator().run(segment, None))
    second, _ = open_session(spec, store)
    assert second.ask() == segment


def test_a_replicate_runs_to_its_end_where_others_pause():
    spec = repeated(study_spec(trials=12, rungs=RUNGS, baselines={}), seeds=3)
    evaluator = FakeEvaluator()
    session, store = open_session(spec, sampler=Repeating())
    drive(session, evaluator)
    again = [segment for segment in evaluator.ran if segment.seed]
    assert again
    assert all(segment.last and not segment.resume for segment in again)
    assert all(t.state is State.COMPLETED for t in store.history("fake") if t.seed)


def test_the_event_of_a_replicate_says_its_seed():
    spec = repeated(study_spec(trials=6, baselines={}), seeds=2)
    session, store = open_session(spec)
    drive(session, FakeEvaluator())
    seeds = [e.payload["seed"] for e in store.events["fake"] if e.kind == "trial_started"]
    assert sorted(set(seeds)) == [0, 1]


def test_the_study_hands_over_the_means():
    spec = repeated(study_spec(trials=8, baselines={}), seeds=2)
    session, store = open_session(spec)
    drive(session, Noisy())
    trials = store.history("fake")
    pair = [t for t in trials if t.configuration.key == trials[0].configuration.key]
    mean = sum(t.metrics["accuracy"] for t in pair) / 2
    shown = {t.number: t.metrics["accuracy"] for t in session.front}
    assert len(pair) == 2
    assert pair[1].number not in shown
    assert shown.get(0, mean) == mean
    event = [e for e in store.events["fake"] if e.kind == "front"][-1]
    assert event.payload["trials"] == [t.number for t in session.front]


def test_a_baseline_is_not_tuned_less_for_its_replicates():
    spec = study_spec(trials=12)
    session, _ = open_session(repeated(spec, seeds=3))
    drive(session, FakeEvaluator(), limit=3)
    trials = list(session.trials)
    house = next(t for t in trials if t.baseline)
    more = [replace(house, number=10 + k, seed=k) for k in (1, 2)]
    rest = [t for t in trials if not t.baseline] * 3
    due = baseline_due(spec, [house, *rest], exhausted=())
    assert due == baseline_due(spec, [house, *more, *rest], exhausted=()) == "house"


# -- what is kept -----------------------------------------------------------------------------


def finished_trials(spec, count=6):
    session, store = open_session(spec)
    drive(session, FakeEvaluator(), limit=count)
    return store.history(spec.name)


def with_accuracy(trial, value, **changes):
    rung = trial.rungs[-1]
    told = replace(rung, metrics={**rung.metrics, "accuracy": value})
    return replace(trial, rungs=(told,), **changes)


def test_the_adapter_of_a_replicate_is_not_kept_and_that_of_the_first_is(tmp_path):
    spec = repeated(study_spec(trials=8, baselines={}), seeds=2)
    trials = finished_trials(spec, 8)
    again = next(t for t in trials if t.seed == 1)
    first = next(t for t in trials if t.configuration.key == again.configuration.key)
    best = [with_accuracy(t, 0.99) if t in (first, again) else t for t in trials]
    for trial in best:
        (tmp_path / "adapters" / f"trial-{trial.number}").mkdir(parents=True)
    tidy(spec, best, tmp_path, finished=True)
    left = {folder.name for folder in (tmp_path / "adapters").iterdir()}
    assert f"trial-{first.number}" in left
    assert f"trial-{again.number}" not in left


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_housekeeper_leaves_what_the_rule_keeps_after_every_trial(tmp_path, seeds):
    spec = repeated(study_spec(trials=14, name="kept"), seeds=seeds)
    store, evaluator, left = MemoryStore(), FakeEvaluator(noise=0.1), StudyFolder(tmp_path)
    store.create(record_of(spec))
    house = None

    def heard(trial):
        if trial.state is State.RUNNING:
            left.adapter(trial.number).mkdir(parents=True)
            left.checkpoint(trial.number, 0).mkdir(parents=True)
            return
        house.heard(trial)
        there = {int(folder.name[6:]) for folder in (tmp_path / "adapters").iterdir()}
        assert there == kept_adapters(spec, session.trials, finished=False)
        assert not list((tmp_path / "checkpoints").iterdir())

    session = StudySession(
        spec,
        problem=fake_problem(spec),
        store=store,
        sampler=Repeating(),
        clock=lambda: 1.0,
        listeners=(heard,),
    )
    house = LocalHousekeeper(spec, tmp_path, lambda: session.trials, lambda: session.kept)
    house.start()
    assert drive(session, evaluator) == 14


def test_what_a_mean_hides_is_kept_until_no_more_seeds_can_come():
    spec = repeated(study_spec(trials=6, baselines={}), seeds=2)
    one, other = finished_trials(repeated(spec, seeds=1), 6)[:2]
    known = {**one.known, "adapter_params": 100}
    lucky = with_accuracy(one, 0.9, known=known)
    hidden = with_accuracy(other, 0.8, known=known)
    assert kept_adapters(spec, [lucky, hidden], finished=False) == {lucky.number, hidden.number}
    assert kept_adapters(spec, [lucky, hidden], finished=True) == {lucky.number}
    assert kept_adapters(repeated(spec, seeds=1), [lucky, hidden], finished=False) == {0}

    running = replace(lucky, number=9, seed=1, state=State.RUNNING, rungs=())
    assert hidden.number in kept_adapters(spec, [lucky, hidden, running], finished=False)
    poor = with_accuracy(lucky, 0.6, number=9, seed=1)  # the mean is 0.75: the other is back
    assert kept_adapters(spec, [lucky, hidden, poor], finished=False) == {0, hidden.number}
    assert kept_adapters(spec, [lucky, hidden, poor], finished=True) == {hidden.number}
    fine = with_accuracy(lucky, 0.88, number=9, seed=1)  # settled, and still ahead
    assert kept_adapters(spec, [lucky, hidden, fine], finished=False) == {lucky.number}
    broken = running.failed(Failure(FailureReason.NOT_FINITE, "nan"))
    assert kept_adapters(spec, [lucky, hidden, broken], finished=False) == {lucky.number}
