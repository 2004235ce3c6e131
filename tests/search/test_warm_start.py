"""Searches that start from earlier studies."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    MEMORY,
    PARAMETERS,
    SECONDS,
    accuracy,
    make_problem,
    random_trials,
    search,
    started,
    told,
    true_hypervolume,
    with_estimates,
)

from autopeft.domain.errors import AutopeftError
from autopeft.domain.trial import Rung
from autopeft.search import make_sampler
from autopeft.search.gain import closed_form, several_objectives
from autopeft.search.model.earlier import earlier
from autopeft.search.model.memory import Memory
from autopeft.search.model.outcomes import softened
from autopeft.search.model.scale import Scale


def source(problem, count=40, *, wrong=""):
    """An earlier study of random trials on the landscape.

    wrong: `shuffled` puts its results on the wrong trials, `reversed` turns them upside down.
    """
    history = [told(trial) for trial in random_trials(problem, count, seed=7)]
    order = np.arange(count)
    if wrong == "shuffled":
        order = np.random.default_rng(0).permutation(count)
    if wrong == "reversed":
        ranks = np.argsort(np.argsort([t.metrics["accuracy"] for t in history]))
        order = np.argsort(-ranks)[ranks]
    history = [replace(t, rungs=history[i].rungs) for t, i in zip(history, order, strict=True)]
    return earlier("first", problem, history, ACCURACY)


def error(sources, problem, count):
    """Of predicted accuracies, after so many random trials."""
    memory = Memory(sources)
    problem = memory.remembering(problem)
    history = [told(trial) for trial in random_trials(problem, count, seed=3)]
    view, scale = memory.view(problem, history), Scale.of(problem, history, ())
    model = closed_form.Model.of(problem, history, (), memory).surrogate
    others = [trial.configuration for trial in random_trials(problem, 150, seed=11)]
    true = (np.array([accuracy(c) for c in others]) - scale.reference[0]) / scale.span[0]
    return float(np.sqrt(np.mean((model.predict(view.rows(others))[0] - softened(true)) ** 2)))


def test_the_first_trials_gain_over_a_given_reference():
    plain = make_problem()
    sources = (source(plain),)
    problem = replace(plain, objectives=(ACCURACY, replace(PARAMETERS, reference=600.0)))
    history = []
    for number in range(9):
        found = make_sampler("autopeft", {}, sources).suggest(problem, history, seed=number)
        history.append(replace(started(problem, number, found.point), why=found.why))
    by_studies = [t for t in history if t.why == "from earlier studies"]
    assert len(by_studies) > 3
    assert all(trial.known["adapter_params"] < 600 for trial in by_studies)


def test_a_study_of_the_same_spares_trials():
    problem = make_problem()
    assert error([source(problem)], problem, 8) < 0.8 * error([], problem, 8)


@pytest.mark.parametrize("wrong", ["shuffled", "reversed"])
def test_results_overrule_a_study_of_something_else(wrong):
    problem = make_problem()
    assert error([source(problem, wrong=wrong)], problem, 30) < 1.15 * error([], problem, 30)


def test_beside_a_study_of_something_else_one_of_the_same_still_helps():
    problem = make_problem()
    both = [source(problem), source(problem, wrong="shuffled")]
    assert error(both, problem, 10) < 0.9 * error([], problem, 10)


def test_a_study_of_a_model_of_another_depth_helps_as_well():
    problem, deep = make_problem(), make_problem(layers=12)
    history = [halved(trial) for trial in random_trials(deep, 60, seed=7)]
    assert error([earlier("deep", deep, history, ACCURACY)], problem, 8) < 0.8 * error(
        [], problem, 8
    )


def halved(trial):
    """Told what six layers would give whose every layer stands for two."""
    (module,) = trial.configuration.architecture.modules
    layers = tuple(sorted({layer // 2 for layer in module.layers}))
    targets = module.targets[: len(module.targets) * len(layers) // len(module.layers)]
    own = replace(module, layers=layers, targets=targets)
    architecture = replace(trial.configuration.architecture, modules=(own,))
    found = accuracy(replace(trial.configuration, architecture=architecture))
    return trial.advanced(Rung(0, 100, {"accuracy": found}, {"accuracy": 0.005}), last=True)


def test_without_results_it_expects_the_order_of_the_earlier_study():
    problem = make_problem()
    memory = Memory([source(problem, 60)])
    problem = memory.remembering(problem)
    others = [trial.configuration for trial in random_trials(problem, 100, seed=11)]
    expected = memory.view(problem, []).rows(others).earlier
    assert expected.shape == (100, 1)
    assert np.corrcoef(expected[:, 0], [accuracy(c) for c in others])[0, 1] > 0.7


def test_what_is_measured_beside_the_objective_knows_nothing_of_earlier_studies():
    problem = make_problem(constraints=["train_seconds <= 13"])
    memory = Memory([source(make_problem())])
    problem = memory.remembering(problem)
    history = [told(trial) for trial in random_trials(problem, 12)]
    others = [trial.configuration for trial in random_trials(problem, 20, seed=1)]
    scores = closed_form.make_score(
        closed_form.Model.of(problem, history, others, memory), history, 0
    )(others)
    assert np.isfinite(scores).all()
    assert scores.std() > 0


def test_the_first_trials_are_the_front_that_is_expected_and_the_second_is_not():
    problem = make_problem()
    sampler = make_sampler("autopeft", {}, [source(problem, 60)])
    history = search(sampler, problem, trials=9, seed=0)
    whys = [trial.why.partition(":")[0].partition(" (")[0] for trial in history[1:]]
    assert whys[:2] == ["from earlier studies", "initial design"]
    assert "model-based" in whys[2:5]  # before a cold search's design would end


def test_trials_that_run_at_once_before_any_result_differ_in_cost_and_some_are_elsewhere():
    problem = make_problem()
    sampler = make_sampler("autopeft", {}, [source(problem, 60)])
    running = []
    for number in range(6):
        suggestion = sampler.suggest(problem, running, seed=number)
        trial = started(problem, number, suggestion.point)
        running.append(replace(trial, why=suggestion.why))
    assert [t.why.startswith("initial design") for t in running] == [False, True, False] * 2
    cost = [t.known["adapter_params"] for t in running if t.why.startswith("from earlier")]
    assert max(cost) > 4 * min(cost)


def test_a_study_that_is_not_borne_out_gives_way_to_the_initial_design():
    problem = make_problem()
    sampler = make_sampler("autopeft", {}, [source(problem, 60, wrong="reversed")])
    history = search(sampler, problem, trials=9, seed=0)
    assert sum(trial.why.startswith("initial design") for trial in history) > 1


def test_a_warm_search_is_ahead_at_once_and_a_misled_one_is_not_lost():
    problem = make_problem()
    found = {"cold": [], "warm": [], "misled": []}
    for seed in range(4):
        for name, sources in (
            ("cold", []),
            ("warm", [source(problem, 60)]),
            ("misled", [source(problem, 60, wrong="shuffled")]),
        ):
            sampler = make_sampler("autopeft", {"candidates": 64}, sources)
            history = search(sampler, problem, trials=17, seed=seed)
            found[name].append([true_hypervolume(history[:n]) for n in (9, 17)])
    early, late = ({name: np.mean(of, axis=0)[i] for name, of in found.items()} for i in (0, 1))
    assert early["warm"] > 1.04 * early["cold"]
    assert late["warm"] > 0.99 * late["cold"]
    assert late["misled"] > 0.97 * late["cold"]


def test_after_a_dozen_results_every_other_trial_is_what_a_cold_search_would_try():
    problem = make_problem()
    cold = make_sampler("autopeft", {}, [])
    warm = make_sampler("autopeft", {}, [source(problem, 60)])
    history = [told(trial) for trial in random_trials(problem, 15)]
    for count in (13, 15):
        found = warm.suggest(problem, history[:count], seed=3)
        assert found.why == "model-based, without earlier studies"
        assert found.point == cold.suggest(problem, history[:count], seed=3).point
    assert warm.suggest(problem, history[:14], seed=3).why == "model-based"


def test_a_suggestion_is_the_same_with_an_empty_memory():
    problem = make_problem()
    told_before = source(problem)
    history = [told(trial) for trial in random_trials(problem, 14)]
    used = make_sampler("autopeft", {}, [told_before])
    for count in (0, 1, 4, 9, 14):
        part = history[:count]
        fresh = make_sampler("autopeft", {}, [told_before])
        assert used.suggest(problem, part, seed=3) == fresh.suggest(problem, part, seed=3)


def test_one_objective_is_enough():
    problem = make_problem(objectives=[ACCURACY])
    sampler = make_sampler("autopeft", {}, [source(problem)])
    history = search(sampler, problem, trials=7, seed=0)
    assert history[1].why.startswith("from earlier studies")


@pytest.mark.parametrize("name", ["random", "optuna.TPESampler", "botorch.qLogNEHVI"])
def test_other_samplers_refuse_earlier_studies(name):
    with pytest.raises(AutopeftError, match="only sampler autopeft starts from earlier studies"):
        make_sampler(name, {}, [source(make_problem(), 4)])


@pytest.mark.parametrize("costs", [[MEMORY], [MEMORY, PARAMETERS]])
def test_costs_may_be_measured(costs):
    problem = with_estimates(make_problem(objectives=[ACCURACY, *costs]))
    sampler = make_sampler("autopeft", {}, [source(make_problem(), 60)])
    history = search(sampler, problem, trials=15, seed=0)
    whys = [trial.why.partition(" (")[0] for trial in history[1:]]
    assert whys[:2] == ["from earlier studies", "initial design"]
    assert "model-based" in whys[2:5]  # before a cold search's design would end
    assert whys[-2:] == ["model-based, without earlier studies", "model-based"]
    others = [trial.configuration for trial in random_trials(problem, 100, seed=11)]
    errors = {}
    for name, sources in (("warm", [source(make_problem(), 60)]), ("cold", [])):
        told_ = (memory := Memory(sources)).remembering(problem)
        model = several_objectives.Model.of(told_, history[:7], others, memory)
        ((surrogate, _),) = model.scored
        rows = memory.view(told_, history[:7]).rows(others)
        found = np.corrcoef(surrogate.predict(rows)[0], [accuracy(c) for c in others])
        errors[name] = 1 - found[0, 1]
        assert (model.trust > 0) == (name == "warm")
    assert errors["warm"] < errors["cold"]


def test_two_qualities_are_refused():
    problem = make_problem(objectives=[ACCURACY, SECONDS])
    sampler = make_sampler("autopeft", {}, [source(make_problem())])
    with pytest.raises(AutopeftError, match="beside costs, got accuracy, train_seconds: leave"):
        sampler.suggest(problem, [], seed=0)


def test_a_small_promise_does_not_take_the_turns_without_earlier_studies():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 20)]
    history[-1] = replace(history[-1], expected_gain=0.003)
    whys = {}
    for name, sources in (("cold", []), ("warm", [source(problem)])):
        sampler = make_sampler("autopeft", {"initial": 4}, sources)
        whys[name] = sampler.suggest(problem, history, seed=0).why
    assert whys == {"cold": "best of its size (the model promised little)", "warm": "model-based"}
