from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    HOUSE,
    IA3,
    PARAMETERS,
    SECONDS,
    baseline_trial,
    failed,
    make_problem,
    random_trials,
    search,
    started,
    told,
    true_hypervolume,
    with_estimates,
)

from autopeft.domain.objective import Objective
from autopeft.domain.space import Space
from autopeft.domain.trial import FailureReason, Rung
from autopeft.search import make_sampler
from autopeft.search.gain import several_objectives
from autopeft.search.gain.odds import make_odds
from autopeft.search.model.memory import Memory
from autopeft.search.model.outcomes import of_failures, of_objective
from autopeft.search.model.scale import Scale


@pytest.mark.slow
def test_a_search_of_24_trials_beats_random_search_in_median_hypervolume():
    problem = make_problem()
    sampler, chance = make_sampler("autopeft", {"candidates": 128}), make_sampler("random", {})
    ours = [true_hypervolume(search(sampler, problem, trials=24, seed=s)) for s in range(3)]
    theirs = [true_hypervolume(search(chance, problem, trials=24, seed=s)) for s in range(3)]
    assert np.median(ours) > 1.05 * np.median(theirs)


def test_the_first_suggestions_are_the_initial_design_and_the_rest_come_from_the_model():
    history = search(make_sampler("autopeft", {"initial": 5}), make_problem(), trials=8, seed=0)
    whys = [trial.why for trial in history if not trial.baseline]
    assert whys[:5] == [f"initial design ({i} of 5)" for i in range(1, 6)]
    assert whys[5] == "best of its size (every 6th trial)"
    assert whys[6:] == ["model-based"]
    gains = [trial.expected_gain for trial in history if not trial.baseline]
    assert gains[:6] == [None] * 6
    assert 0 < gains[6] <= 1


def misled(problem, count):
    """Trials whose results contradict any smooth model: of close neighbours, one is always bad."""
    rng = np.random.default_rng(3)
    trials = random_trials(problem, count)
    order = sorted(trials, key=lambda trial: trial.known["adapter_params"])
    values = {t.number: 0.5 + 0.3 * (i % 2) + 0.01 * rng.normal() for i, t in enumerate(order)}
    return [
        trial.advanced(
            Rung(0, 100, {"accuracy": values[trial.number]}, {"accuracy": 1e-3}), last=True
        )
        for trial in trials
    ]


def test_where_the_model_predicts_worse_than_the_mean_tpe_decides(monkeypatch):
    problem = make_problem()
    sampler = make_sampler("autopeft", {"initial": 3})
    few, many = misled(problem, 15), misled(problem, 16)
    monkeypatch.setattr("autopeft.search.gain.closed_form.Model.left_out_error", 1.2)
    assert sampler.suggest(problem, few, seed=0).why == "model-based"
    found = sampler.suggest(problem, many, seed=0)
    assert found.why.startswith("TPE: left out, trials are 1.1 times farther")
    assert problem.admissible(found.point).key not in {t.configuration.key for t in many}


def scored(problem, history, candidates):
    problem = (memory := Memory()).remembering(problem)
    model = several_objectives.Model.of(problem, history, candidates, memory)
    return several_objectives.make_score(model, history, 0)(candidates)


def test_a_pending_trial_takes_the_gain_of_its_surroundings():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 14)]
    candidates = [trial.configuration for trial in random_trials(problem, 60, seed=1)]
    before = scored(problem, history, candidates)
    best = int(np.argmax(before))
    point = next(t.point for t in random_trials(problem, 60, seed=1) if t.number == best)
    after = scored(problem, [*history, started(problem, 14, point)], candidates)
    assert after[best] < before[best] - 1


def test_32_workers_that_ask_at_once_are_given_different_networks_of_all_sizes():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 24)]
    sampler = make_sampler("autopeft", {"initial": 4})
    for number in range(24, 24 + 32):
        point = sampler.suggest(problem, history, seed=number).point
        history.append(started(problem, number, point))
    running = [trial.configuration for trial in history[24:]]
    assert len({configuration.key for configuration in running}) == 32
    assert len({configuration.architecture.key for configuration in running}) >= 24
    sizes = [problem.known(each.architecture)["adapter_params"] for each in running]
    assert max(sizes) > 100 * min(sizes)


def test_a_region_that_fails_loses_its_gain():
    problem = make_problem()
    trials = random_trials(problem, 24)
    healthy = [told(trial) for trial in trials]
    broken = [
        failed(trial) if trial.configuration.branch == "lora" else told(trial) for trial in trials
    ]
    point = next(t.point for t in random_trials(problem, 40, seed=3) if t.point["branch"] == "lora")
    other = next(t.point for t in random_trials(problem, 40, seed=3) if t.point["branch"] == "ia3")
    candidates = [problem.configure(point), problem.configure(other)]
    lessons = of_failures(broken)
    assert lessons is not None
    assert of_failures(healthy) is None
    problem = (memory := Memory()).remembering(problem)
    odds = make_odds(problem, broken, memory.view(problem, broken), memory)
    lora, ia3 = odds(candidates)
    assert lora < -1
    assert ia3 > lora + 1


