import json
from dataclasses import replace

import numpy as np
import pytest
from search.landscape import ACCURACY, PARAMETERS, make_problem, random_trials, started, told

from autopeft.domain.objective import Constraint
from autopeft.domain.pareto import hypervolume
from autopeft.search import make_sampler
from autopeft.search.gain import closed_form
from autopeft.search.gain.closed_form import Model, applies, make_score, rivals
from autopeft.search.gain.staircase import gain_over, rising, staircase, volume
from autopeft.search.model.memory import Memory, _subset
from autopeft.search.model.outcomes import softened


def test_the_gain_is_the_expected_growth_of_the_hypervolume():
    rng = np.random.default_rng(0)
    cost, quality = rng.random(6), rng.random(6)
    mean, deviation, reach = rng.random(8), 0.05 + 0.3 * rng.random(8), rng.random(8)
    edges, heights = staircase(cost, quality[None, :])
    found = gain_over(mean[None], deviation, reach, edges, heights)
    front = np.column_stack([cost, quality])
    before = hypervolume(front, np.zeros(2))
    for i in range(8):
        drawn = mean[i] + deviation[i] * rng.standard_normal(20_000)
        grown = [hypervolume(np.vstack([front, [reach[i], q]]), np.zeros(2)) for q in drawn[:4000]]
        assert found[i] == pytest.approx(np.mean(grown) - before, abs=0.006)


def test_a_staircase_holds_at_every_cost_the_best_of_that_cost_or_cheaper():
    cost, drawn = np.array([0.5, 0.2, 0.5, -0.3]), np.array([[0.4, 0.9, 0.1, 2.0]])
    edges, heights = staircase(cost, drawn)
    np.testing.assert_allclose(edges[:-1], [0.0, 0.2, 0.5])
    np.testing.assert_allclose(heights, [[0.9, 0.4, 0.0]])
    assert np.isinf(edges[-1])


def test_a_single_objective_is_noisy_expected_improvement():
    edges, heights = staircase(np.ones(2), np.array([[0.3, 0.6]]))
    found = gain_over(np.array([[0.6]]), np.array([1.0]), np.ones(1), edges, heights)
    assert found[0] == pytest.approx(1 / np.sqrt(2 * np.pi))


def test_it_applies_to_one_measured_objective_beside_at_most_one_known():
    assert applies(make_problem())
    assert applies(make_problem(objectives=[ACCURACY]))
    assert not applies(make_problem(objectives=[PARAMETERS]))
    loss = replace(ACCURACY, metric="eval_loss", goal="minimize")
    assert not applies(make_problem(objectives=[ACCURACY, loss, PARAMETERS]))


def test_a_diverged_run_bends_nothing_and_keeps_its_order():
    values = np.array([-500.0, -3.0, -0.1, 0.0, 0.7])
    soft = softened(values)
    assert (np.diff(soft) > 0).all()
    assert soft[0] > -8
    np.testing.assert_array_equal(soft[3:], values[3:])
    far, farther, endless = softened(np.array([-1e4, -1e300, -np.inf]))
    assert far == farther == endless > -8


def test_a_suggestion_is_the_same_with_an_empty_memory():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 16)]
    used = make_sampler("autopeft", {"initial": 4})
    for count in (9, 12, 15, 16):
        part = history[:count]
        fresh = make_sampler("autopeft", {"initial": 4})
        assert used.suggest(problem, part, seed=3) == fresh.suggest(problem, part, seed=3)


def test_a_running_trial_takes_the_gain_of_its_own_place():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 16)]
    others = random_trials(problem, 40, seed=1)
    candidates = [trial.configuration for trial in others]
    problem = Memory().remembering(problem)
    before = make_score(Model.of(problem, history, candidates, Memory()), history, 0)(candidates)
    best = int(np.argmax(before))
    pending = [*history, started(problem, 16, others[best].point)]
    after = make_score(Model.of(problem, pending, candidates, Memory()), pending, 0)(candidates)
    assert after[best] < before[best] - 1


@pytest.mark.parametrize("count", [1, 23, 24, 25, 100, 900])
def test_fits_read_a_part_that_grows_in_steps(count):
    values = np.random.default_rng(0).random(count)
    chosen = _subset(values)
    assert len(set(chosen.tolist())) == len(chosen)
    assert chosen.max() < count
    assert len(chosen) <= 240
    assert len(chosen) >= min(200, count / 1.16)


def test_points_out_of_a_store_are_the_same_points():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 16)]
    stored = [replace(t, point=json.loads(json.dumps(dict(t.point)))) for t in history]
    sampler = make_sampler("autopeft", {"initial": 4})
    assert sampler.suggest(problem, history, seed=3) == sampler.suggest(problem, stored, seed=3)


def test_what_breaks_a_measured_constraint_hides_no_gain(monkeypatch):
    problem = replace(make_problem(), constraints=(Constraint.parse("peak_memory_gib <= 8"),))
    history = [with_memory(told(trial), 4.0) for trial in random_trials(problem, 16)]
    best = max(range(16), key=lambda i: history[i].metrics["accuracy"])
    broken = [with_memory(t, 40.0) if i == best else t for i, t in enumerate(history)]
    others = [trial.configuration for trial in random_trials(problem, 40, seed=1)]
    tops = []

    def spied(cost, drawn):
        tops.append(drawn.mean(axis=0).max())
        return staircase(cost, drawn)

    monkeypatch.setattr(closed_form, "staircase", spied)
    problem = Memory().remembering(problem)
    for trials in (history, broken):
        make_score(Model.of(problem, trials, others, Memory()), trials, 0)
    top, below = tops
    assert [len(rivals(problem, trials)) for trials in (history, broken)] == [16, 15]
    assert below < top


def test_who_is_below_the_front_whatever_is_true_is_no_contender():
    cost = np.array([0.2, 0.5, 0.9, 0.4])
    drawn = np.array([[0.9, 0.5, 0.1, 0.1], [0.7, 0.6, -0.2, 0.3]])
    assert rising(cost, drawn).tolist() == [True, True, True, False]


def test_the_volume_of_draws_is_the_mean_hypervolume():
    rng = np.random.default_rng(0)
    cost, drawn = rng.uniform(-0.2, 1, 7), rng.uniform(-0.3, 1, (5, 7))
    corner = np.zeros(2)
    each = [hypervolume(np.column_stack([cost, values]), corner) for values in drawn]
    assert volume(cost, drawn) == pytest.approx(np.mean(each))


def test_a_history_without_a_result_to_compare_with_still_has_gains():
    problem = replace(make_problem(), constraints=(Constraint.parse("peak_memory_gib <= 8"),))
    history = [with_memory(told(trial), 40.0) for trial in random_trials(problem, 9)]
    others = [trial.configuration for trial in random_trials(problem, 20, seed=1)]
    problem = Memory().remembering(problem)
    assert np.isfinite(
        make_score(Model.of(problem, history, others, Memory()), history, 0)(others)
    ).all()


def with_memory(trial, gib):
    rung = trial.rungs[-1]
    return replace(trial, rungs=(replace(rung, metrics={**rung.metrics, "peak_memory_gib": gib}),))
