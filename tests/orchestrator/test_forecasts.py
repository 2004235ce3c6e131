"""A session whose sampler says what paused trials promise."""

from dataclasses import replace

import pytest
from fakes import FakeEvaluator, MemoryStore, RandomSampler, drive, fake_problem, record_of
from fakes import study_spec as spec_of

from autopeft.domain.study import Rungs
from autopeft.domain.trial import Result, State
from autopeft.orchestrator.session import StudySession
from autopeft.search import make_sampler

RUNGS = Rungs("epochs", (1, 3), eta=3)


class Cautious(RandomSampler):
    """Says that whoever is worst at the rung will end best, and remembers whom it was asked of."""

    def __init__(self, can: bool = True) -> None:
        super().__init__()
        self.asked: list[list[int]] = []
        self._can = can

    def forecasts(self, problem):
        return self._can

    def promises(self, problem, history, paused):
        self.asked.append([trial.number for trial in paused])
        assert {branch.name for branch in problem.space.branches} == {"lora", "ia3"}
        return [-trial.metrics["accuracy"] for trial in paused]


def study_spec(**changes):
    return spec_of(**{"trials": 12, "rungs": RUNGS, "baselines": {}, **changes})


def open_session(spec, sampler, store=None):
    store = store or MemoryStore()
    if spec.name not in store.records:
        store.create(record_of(spec))
    problem = fake_problem(spec)
    session = StudySession(spec, problem=problem, store=store, sampler=sampler, clock=lambda: 0.0)
    return session, store


def at_the_first_rung(session, count):
    """Ask for new trials and tell them; promotions are not asked for."""
    for _ in range(count):
        segment = session.ask()
        assert segment.rung == 0
        session.tell(segment, FakeEvaluator().run(segment, None))


def accuracy(trial):
    return trial.rungs[0].metrics["accuracy"]


def test_whoever_promises_most_goes_on():
    session, store = open_session(study_spec(), Cautious())
    at_the_first_rung(session, 3)
    worst = min(store.history("fake"), key=accuracy)
    assert (segment := session.ask()).trial == worst.number
    assert segment.rung == 1
    assert segment.resume


def test_without_forecasts_the_best_at_the_rung_goes_on():
    sampler = Cautious(can=False)
    session, store = open_session(study_spec(), sampler)
    at_the_first_rung(session, 3)
    found = store.history("fake")[session.ask().trial]
    assert accuracy(found) == max(accuracy(trial) for trial in store.history("fake"))
    assert sampler.asked == []


def test_a_free_worker_never_waits_for_a_forecast():
    sampler = Cautious()
    session, _ = open_session(study_spec(), sampler)
    at_the_first_rung(session, 3)
    assert session.ask_ready() is None
    assert sampler.asked == []
    session.prepare()
    assert [sorted(asked) for asked in sampler.asked] == [[0, 1, 2]]
    session.prepare()  # decided: the next suggestion is prepared beside it
    assert len(sampler.asked) == 1
    assert session.ask_ready().rung == 1
    assert session.ask_ready().rung == 0


def test_a_decision_holds_for_the_results_that_it_was_made_on():
    sampler = Cautious()
    session, store = open_session(study_spec(), sampler)
    at_the_first_rung(session, 2)
    third, fourth = session.ask(), session.ask()
    session.tell(third, FakeEvaluator().run(third, None))
    session.prepare()
    worse = Result(step=1, metrics={"accuracy": 0.1, "eval_loss": 0.9})
    session.tell(fourth, worse)
    assert session.ask_ready() is None
    assert session.ask().trial == fourth.trial
    assert len(sampler.asked) == 2


def test_as_many_go_on_as_have_places_and_the_study_ends():
    session, store = open_session(study_spec(trials=27), Cautious())
    drive(session, FakeEvaluator())
    reached = [len(trial.rungs) for trial in store.history("fake")]
    assert [sum(count > rung for count in reached) for rung in range(3)] == [27, 9, 3]
    assert session.finished


def test_every_baseline_ends_and_is_not_forecast():
    sampler = Cautious()
    session, store = open_session(spec_of(trials=12, rungs=RUNGS), sampler)
    drive(session, FakeEvaluator())
    house = {trial.number for trial in store.history("fake") if trial.baseline}
    assert any(store.history("fake")[n].state is State.COMPLETED for n in house)
    assert sampler.asked
    assert all(house.isdisjoint(asked) for asked in sampler.asked)


@pytest.mark.parametrize("make", [Cautious, lambda: make_sampler("autopeft", {"initial": 4})])
def test_a_second_session_on_the_store_decides_as_the_first_would_have(make):
    spec, store = study_spec(trials=14), MemoryStore()
    whole, whole_store = open_session(spec, make())
    drive(whole, FakeEvaluator())
    for _ in range(100):
        session, _ = open_session(spec, make(), store)
        if drive(session, FakeEvaluator(), limit=3) < 3:
            break
    assert store.history("fake") == whole_store.history("fake")
    assert any(trial.state is State.COMPLETED for trial in store.history("fake"))


def rung_trials(session, store, count):
    at_the_first_rung(session, count)
    return store.history("fake")


def test_replicates_neither_take_a_place_at_a_rung_nor_make_one():
    session, store = open_session(study_spec(), Cautious())
    trials = rung_trials(session, store, 3)
    promoter = session._promoter
    before = [t.number for t in promoter.contenders(trials, closing=False)]
    assert len(before) == 3
    whole = replace(trials[0].rungs[0], step=100)
    again = [
        replace(trials[0], number=10 + i, seed=trials[0].seed + 1 + i, state=State.COMPLETED)
        for i in range(4)
    ]
    again = [replace(trial, rungs=(whole,)) for trial in again]
    after = promoter.contenders([*trials, *again], closing=False)
    assert [t.number for t in after] == before


def test_a_decision_made_while_trials_could_start_is_made_anew_when_none_can():
    session, store = open_session(study_spec(), Cautious())
    trials = rung_trials(session, store, 3)
    promoter = session._promoter
    promoter.decide(trials, closing=False)
    assert promoter.chosen(trials, closing=False) is not None
    assert promoter.chosen(trials, closing=True) is None
    assert promoter.undecided(trials, closing=True)