def test_an_error_of_the_code_teaches_nothing():
    problem = make_problem()
    first, *rest = random_trials(problem, 6)
    history = [failed(first, FailureReason.ERROR), *(told(trial) for trial in rest)]
    assert of_failures(history) is None


def test_known_objectives_are_exact_in_the_acquisition():
    problem = make_problem(objectives=[PARAMETERS])
    history = [told(trial) for trial in random_trials(problem, 8)]
    least = min(trial.known["adapter_params"] for trial in history)
    candidates = [trial.configuration for trial in random_trials(problem, 50, seed=2)]
    gains = scored(problem, history, candidates)
    smaller = [problem.known(c.architecture)["adapter_params"] < least for c in candidates]
    assert any(smaller)
    assert ((gains > -20) == np.array(smaller)).all()


def test_partial_results_inform_at_their_share_of_training():
    problem = make_problem()
    done, paused, other = random_trials(problem, 3)
    scale = Scale.of(problem, [told(done)], [])
    history = [told(done), told(paused, share=0.25), told(other, share=0.5).promoted()]
    seen = of_objective(problem, history, scale, 0)
    assert seen.trials == (0, 1, 2)
    np.testing.assert_allclose(seen.fidelity, [1.0, 0.25, 0.5])


def test_a_result_of_nothing_on_a_log_scale_does_not_end_the_search():
    zero = Objective("calibration_error", "minimize", scale="log")
    problem = make_problem(objectives=[ACCURACY, zero])
    history = [
        trial.advanced(
            Rung(
                0,
                100,
                {"accuracy": 0.5 + 0.01 * i, "calibration_error": 0.0 if i == 3 else 0.02},
                {"accuracy": 0.01, "calibration_error": 0.004},
            ),
            last=True,
        )
        for i, trial in enumerate(random_trials(problem, 8))
    ]
    found = make_sampler("autopeft", {"initial": 4}).suggest(problem, history, seed=0)
    assert found.why == "model-based"


def test_the_same_sampler_notices_other_estimates():
    problem = make_problem(objectives=[ACCURACY, SECONDS])
    history = [told(trial) for trial in random_trials(problem, 12)]
    used = make_sampler("autopeft", {"initial": 4})
    used.suggest(problem, history, seed=0)
    other = with_estimates(problem)
    expected = make_sampler("autopeft", {"initial": 4}).suggest(other, history, seed=0)
    assert used.suggest(other, history, seed=0) == expected


def test_standard_errors_reach_the_model_on_the_objectives_scale():
    objective = replace(ACCURACY, scale="log")
    problem = make_problem(objectives=[objective])
    trials = random_trials(problem, 2)
    metrics = [{"accuracy": 0.5}, {"accuracy": 0.8}]
    history = [
        trial.advanced(Rung(0, 100, values, {"accuracy": 0.02}), last=True)
        for trial, values in zip(trials, metrics, strict=True)
    ]
    scale = Scale.of(problem, history, [])
    seen = of_objective(problem, history, scale, 0)
    expected = (np.array([0.02 / 0.5, 0.02 / 0.8]) / scale.span[0]) ** 2
    np.testing.assert_allclose(seen.noise, expected)


def test_a_strong_baseline_does_not_hide_what_is_cheaper_and_slightly_worse():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 9)]
    history.append(baseline_trial(problem, 9))
    scale = Scale.of(problem, history, [])
    assert scale.reference[0] == np.median([t.metrics["accuracy"] for t in history])


def test_a_baseline_that_diverged_is_no_measure():
    loss = replace(ACCURACY, metric="eval_loss", goal="minimize")
    problem = make_problem(objectives=[loss, PARAMETERS])

    def with_loss(trial, value):
        return trial.advanced(Rung(0, 100, {"eval_loss": value}), last=True)

    trials = random_trials(problem, 9)
    losses = [0.30 + 0.02 * i for i in range(9)]
    history = [with_loss(trial, value) for trial, value in zip(trials, losses, strict=True)]
    start = started(problem, 9, baseline_trial(problem, 9).point, baseline=True)
    poor, diverged = (
        Scale.of(problem, [*history, with_loss(start, value)], []) for value in (2.0, 1e6)
    )
    assert poor.reference[0] == -2.0
    assert -12 < diverged.reference[0] < -2
    assert diverged.span[0] < 12


def test_a_baseline_that_costs_most_of_all_can_still_gain():
    problem = replace(make_problem(), space=Space((HOUSE,)))
    history = [told(t) for t in random_trials(make_problem(Space((IA3,))), 6)]
    history += [baseline_trial(problem, 6 + i, rate) for i, rate in enumerate((1e-5, 1e-4, 1e-2))]
    scale = Scale.of(problem, history, [history[-1].configuration])
    assert scale.known(problem, [history[-1].configuration])[0, 1] > 0
    suggestion = make_sampler("autopeft", {}).suggest(problem, history, seed=0)
    assert 2e-4 < suggestion.point["training.learning_rate"] < 5e-3
