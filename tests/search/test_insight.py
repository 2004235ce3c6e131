"""What the surrogate says to people, on a landscape whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    PARAMETERS,
    SECONDS,
    SPACE,
    accuracy,
    baseline_trial,
    make_problem,
    random_trials,
    told,
    with_estimates,
)

from autopeft.domain.results.progress import Axes, progress
from autopeft.domain.results.replicates import averaged
from autopeft.domain.space import Space
from autopeft.search.insight.insights import Insights


def history(problem, count, seed=0):
    """Random trials after the baseline, with the noise that they tell."""
    rng = np.random.default_rng(seed)
    first = baseline_trial(problem, 0, 5e-5)
    trials = [told(t, noise=0.005 * rng.normal()) for t in random_trials(problem, count, seed)]
    return [first, *(replace(t, number=i + 1) for i, t in enumerate(trials))]


@pytest.fixture(scope="module")
def insight():
    problem = make_problem(SPACE)
    return Insights(problem)(history(problem, 80))


def effects(insight, scope, factor):
    (told,) = insight.effects
    return {e.level: e for e in told.effects if (e.scope, e.factor) == (scope, factor)}


def test_effects_have_the_sign_of_the_truth_and_their_intervals_hold_it(insight):
    rates = effects(insight, "lora", "training.learning_rate")
    assert max(rates.values(), key=lambda e: e.change).level in ("0.000316", "0.00178")
    assert rates["1e-05"].high < 0
    sizes = [e.change for e in effects(insight, "lora", "modules[0].r").values()]
    assert sizes[0] < sizes[-1]
    problem = make_problem()
    rng = np.random.default_rng(1)
    by_branch = {
        b: np.mean(
            [accuracy(problem.configure(replace_branch(problem, b, rng))) for _ in range(400)]
        )
        for b in ("lora", "ia3", "prefix")
    }
    truth = {b: value - np.mean(list(by_branch.values())) for b, value in by_branch.items()}
    found = effects(insight, "", "branch")
    order = sorted(truth, key=truth.get)
    assert sorted(found, key=lambda b: found[b].change) == order
    # 16 configurations stand for the branch: that they differ is not in the interval.
    assert all(abs(found[b].change - truth[b]) < 0.03 for b in truth)


def replace_branch(problem, branch, rng):
    return replace(problem, space=problem.space.only(branch)).space.draw(rng)


def test_a_layer_is_told_on_against_off(insight):
    late = effects(insight, "lora", "layer 4")
    assert list(late) == ["on"]
    assert late["on"].change > effects(insight, "lora", "layer 0")["on"].change


@pytest.mark.parametrize("estimates", [lambda problem: problem, with_estimates])
def test_every_measured_objective_has_effects_a_log_one_as_shares(estimates):
    problem = estimates(make_problem(SPACE, objectives=(ACCURACY, SECONDS, PARAMETERS)))
    found = Insights(problem)(history(problem, 30))
    assert [(e.metric, e.relative) for e in found.effects] == [
        ("accuracy", False),
        ("train_seconds", True),
    ]
    assert "one measured quality" in found.chance.silent


def test_where_trials_say_nothing_the_model_says_so():
    problem = make_problem(Space((SPACE["lora"], SPACE["house"])))
    rng = np.random.default_rng(0)
    trials = []
    for trial in history(problem, 24):
        rung = trial.rungs[-1]
        noise = {**rung.metrics, "accuracy": float(rng.normal(0.5, 0.1))}
        trials.append(
            replace(trial, rungs=(replace(rung, metrics=noise, stderr={"accuracy": 0.1}),))
        )
    (found,) = Insights(problem)(trials).effects
    assert found.left_out_error >= 1
    assert "no better than their mean" in found.silent
    assert found.effects == ()


def test_few_trials_tell_nothing():
    problem = make_problem(SPACE)
    found = Insights(problem)(history(problem, 3))
    assert found.effects[0].silent == "effects need 6 completed trials, got 4"
    assert "needs 6 completed, got 4" in found.chance.silent


def test_a_random_search_reaches_the_random_level():
    problem = make_problem(SPACE)
    ends, inside = [], 0
    for seed in range(4):
        trials = history(problem, 60, seed)
        level = Insights(problem)(trials).chance
        reached = progress(problem.objectives, (), trials, devices=1)[-1].hypervolume
        ends.append((reached, level.mean[-1]))
        inside += level.low[-1] <= reached <= level.high[-1]
    reached, expected = np.mean(ends, axis=0)
    assert reached == pytest.approx(expected, rel=0.25)
    assert inside >= 2


def test_a_baseline_that_breaks_a_constraint_is_no_part_of_the_random_level():
    quality = replace(ACCURACY, reference=0.5)
    problem = make_problem(SPACE, objectives=[quality], constraints=["peak_memory_gib <= 1.55"])
    first, *others = history(problem, 20)
    high = {**first.rungs[-1].metrics, "accuracy": 0.99}
    house = replace(first, rungs=(replace(first.rungs[-1], metrics=high),))
    assert house.metrics["peak_memory_gib"] > 1.55
    assert Insights(problem)([house, *others]).chance.mean[0] == 0


def test_no_draw_is_better_than_a_metric_can_be():
    problem = make_problem(SPACE)
    trials = []
    for trial in history(problem, 30):
        rung = trial.rungs[-1]
        high = {**rung.metrics, "accuracy": min(1.0, rung.metrics["accuracy"] + 0.25)}
        stderr = {"accuracy": 0.1}
        trials.append(replace(trial, rungs=(replace(rung, metrics=high, stderr=stderr),)))
    level = Insights(problem)(trials).chance
    done = averaged(trials)
    axes = Axes.of(problem.objectives, done)
    cheapest = min(problem.known(t.configuration.architecture)["adapter_params"] for t in done)
    ideal = axes.place(np.array([[1.0, -np.log(cheapest / 4)]]))
    assert max(level.high) <= np.prod(ideal)


def test_the_same_trials_say_the_same(insight):
    problem = make_problem(SPACE)
    assert Insights(problem)(history(problem, 80)) == insight
