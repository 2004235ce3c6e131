"""Which paused trial goes on, on outcomes written down."""

from dataclasses import replace

import pytest

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.trial import Rung, State, Trial
from autopeft.orchestrator.promotion import contenders, promotable

OBJECTIVES = (
    Objective("accuracy", "maximize"),
    Objective("adapter_params", "minimize", scale="log"),
)
AT_THE_RUNG = [(0.55, 100), (0.70, 10_000), (0.50, 10), (0.40, 5_000), (0.56, 120)]


def paused(number, accuracy, parameters, *, baseline=False, branch="lora"):
    return Trial(
        number,
        Configuration(branch, Architecture(()), {}),
        seed=0,
        point={},
        known={"adapter_params": float(parameters)},
        baseline=baseline,
        state=State.PAUSED,
        next_rung=1,
        rungs=(Rung(0, 10, {"accuracy": accuracy}),),
    )


def numbers(trials, *, eta=2, closing=True, constraints=()):
    """The trials that go on, one after the other."""
    found, trials = [], list(trials)
    options = {"objectives": OBJECTIVES, "constraints": constraints, "eta": eta}
    while chosen := promotable(trials, **options, closing=closing):
        found.append(chosen.number)
        done = Rung(1, 20, dict(chosen.rungs[0].metrics))
        trials[chosen.number] = Trial(
            **{**vars(chosen), "state": State.COMPLETED, "rungs": (*chosen.rungs, done)}
        )
    return found


def test_the_best_of_the_measured_objective_goes_on_first_then_what_differs_most():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    # 1 is the most accurate, 2 the farthest from it, and 3 is dominated.
    assert numbers(trials)[:2] == [1, 2]
    assert len(numbers(trials)) == 3
    assert 3 not in numbers(trials)


def test_a_rung_that_more_may_reach_promotes_its_whole_share_only():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    assert numbers(trials, closing=False) == [1, 2]
    assert numbers(trials[:1], closing=False) == []


def test_what_holds_the_constraints_goes_first():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    small = (Constraint.parse("adapter_params <= 1000"),)
    assert 1 not in numbers(trials, constraints=small)


def test_a_limit_on_a_baseline_counts_once_the_baseline_has_ended():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    house = paused(len(trials), 0.6, 20_000, baseline=True)
    house = replace(house, configuration=Configuration("house", Architecture(()), {"bf16": True}))
    ended = replace(
        house, state=State.COMPLETED, rungs=(*house.rungs, Rung(1, 20, {"accuracy": 0.6}))
    )
    limit = (Constraint.parse("adapter_params <= 0.05 * baselines.house.adapter_params"),)
    assert 1 in numbers([*trials, house], constraints=limit)
    assert 1 not in numbers([*trials, ended], constraints=limit)


def test_a_shorter_recipe_that_ended_at_the_rung_takes_no_place():
    short = [replace(paused(i, 0.6, 100 + i), state=State.COMPLETED) for i in range(3)]
    waiting = [paused(i, 0.5 + 0.01 * i, 100 + i) for i in range(3, 6)]
    rule = {"objectives": OBJECTIVES, "constraints": (), "eta": 3, "closing": False}
    assert {trial.number for trial in contenders([*short, *waiting], **rule)} == {3, 4, 5}
    assert promotable([*short, *waiting], **rule).number == 5


def test_what_was_trained_before_its_rung_goes_on_at_once_and_takes_no_place():
    waiting = [paused(i, 0.5 + 0.01 * i, 100 + i) for i in range(3)]
    over = replace(paused(3, 0.1, 9_999), provenance={"total_steps": 10})
    rule = {"objectives": OBJECTIVES, "constraints": (), "eta": 3, "closing": False}
    assert promotable([*waiting, over], **rule) is over
    assert contenders([*waiting, over], **rule) == [over]
    kept = replace(over, state=State.COMPLETED, rungs=(*over.rungs, Rung(1, 10, {"accuracy": 0.1})))
    assert promotable([*waiting, kept], **rule).number == 2
    assert len(contenders([*waiting, kept], **rule)) == 3
    assert contenders([*waiting[:2], kept], **rule) == []


def test_a_baseline_competes_with_its_own_branch():
    rows = [(0.9, 10), (0.8, 10), (0.3, 999), (0.2, 999)]
    trials = [
        paused(i, *row, baseline=i > 1, branch="house" if i > 1 else "lora")
        for i, row in enumerate(rows)
    ]
    assert sorted(numbers(trials)) == [0, 2]


# -- where somebody forecasts how trials end ---------------------------------------------------


def contending(trials, *, eta=2, closing=False, constraints=()):
    options = {"objectives": OBJECTIVES, "constraints": constraints, "eta": eta}
    return [trial.number for trial in contenders(trials, **options, closing=closing)]


def went_on(trial, state=State.RUNNING):
    rungs = trial.rungs
    if state is State.COMPLETED:
        rungs = (*rungs, Rung(1, 20, dict(rungs[0].metrics)))
    return replace(trial, state=state, rungs=rungs)


def test_all_that_wait_contend_for_a_place_the_best_at_the_rung_first():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    found = contending(trials)
    assert found[:2] == [1, 2]
    assert sorted(found) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("state", [State.RUNNING, State.COMPLETED, State.FAILED])
def test_whoever_went_on_has_taken_a_place(state):
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    trials[3] = went_on(trials[3], state)
    assert sorted(contending(trials)) == [0, 1, 2, 4]
    trials[0] = went_on(trials[0], state)
    assert contending(trials) == []


def test_a_place_more_is_given_out_when_no_new_trial_comes():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    trials[:2] = [went_on(trial) for trial in trials[:2]]
    assert contending(trials) == []
    assert sorted(contending(trials, closing=True)) == [2, 3, 4]


def test_a_trial_that_still_runs_to_the_rung_keeps_the_last_place_open():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    trials[:2] = [went_on(trial) for trial in trials[:2]]
    coming = replace(paused(5, 0.6, 10), state=State.RUNNING, rungs=(), next_rung=0)
    assert contending([*trials, coming], closing=True) == []


def test_what_breaks_a_constraint_contends_only_where_everything_does():
    trials = [paused(i, *row) for i, row in enumerate(AT_THE_RUNG)]
    small = (Constraint.parse("adapter_params <= 110"),)
    assert sorted(contending(trials, constraints=small)) == [0, 2]
    none = (Constraint.parse("adapter_params <= 5"),)
    assert len(contending(trials, constraints=none)) == 5


def test_a_baseline_contends_with_nobody():
    rows = [(0.9, 10), (0.8, 10), (0.3, 999), (0.2, 999)]
    trials = [
        paused(i, *row, baseline=i < 2, branch="house" if i < 2 else "lora")
        for i, row in enumerate(rows)
    ]
    assert contending(trials) == [0]
    trials[0] = went_on(trials[0])
    assert sorted(contending(trials)) == [2, 3]
