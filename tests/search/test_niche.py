from dataclasses import replace

import numpy as np
import pytest
from search.landscape import ACCURACY, make_problem, random_trials, told

from autopeft.search import make_sampler
from autopeft.search.gain import niche
from autopeft.search.gain.closed_form import Model
from autopeft.search.gain.staircase import LEAST
from autopeft.search.model.memory import Memory


@pytest.fixture
def told_problem():
    memory = Memory()
    problem = memory.remembering(make_problem())
    history = [told(trial) for trial in random_trials(problem, 20)]
    candidates = [trial.configuration for trial in random_trials(problem, 80, seed=5)]
    return problem, history, candidates, memory


def test_only_what_costs_about_the_same_gains_anything(told_problem):
    problem, history, candidates, memory = told_problem
    model = Model.of(problem, history, candidates, memory)
    sizes = np.log([problem.known(c.architecture)["adapter_params"] for c in candidates])
    for seed in range(6):
        score = niche.make_score(model, history, candidates, seed)(candidates)
        gains = score > np.log(LEAST) + 1
        assert gains.any()
        assert not gains.all()
        assert np.ptp(sizes[gains]) <= 0.2 * np.ptp(sizes) + 1e-9


def test_bands_are_all_over_the_range(told_problem):
    problem, history, candidates, memory = told_problem
    model = Model.of(problem, history, candidates, memory)
    sizes = np.log([problem.known(c.architecture)["adapter_params"] for c in candidates])
    middles = []
    for seed in range(12):
        score = niche.make_score(model, history, candidates, seed)(candidates)
        middles.append(sizes[score > np.log(LEAST) + 1].mean())
    assert np.ptp(middles) > 0.5 * np.ptp(sizes)


def test_learning_rates_come_from_the_middle_of_their_range(told_problem):
    problem, history, candidates, memory = told_problem
    model = Model.of(problem, history, candidates, memory)
    edges = model.view.rows(candidates).edge
    assert edges.max() > 0.9
    for seed in range(6):
        score = niche.make_score(model, history, candidates, seed)(candidates)
        assert edges[score > np.log(LEAST) + 1].max() <= 0.3


def test_where_all_learning_rates_lie_at_an_end_those_will_do(told_problem):
    problem, history, candidates, memory = told_problem
    model = Model.of(problem, history, candidates, memory)
    ends = [c for c in candidates if model.view.rows([c]).edge[0] > 0.5]
    for seed in range(6):
        score = niche.make_score(model, history, ends, seed)(ends)
        assert (score > np.log(LEAST) + 1).any()


def test_after_a_trial_that_promised_little_the_next_one_looks_aside():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 20)]
    sampler = make_sampler("autopeft", {"initial": 4})

    def why(gain):
        last = replace(history[-1], expected_gain=gain)
        return sampler.suggest(problem, [*history[:-1], last], seed=0).why

    assert why(0.003) == "best of its size (the model promised little)"
    assert why(0.02) == why(None) == "model-based"


def test_a_large_adapter_is_proposed_though_a_small_one_is_better_than_all():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 20)]
    smallest = min(history, key=lambda trial: trial.known["adapter_params"])
    best = max(trial.metrics["accuracy"] for trial in history)
    raised = smallest.rungs[0].metrics | {"accuracy": best + 0.1}
    history[smallest.number] = told(
        smallest, noise=raised["accuracy"] - smallest.metrics["accuracy"]
    )
    sampler = make_sampler("autopeft", {"initial": 4})
    found = [sampler.suggest(problem, [*history, *history[:3]], seed=seed) for seed in range(8)]
    assert {f.why for f in found} == {"best of its size (every 6th trial)"}
    sizes = [
        problem.known(problem.configure(f.point).architecture)["adapter_params"] for f in found
    ]
    assert max(sizes) > 10 * smallest.known["adapter_params"]


def test_without_a_known_cost_the_model_goes_on_where_it_promises_little():
    problem = make_problem(objectives=[ACCURACY])
    history = [told(trial) for trial in random_trials(problem, 16)]
    history[-1] = replace(history[-1], expected_gain=0.001)
    found = make_sampler("autopeft", {"initial": 4}).suggest(problem, history, seed=0)
    assert found.why == "model-based"


def test_without_a_known_cost_there_are_no_sizes_and_it_looks_away():
    problem = make_problem(objectives=[ACCURACY])
    history = [told(trial) for trial in random_trials(problem, 17)]
    found = make_sampler("autopeft", {"initial": 4}).suggest(problem, history, seed=0)
    assert found.why == "away from the model (every 6th trial)"
