"""The contract of `ports.Sampler`, run against every sampler."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from search.landscape import (
    ACCURACY,
    HOUSE,
    IA3,
    LORA,
    PARAMETERS,
    SECONDS,
    baseline_trial,
    failed,
    make_problem,
    random_trials,
    told,
)

from autopeft.domain.space import Branch, Choice, Range, Space, Subset
from autopeft.domain.trial import FailureReason, Rung
from autopeft.search import BOTORCH, make_sampler

SAMPLERS = ["autopeft", "random", "optuna.TPESampler", "optuna.NSGAIISampler", *BOTORCH]

BITS_ONLY = Branch(
    "bits",
    {
        "layers": LORA.tree["layers"],
        "modules": [
            {
                "peft_type": "LORA",
                "r": Choice((0, 4, 8)),
                "target_modules": Subset(("query", "value"), min=1),
                "init_lora_weights": Choice((True, "pissa")),
            }
        ],
        "training": {
            "learning_rate": Range(1e-5, 1e-2, log=True),
            "warmup_steps": Range(0, 95, step=10),
            "num_train_epochs": Range(1, 5),
        },
        "allocation": Choice(("uniform", {"adalora": {"init_r": Choice((10, 12)), "target_r": 4}})),
    },
)


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    options = {"initial": 6, "candidates": 64} if request.param in ("autopeft", *BOTORCH) else {}
    return make_sampler(request.param, options)


def mixed_history(problem, *, complete=9):
    """Completed, paused, failed, pending trials and a baseline."""
    trials = random_trials(problem, complete + 6)
    for i in range(complete):
        trials[i] = told(trials[i])
    trials[complete] = told(trials[complete], share=0.3)
    trials[complete + 1] = told(trials[complete + 1], share=0.3).promoted()
    trials[complete + 2] = failed(trials[complete + 2])
    trials[complete + 3] = failed(trials[complete + 3], FailureReason.ERROR)
    return [*trials, baseline_trial(problem, len(trials))]


def accepts(problem, history, suggestion):
    configuration = problem.admissible(suggestion.point)
    assert configuration is not None
    assert configuration.key not in {trial.configuration.key for trial in history}
    assert suggestion.why
    assert "\n" not in suggestion.why
    return configuration


def test_the_same_problem_history_and_seed_give_the_same_suggestion(sampler):
    problem = make_problem()
    history = mixed_history(problem)
    first = sampler.suggest(problem, history, seed=7)
    torch.rand(3), np.random.rand(3), random.random()
    sampler.suggest(problem, history[:4], seed=8)
    again = sampler.suggest(problem, history, seed=7)
    assert first == again
    accepts(problem, history, first)


def test_global_random_state_and_threads_are_left_alone(sampler):
    problem = make_problem()
    history = mixed_history(problem)
    sampler.suggest(problem, history, seed=1)
    torch.manual_seed(0)
    np.random.seed(0)
    threads, expected = torch.get_num_threads(), torch.rand(1).item()
    numbers = np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    sampler.suggest(problem, history, seed=1)
    assert (torch.get_num_threads(), torch.rand(1).item()) == (threads, expected)
    assert np.random.rand() == numbers


def test_an_empty_history_gets_a_point(sampler):
    problem = make_problem()
    accepts(problem, [], sampler.suggest(problem, [], seed=0))


def test_different_seeds_give_different_points(sampler):
    problem = make_problem()
    points = [sampler.suggest(problem, [], seed=seed).point for seed in range(4)]
    assert any(point != points[0] for point in points)


def test_known_constraints_hold(sampler):
    problem = make_problem(constraints=["adapter_params <= 3000"])
    history = [told(trial) for trial in random_trials(problem, 8)]
    for seed in range(3):
        configuration = accepts(problem, history, sampler.suggest(problem, history, seed=seed))
        assert problem.known(configuration.architecture)["adapter_params"] <= 3000


def test_measured_constraints_and_those_on_baselines_are_taken(sampler):
    problem = make_problem(
        constraints=["peak_memory_gib <= 1.4", "accuracy >= baselines.house.accuracy - 0.1"]
    )
    history = mixed_history(problem)
    accepts(problem, history, sampler.suggest(problem, history, seed=0))


def test_only_pending_trials_are_no_obstacle(sampler):
    problem = make_problem()
    history = random_trials(problem, 10)
    accepts(problem, history, sampler.suggest(problem, history, seed=0))


def test_only_paused_trials_are_no_obstacle(sampler):
    problem = make_problem()
    history = [told(trial, share=0.2) for trial in random_trials(problem, 10)]
    accepts(problem, history, sampler.suggest(problem, history, seed=0))


def test_only_failures_are_no_obstacle(sampler):
    problem = make_problem()
    history = [failed(trial) for trial in random_trials(problem, 10)]
    accepts(problem, history, sampler.suggest(problem, history, seed=0))


def test_results_that_are_all_equal_are_no_obstacle(sampler):
    problem = make_problem(objectives=[ACCURACY])
    rung = Rung(0, 100, {"accuracy": 0.5})
    flat = [trial.advanced(rung, last=True) for trial in random_trials(problem, 10)]
    accepts(problem, flat, sampler.suggest(problem, flat, seed=0))


@pytest.mark.parametrize(
    "objectives",
    [[ACCURACY], [PARAMETERS], [ACCURACY, PARAMETERS, SECONDS], [ACCURACY, SECONDS]],
    ids=["one", "known", "three", "measured"],
)
def test_any_number_and_kind_of_objectives_works(sampler, objectives):
    problem = make_problem(objectives=objectives)
    history = mixed_history(problem)
    accepts(problem, history, sampler.suggest(problem, history, seed=0))


def test_a_single_branch_works(sampler):
    problem = make_problem(Space((IA3, HOUSE)))
    history = [told(trial) for trial in random_trials(problem, 8)]
    accepts(problem, history, sampler.suggest(problem, history, seed=0))


def test_a_baseline_alone_is_tuned(sampler):
    problem = make_problem()
    tuning = replace(problem, space=Space((HOUSE,)))
    history = [*mixed_history(problem), baseline_trial(problem, 16, 1e-3)]
    suggestion = sampler.suggest(tuning, history, seed=0)
    assert accepts(tuning, history, suggestion).branch == "house"


def test_every_kind_of_variable_is_understood(sampler):
    problem = make_problem(Space((BITS_ONLY,)))
    history = [told(trial) for trial in random_trials(problem, 9)]
    for seed in range(2):
        suggestion = sampler.suggest(problem, history, seed=seed)
        accepts(problem, history, suggestion)
        steps = suggestion.point["training.warmup_steps"]
        assert steps in range(0, 95, 10)
        assert 1 <= sum(suggestion.point["layers.bits"]) <= 6


def test_a_space_that_is_used_up_still_gets_an_answer(sampler):
    branch = Branch(
        "one",
        {
            "modules": [{"peft_type": "LORA", "r": Choice((2, 4)), "target_modules": "query"}],
            "training": {"learning_rate": 1e-3},
        },
    )
    problem = make_problem(Space((branch,)))
    history = [told(trial) for trial in random_trials(problem, 2)]
    assert "nothing new" in sampler.suggest(problem, history, seed=0).why
    fresh = sampler.suggest(problem, history[:1], seed=0)
    accepts(problem, history[:1], fresh)


def test_a_branch_without_variables_works(sampler):
    fixed = Branch(
        "fixed",
        {
            "modules": [{"peft_type": "LORA", "r": 4, "target_modules": "query"}],
            "training": {"learning_rate": 1e-3},
        },
    )
    problem = make_problem(Space((fixed,)))
    assert sampler.suggest(problem, [], seed=0).point == {"branch": "fixed"}
