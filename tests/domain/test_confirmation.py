"""What a confirmation says, against what is true of made-up runs."""

from dataclasses import replace

import numpy as np
import pytest

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.results.confirmation import difference, parties
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial

ACCURACY = Objective("accuracy", "maximize")
PARAMS = Objective("adapter_params", "minimize", scale="log")
BOTH = (ACCURACY, PARAMS)


def trial(number, accuracy, size, *, seed=0, confirms=None, baseline=False, test=None, stderr=0.0):
    configuration = Configuration(
        "house" if baseline else "lora",
        Architecture((Module("LORA", {"r": size}, ("q",), (0,)),)),
        {"learning_rate": 1e-3},
    )
    rung = Rung(
        0,
        10,
        {"accuracy": accuracy},
        {"accuracy": stderr} if stderr else {},
        test={} if test is None else {"accuracy": test},
    )
    return Trial(
        number=number,
        configuration=configuration,
        seed=seed,
        point={},
        known={"adapter_params": float(size)},
        baseline=baseline,
        state=State.COMPLETED,
        rungs=(rung,),
        confirms=confirms,
    )


def study(*members, seeds=5, stderr=0.0):
    """members: (searched accuracy, size, baseline, [accuracy of each fresh seed])."""
    own = [trial(i, m[0], m[1], baseline=m[2], stderr=stderr) for i, m in enumerate(members)]
    again = [
        trial(
            100 + i * seeds + k,
            value,
            m[1],
            seed=1000 + k,
            confirms=i,
            baseline=m[2],
            test=value - 0.1,
            stderr=stderr,
        )
        for i, m in enumerate(members)
        for k, value in enumerate(m[3])
    ]
    return [*own, *again]


def by_number(found):
    return {party.trial.number: party for party in found}


def test_means_intervals_and_the_paired_difference_are_those_of_the_fresh_seeds():
    found = by_number(
        parties(
            BOTH,
            (),
            study((0.9, 8, False, [0.8, 0.82, 0.84]), (0.75, 4, True, [0.77, 0.78, 0.82])),
        )
    )
    best = found[0]
    assert best.validation["accuracy"].mean == pytest.approx(0.82)
    assert best.test["accuracy"].mean == pytest.approx(0.72)
    (against,) = best.against
    pairs = np.array([0.03, 0.04, 0.02])
    half = 4.302653 * pairs.std(ddof=1) / np.sqrt(3)
    assert (against.name, against.trial) == ("house", 1)
    assert against.validation.mean == pytest.approx(0.03)
    assert against.validation.half == pytest.approx(half)
    assert against.test.mean == pytest.approx(0.03)
    assert found[1].against == ()


def test_who_is_beaten_by_far_does_not_hold_and_who_is_even_stays_open():
    far = study((0.9, 8, False, [0.80, 0.81, 0.80]), (0.95, 16, False, [0.60, 0.62, 0.61]))
    found = by_number(parties(BOTH, (), far))
    assert (found[0].verdict, found[0].on_front) == ("holds", 1.0)
    assert (found[1].verdict, found[1].on_front) == ("does not hold", 0.0)
    even = study((0.9, 8, False, [0.80, 0.84, 0.82]), (0.9, 16, False, [0.83, 0.79, 0.82]))
    party = by_number(parties(BOTH, (), even))[1]
    assert 0.05 < party.on_front < 0.95


def test_the_told_error_of_the_rows_is_in_the_odds():
    members = (
        (0.9, 8, False, [0.820, 0.821, 0.820]),
        (0.9, 16, False, [0.824, 0.825, 0.824]),
    )
    sure = by_number(parties(BOTH, (), study(*members)))[1]
    unsure = by_number(parties(BOTH, (), study(*members, stderr=0.02)))[1]
    assert sure.on_front == 1.0
    assert 0.5 < unsure.on_front < 0.8


def test_what_breaks_a_constraint_on_fresh_seeds_is_on_no_front():
    limit = (Constraint.parse("accuracy >= 0.7"),)
    told = study((0.9, 8, False, [0.8, 0.8, 0.8]), (0.9, 4, False, [0.6, 0.6, 0.6]))
    found = by_number(parties(BOTH, limit, told))
    assert (found[0].verdict, found[1].verdict) == ("holds", "does not hold")


