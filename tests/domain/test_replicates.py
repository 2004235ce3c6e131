"""Several seeds of one configuration: their mean, its error, and the front of means."""

from dataclasses import replace

import pytest
from fakes import study_spec

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.objective import Constraint
from autopeft.domain.results.front import (
    baseline_metrics,
    best_baselines,
    front,
    normalised_hypervolume,
)
from autopeft.domain.results.pick import pick
from autopeft.domain.results.replicates import averaged, grouped, merged, seed_factor, seeds_told
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial

OBJECTIVES = study_spec().objectives


def trial(number, accuracy, params, *, of=None, seed=0, stderr=0.02, baseline=False, branch="b"):
    """of: the number of the trial whose configuration it repeats."""
    rate = number if of is None else of
    return Trial(
        number=number,
        configuration=Configuration(branch, Architecture(), {"learning_rate": rate}),
        seed=seed,
        point={},
        known={"adapter_params": params},
        baseline=baseline,
        state=State.COMPLETED,
        rungs=(Rung(0, 1, {"accuracy": accuracy}, {"accuracy": stderr} if stderr else {}),),
    )


ALONE = (trial(0, 0.70, 1000), trial(1, 0.80, 1000), trial(2, 0.85, 8000), trial(3, 0.6, 100))
LUCKY = trial(4, 0.86, 500)
AGAIN = trial(5, 0.70, 500, of=4, seed=1)


def numbers(trials):
    return [t.number for t in trials]


def test_without_replicates_every_trial_is_the_very_one_that_was_told():
    assert all(mean is told for mean, told in zip(averaged(ALONE), ALONE, strict=True))
    assert all(mean is told for mean, told in zip(merged(ALONE), ALONE, strict=True))
    assert seed_factor(ALONE, "accuracy") == 1.0


def test_a_configuration_stands_as_its_first_trial_with_the_mean_over_its_seeds():
    means = averaged((*ALONE, LUCKY, AGAIN))
    assert numbers(means) == [0, 1, 2, 3, 4]
    assert means[-1].metrics["accuracy"] == pytest.approx(0.78)
    assert means[-1].known == LUCKY.known
    assert LUCKY.metrics["accuracy"] == 0.86


def test_luck_leaves_the_front_when_another_seed_is_told():
    assert numbers(front(OBJECTIVES, (), (*ALONE, LUCKY))) == [4, 3]
    assert numbers(front(OBJECTIVES, (), (*ALONE, LUCKY, AGAIN))) == [2, 1, 4, 3]


def test_the_hypervolume_is_that_of_the_means():
    lone = trial(4, 0.78, 500)
    seen = normalised_hypervolume(OBJECTIVES, (), (*ALONE, LUCKY, AGAIN))
    assert seen == pytest.approx(normalised_hypervolume(OBJECTIVES, (), (*ALONE, lone)))


def test_a_constraint_is_held_by_the_mean():
    limit = Constraint.parse("accuracy >= 0.8")
    assert numbers(front(OBJECTIVES, (limit,), (*ALONE, LUCKY))) == [4]
    assert numbers(front(OBJECTIVES, (limit,), (*ALONE, LUCKY, AGAIN))) == [2, 1]


def test_the_best_of_a_baseline_is_that_of_the_means():
    house = trial(6, 0.9, 9000, baseline=True, branch="house")
    second = trial(7, 0.88, 9000, baseline=True, branch="house")
    trials = (*ALONE, house, second, trial(8, 0.8, 9000, of=6, seed=1, baseline=True))
    assert best_baselines(OBJECTIVES, trials)["house"].number == 7
    assert baseline_metrics(OBJECTIVES, trials)["house"]["accuracy"] == 0.88


def test_the_pick_says_that_its_values_are_means():
    chosen = pick(OBJECTIVES, (), (*ALONE, LUCKY, AGAIN), prefer="adapter_params")
    assert "means of" not in chosen.reason
    only = (LUCKY, AGAIN)
    assert (
        "accuracy 0.78, adapter_params 500, means of 2 seeds." in pick(OBJECTIVES, (), only).reason
    )


def test_a_failed_seed_is_told_beside_the_mean():
    broken = replace(
        trial(6, 0.0, 500, of=4, seed=2),
        state=State.FAILED,
        rungs=(),
        failure=Failure(FailureReason.NOT_FINITE, "loss is nan"),
    )
    lost = replace(broken, number=7, failure=Failure(FailureReason.ERROR, "disk full"))
    trials = (LUCKY, AGAIN, broken, lost)
    assert seeds_told(LUCKY, trials) == (2, 3)
    assert "means of 2 of 3 seeds" in pick(OBJECTIVES, (), trials).reason


def test_a_replicate_that_runs_changes_nothing_yet():
    running = replace(AGAIN, state=State.RUNNING, rungs=())
    assert averaged((LUCKY, running)) == [LUCKY]
    assert merged((LUCKY, running)) == [LUCKY]
    assert [len(group) for group in grouped((LUCKY, running))] == [2]


def test_what_was_never_completed_stays_as_it_is():
    paused = replace(LUCKY, state=State.PAUSED)
    assert merged((*ALONE, paused)) == [*ALONE, paused]


def test_the_variance_between_seeds_is_shrunk_towards_the_told_one():
    # One pair, 0.16 apart at a told 0.02: (4 + 0.16^2 / 2 / 0.02^2) / (4 + 1).
    assert seed_factor((LUCKY, AGAIN), "accuracy") == pytest.approx((4 + 32) / 5)
    alike = (LUCKY, replace(AGAIN, rungs=LUCKY.rungs))
    assert seed_factor(alike, "accuracy") == pytest.approx(4 / 5)


def test_many_replicates_leave_nothing_of_the_told_variance():
    trials = []
    for i in range(200):
        trials += [trial(2 * i, 0.5, 9), trial(2 * i + 1, 0.5 + 0.06 * 2**0.5, 9, of=2 * i, seed=1)]
    assert seed_factor(trials, "accuracy") == pytest.approx(9, rel=0.03)


def test_seeds_close_what_they_change_and_not_what_the_rows_leave_open():
    (loud,) = averaged((LUCKY, AGAIN))
    assert loud.stderr["accuracy"] == pytest.approx((0.02**2 * 36 / 5 / 2) ** 0.5)
    (quiet,) = averaged((LUCKY, replace(AGAIN, rungs=LUCKY.rungs)))
    assert quiet.stderr["accuracy"] == pytest.approx(0.02 * (1 / 5 + 4 / 5 / 2) ** 0.5)


def test_a_metric_without_a_told_error_has_none_as_a_mean():
    plain = (trial(0, 0.8, 9, stderr=0), trial(1, 0.7, 9, of=0, seed=1, stderr=0))
    (mean,) = averaged(plain)
    assert mean.metrics["accuracy"] == pytest.approx(0.75)
    assert mean.stderr == {}
    assert seed_factor(plain, "accuracy") == 1.0
