"""Another seed of what was tried: asked for where it changes the front, and not where it cannot."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    HOUSE,
    baseline_trial,
    make_problem,
    random_trials,
    started,
    told,
)

from autopeft.domain.results.replicates import averaged
from autopeft.domain.space import Space
from autopeft.domain.trial import Rung, State
from autopeft.search import make_sampler
from autopeft.search.gain import replication
from autopeft.search.gain.closed_form import Model
from autopeft.search.gain.replication import _chosen, _volume
from autopeft.search.insight.shrinkage import modelled
from autopeft.search.model.memory import Memory
from autopeft.search.model.outcomes import compared, of_objective
from autopeft.search.model.scale import Scale


def shown(trial, accuracy, stderr=0.01):
    """The trial with this result."""
    rung = Rung(0, 100, {"accuracy": accuracy}, {"accuracy": stderr})
    return replace(trial, state=State.COMPLETED, rungs=(rung,))


def another(trial, number, accuracy, *, seed=1, stderr=0.01):
    return shown(replace(trial, number=number, seed=seed), accuracy, stderr)


def with_luck(problem, *, luck, stderr, count=24):
    """A history where a cheap trial is better than it should be, by `luck`, and hides others."""
    history = [told(trial) for trial in random_trials(problem, count)]
    history = [shown(t, t.metrics["accuracy"], stderr) for t in history]
    best = max(t.metrics["accuracy"] for t in history)
    cheap = min(history, key=lambda t: t.known["adapter_params"])
    history[cheap.number] = shown(cheap, best + luck, stderr)
    return history, cheap.number


def choice(problem, history, *, seeds=3, seed=0):
    memory = Memory()
    problem = memory.remembering(problem)
    candidates = [trial.configuration for trial in random_trials(problem, 60, seed=5)]
    model = Model.of(problem, history, candidates, memory)
    return replication.best(problem, history, model, seeds=seeds, seed=seed)


def repeated(problem, history, *, seeds=3):
    """The number of the trial to repeat; None: no trial."""
    found = choice(problem, history, seeds=seeds)
    return None if found is None else found.trial.number


def test_the_volume_is_that_of_those_who_are_on():
    f = np.array([[0.2, 0.9, 0.5], [0.4, -1.0, 0.8]])
    cost = np.array([1.0, 0.6, 0.5])
    everyone = np.ones((1, 3), bool)
    np.testing.assert_allclose(_volume(f, everyone, cost), [0.08 + 0.54, 0.4 * 0.5 + 0.4])
    lone = np.array([[True, False, False]])
    np.testing.assert_allclose(_volume(f, lone, cost), [0.2, 0.4])


def test_on_the_front_is_what_is_better_than_all_that_is_cheaper():
    on = _chosen(np.array([[0.5, 0.4, 0.6], [0.1, 0.2, 0.2]]))
    np.testing.assert_array_equal(on, [[True, False, True], [True, True, False]])


def test_a_lucky_trial_that_hides_others_is_what_to_repeat():
    problem = make_problem()
    history, lucky = with_luck(problem, luck=0.02, stderr=0.06)
    found = choice(problem, history)
    assert found.trial.number == lucky
    assert np.isfinite(found.gain)


def test_nothing_is_gained_where_the_noise_is_too_small_to_change_the_front():
    problem = make_problem()
    clear, _ = with_luck(problem, luck=0.02, stderr=1e-5)
    noisy, _ = with_luck(problem, luck=0.02, stderr=0.06)
    assert choice(problem, clear).gain < choice(problem, noisy).gain - 5


def test_what_runs_or_had_all_its_seeds_is_not_repeated():
    problem = make_problem()
    history, lucky = with_luck(problem, luck=0.02, stderr=0.06)
    first = history[lucky]
    running = replace(first, number=24, seed=1, state=State.RUNNING, rungs=())
    assert repeated(problem, [*history, running]) != lucky
    value = first.metrics["accuracy"]
    again = [another(first, 24, value, stderr=0.06), another(first, 25, value, seed=2, stderr=0.06)]
    assert repeated(problem, [*history, again[0]], seeds=2) != lucky
    assert repeated(problem, [*history, *again], seeds=3) != lucky


def test_one_configuration_alone_is_not_repeated():
    problem = make_problem()
    assert choice(problem, [told(trial) for trial in random_trials(problem, 1)]) is None


def search_of(problem, history, *, seeds, seed=3):
    sampler = make_sampler("autopeft", {"initial": 4, "candidates": 64, "seeds": seeds})
    return sampler.suggest(problem, history, seed=seed)


def test_the_sampler_repeats_where_the_front_is_undecided_and_says_so():
    problem = make_problem()
    history, lucky = with_luck(problem, luck=0.05, stderr=0.1, count=48)
    pairs = [
        another(t, len(history) + i, t.metrics["accuracy"]) for i, t in enumerate(history[-4:])
    ]
    found = search_of(problem, [*history, *pairs], seeds=3)
    assert found.again == lucky
    assert found.point == history[lucky].point
    assert found.why.startswith(f"another seed of trial {lucky}: the front is undecided, log gain")


def test_where_the_front_is_decided_it_looks_for_something_new():
    problem = make_problem()
    history, _ = with_luck(problem, luck=0.02, stderr=1e-4)
    pairs = [
        another(t, len(history) + i, t.metrics["accuracy"]) for i, t in enumerate(history[-4:])
    ]
    assert search_of(problem, [*history, *pairs], seeds=3).again is None


def test_without_leave_it_repeats_nothing():
    problem = make_problem()
    history, _ = with_luck(problem, luck=0.1, stderr=0.1, count=25)
    assert search_of(problem, history, seeds=1).again is None


def test_it_repeats_in_turn_until_it_has_learned_how_much_seeds_differ():
    problem = make_problem()
    history, _ = with_luck(problem, luck=0.0, stderr=1e-4, count=26)
    due = search_of(problem, history, seeds=2)  # the 27th: 26 % 6 == 2
    assert due.why.endswith("to learn how much seeds differ")
    assert search_of(problem, history[:25], seeds=2).again is None
    pairs = [another(t, 22 + i, t.metrics["accuracy"]) for i, t in enumerate(history[:4])]
    assert search_of(problem, [*history[:22], *pairs], seeds=2).again is None


def test_a_baseline_is_tuned_without_replicates():
    tuning = replace(make_problem(), space=Space((HOUSE,)))
    rates = np.geomspace(1e-5, 1e-2, 8)
    history = [
        shown(baseline_trial(tuning, i, float(rate)), 0.7, 0.1) for i, rate in enumerate(rates)
    ]
    assert search_of(tuning, history, seeds=3).again is None


def test_the_same_history_and_seed_give_the_same_choice():
    problem = make_problem()
    history, _ = with_luck(problem, luck=0.1, stderr=0.1, count=25)
    assert search_of(problem, history, seeds=3) == search_of(problem, history, seeds=3)


# -- what replicates tell the model -------------------------------------------------------------


def test_replicates_are_rows_of_their_own_and_scale_all_noise():
    problem = make_problem()
    history = [shown(trial, 0.7 + 0.01 * i) for i, trial in enumerate(random_trials(problem, 6))]
    alone = of_objective(problem, history, Scale.of(problem, history, []), 0)
    twice = [*history, another(history[0], 6, 0.80)]
    scale = Scale.of(problem, history, [])
    seen = of_objective(problem, twice, scale, 0)
    assert seen.trials == (0, 1, 2, 3, 4, 5, 6)
    # Two results 0.1 apart: (4 + 0.1^2 / 2 / 0.01^2) / (4 + 1).
    np.testing.assert_allclose(seen.noise[:6], alone.noise * (4 + 50) / 5)


def test_candidates_are_compared_with_the_means():
    problem = make_problem()
    history = [shown(trial, 0.7) for trial in random_trials(problem, 4)]
    running = replace(history[1], number=5, seed=1, state=State.RUNNING, rungs=())
    new = started(problem, 6, random_trials(problem, 9, seed=4)[8].point)
    done, pending = compared(problem, [*history, another(history[0], 4, 0.5), running, new])
    assert [trial.number for trial in done] == [0, 1, 2, 3]
    assert done[0].metrics["accuracy"] == pytest.approx(0.6)
    assert [trial.number for trial in pending] == [6]


def test_the_model_takes_luck_off():
    problem = make_problem()
    history, lucky = with_luck(problem, luck=0.1, stderr=0.08)
    believed = {trial.number: trial.metrics["accuracy"] for trial in modelled(problem, history)}
    assert believed[lucky] < history[lucky].metrics["accuracy"] - 0.03
    assert modelled(problem, history[:2]) == averaged(history[:2])


def test_the_model_speaks_on_the_objectives_own_scale():
    problem = make_problem(objectives=[replace(ACCURACY, goal="minimize", scale="log")])
    history = [shown(t, 0.5 + 0.01 * i, 1e-4) for i, t in enumerate(random_trials(problem, 12))]
    for before, after in zip(history, modelled(problem, history), strict=True):
        assert after.metrics["accuracy"] == pytest.approx(before.metrics["accuracy"], abs=0.01)
