"""Which paused trial goes on, on outcomes written down."""

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.trial import Rung, State, Trial
from autopeft.orchestrator.promotion import promotable

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


def test_a_baseline_competes_with_its_own_branch():
    rows = [(0.9, 10), (0.8, 10), (0.3, 999), (0.2, 999)]
    trials = [
        paused(i, *row, baseline=i > 1, branch="house" if i > 1 else "lora")
        for i, row in enumerate(rows)
    ]
    assert sorted(numbers(trials)) == [0, 2]