def test_one_that_failed_at_a_seed_is_judged_by_the_others_and_says_so():
    told = study((0.9, 8, False, [0.8, 0.82, 0.84]), (0.7, 4, True, [0.7, 0.7, 0.7]))
    lost = told[2].failed(Failure(FailureReason.NOT_FINITE, "nan"))
    told[2] = replace(lost, rungs=())
    party = by_number(parties(BOTH, (), told))[0]
    assert (party.seeds, party.failed) == (2, 1)
    assert party.validation["accuracy"].mean == pytest.approx(0.83)
    assert party.against[0].validation.seeds == 2


def test_a_control_is_compared_with_seed_by_seed():
    told = study((0.9, 8, False, [0.8, 0.82, 0.84]))
    control = [t for t in study((0.8, 2, False, [0.7, 0.73, 0.74])) if t.confirms is not None]
    (party,) = parties(BOTH, (), told, controls={"study-control": control})
    assert party.against[0].name == "study-control"
    assert party.against[0].validation.mean == pytest.approx(0.29 / 3)


def test_a_metric_that_is_to_fall_counts_as_better_where_it_is_lower():
    loss = Objective("accuracy", "minimize")
    told = study((0.9, 8, False, [0.8, 0.82, 0.84]), (0.75, 4, True, [0.77, 0.78, 0.82]))
    party = by_number(parties((loss, PARAMS), (), told))[0]
    assert party.against[0].validation.mean == pytest.approx(-0.03)


def test_the_interval_of_a_difference_holds_what_is_true_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        common = rng.normal(0, 0.05, 5)  # of a seed, the same for both
        a = [trial(k, 0.8 + common[k] + rng.normal(0, 0.01), 1, seed=k) for k in range(5)]
        b = [trial(k, 0.78 + common[k] + rng.normal(0, 0.01), 1, seed=k) for k in range(5)]
        found = difference(ACCURACY, a, b)
        inside += found.low <= 0.02 <= found.high
        assert found.half < 0.05, "what a seed does to both is not in it"
    assert 0.92 < inside / 400 < 0.98


def test_the_odds_are_as_often_right_as_they_say():
    """Two candidates of one size: the odds that the better one by its means is the better one."""
    rng, said, right = np.random.default_rng(1), [], []
    for _ in range(60):
        truth = rng.normal(0.8, 0.01, 2)
        values = [list(mean + rng.normal(0, 0.02, 5)) for mean in truth]
        told = study(*((0.9, 8 + i, False, v) for i, v in enumerate(values)))
        # one size: the second differs by a hair that the front does not count
        told = [replace(t, known={"adapter_params": 8.0}) for t in told]
        for party in parties(BOTH, (), told):
            said.append(party.on_front)
            right.append(truth[party.trial.number] == truth.max())
    said, right = np.array(said), np.array(right)
    sure = said > 0.9
    assert sure.sum() > 10
    assert right[sure].mean() > 0.8
    assert abs(said.mean() - right.mean()) < 0.03


def test_draws_below_0_compare_baselines_on_a_log_scale_too():
    loss = replace(ACCURACY, goal="minimize", scale="log")
    members = [
        (0.02, 4, True, [0.02, 0.021]),
        (0.03, 2, True, [0.03, 0.031]),
        (0.01, 8, False, [0.01, 0.011]),
    ]
    found = parties((loss, PARAMS), (), study(*members, seeds=2, stderr=0.05))
    assert {party.trial.number for party in found} == {0, 1, 2}


def test_nothing_confirmed_is_no_party():
    assert parties(BOTH, (), [trial(0, 0.9, 8)]) == []


def test_without_a_told_error_the_seeds_say_how_sure_a_mean_is():
    values = [0.62, 0.70, 0.76, 0.66]
    trials = study((0.7, 100, False, values), seeds=4)
    (party,) = parties(BOTH, (), trials)
    found = party.validation["accuracy"]
    assert found.mean == pytest.approx(np.mean(values))
    assert found.half == pytest.approx(3.1824 * np.std(values, ddof=1) / 2, rel=1e-3)
    (alone,) = parties(BOTH, (), study((0.7, 100, False, values[:1]), seeds=1))
    assert alone.validation["accuracy"].half == np.inf
