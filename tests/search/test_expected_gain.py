"""What a suggestion says that there is to gain: a share of the hypervolume reached, calibrated."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    PARAMETERS,
    SECONDS,
    failed,
    make_problem,
    random_trials,
    search,
    started,
    told,
)

from autopeft.domain.objective import Constraint
from autopeft.domain.pareto import hypervolume
from autopeft.domain.space import Branch, Range, Space
from autopeft.search import make_sampler
from autopeft.search.gain import closed_form, several_objectives
from autopeft.search.model.memory import Memory
from autopeft.search.model.outcomes import share_of
from autopeft.search.model.scale import Scale


def grown_by_brute_force(drawn, before):
    """drawn: (S, n, m) joint draws, the first `before` of them tried. Gain over what is reached."""
    corner = np.zeros(drawn.shape[2])
    reached = np.array([hypervolume(Y[:before], corner) for Y in drawn])
    after = np.array([hypervolume(Y, corner) for Y in drawn])
    return (after.mean() - reached.mean()) / reached.mean()


@pytest.fixture
def told_problem():
    problem = Memory().remembering(make_problem())
    history = [told(trial) for trial in random_trials(problem, 20)]
    candidates = [trial.configuration for trial in random_trials(problem, 60, seed=5)]
    return problem, history, candidates


def test_the_gain_of_the_closed_form_is_that_of_joint_draws(told_problem):
    problem, history, candidates = told_problem
    memory = Memory()
    score = closed_form.make_score(
        closed_form.Model.of(problem, history, candidates, memory), history, 0
    )
    scale, view = Scale.of(problem, history, candidates), memory.view(problem, history)
    model = closed_form.Model.of(problem, history, candidates, memory).surrogate
    order = np.argsort(-score(candidates))
    for i in order[[0, 3, 8]]:
        every = [*(trial.configuration for trial in history), candidates[i]]
        drawn = model.draws(view.rows(every), 4000, np.random.default_rng(9)).values
        cost = scale.known(problem, every)[:, 1]
        Y = np.stack([drawn, np.broadcast_to(cost, drawn.shape)], axis=2)
        expected = grown_by_brute_force(Y, len(history))
        assert score.growth([candidates[i]]) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("objectives", [(ACCURACY, SECONDS), (ACCURACY, SECONDS, PARAMETERS)])
def test_the_gain_of_several_objectives_is_that_of_joint_draws(objectives):
    problem = Memory().remembering(make_problem(objectives=objectives))
    history = [told(trial) for trial in random_trials(problem, 14)]
    candidates = [trial.configuration for trial in random_trials(problem, 30, seed=5)]
    model = several_objectives.Model.of(problem, history, candidates, Memory())
    score = several_objectives.make_score(model, history, 0)
    best = int(np.argmax(gains := score(candidates)))
    every = [*(trial.configuration for trial in history), candidates[best]]
    drawn = np.stack([each.values for each in model.drawn(every, 1500, [77])], axis=-1)
    expected = grown_by_brute_force(drawn, len(history))
    assert score.growth([candidates[best]]) == pytest.approx(expected, rel=0.2)
    reached = np.mean([hypervolume(Y[:-1], np.zeros(len(objectives))) for Y in drawn])
    assert np.exp(gains[best]) / reached == pytest.approx(expected, rel=0.25)


def test_several_objectives_are_drawn_independently():
    problem = Memory().remembering(make_problem(objectives=[ACCURACY, SECONDS]))
    history = [told(trial) for trial in random_trials(problem, 8)]
    tried = [trial.configuration for trial in history]
    one, two = several_objectives.Model.of(problem, history, tried, Memory()).drawn(
        tried, 1000, [0]
    )
    for j in range(len(tried)):
        assert abs(np.corrcoef(one.values[:, j], two.values[:, j])[0, 1]) < 0.15


def test_one_known_cost_is_a_case_of_several_objectives(told_problem):
    problem, history, candidates = told_problem
    model = several_objectives.Model.of(problem, history, candidates, Memory())
    alone = closed_form.Model.of(problem, history, candidates, Memory())
    general = several_objectives.make_score(model, history, 0)(candidates)
    special = closed_form.make_score(alone, history, 0)(candidates)
    there = special > special.max() - 3  # below, the 16 draws of each differ
    assert there.sum() > 5
    np.testing.assert_allclose(general[there], special[there], atol=0.35)


def test_more_candidates_together_gain_more_and_none_beyond_the_front_gains_nothing(told_problem):
    problem, history, candidates = told_problem
    score = closed_form.make_score(
        closed_form.Model.of(problem, history, candidates, Memory()), history, 0
    )
    best = candidates[int(np.argmax(score(candidates)))]
    assert 0 < score.growth([best]) < score.growth(candidates) <= 1
    assert score.growth([history[3].configuration]) < 1e-3


def test_a_gain_is_a_share_of_what_is_reached_and_at_most_all_of_it():
    assert share_of(0.1, 0.5) == pytest.approx(0.2)
    assert share_of(0.0, 0.0) == 0  # nothing there, and nothing to be had
    assert share_of(0.0, 0.5) == 0.0
    assert share_of(3.0, 0.5) == 1.0
    assert share_of(0.1, 0.0) == 1.0


def test_what_may_fail_or_break_a_constraint_gains_less(told_problem):
    problem, history, candidates = told_problem
    healthy = closed_form.make_score(
        closed_form.Model.of(problem, history, candidates, Memory()), history, 0
    )
    best = candidates[int(np.argmax(healthy(candidates)))]
    alike = [
        t for t in random_trials(problem, 60, seed=11) if t.configuration.branch == best.branch
    ]
    broken = [*history, *(failed(replace(t, number=100 + t.number)) for t in alike[:8])]
    limited = replace(problem, constraints=(Constraint.parse("peak_memory_gib <= 1.1"),))
    for p, trials in ((problem, broken), (limited, history)):
        score = closed_form.make_score(
            closed_form.Model.of(p, trials, candidates, Memory()), trials, 0
        )
        assert score.growth([best]) < healthy.growth([best])


def test_a_running_trial_takes_its_gain_with_it(told_problem):
    problem, history, candidates = told_problem
    score = closed_form.make_score(
        closed_form.Model.of(problem, history, candidates, Memory()), history, 0
    )
    best = int(np.argmax(score(candidates)))
    point = random_trials(problem, 60, seed=5)[best].point
    pending = [*history, started(problem, 20, point)]
    after = closed_form.make_score(
        closed_form.Model.of(problem, pending, candidates, Memory()), pending, 0
    )
    assert after.growth([candidates[best]]) < score.growth([candidates[best]]) / 5


def test_less_and_less_is_left_to_gain():
    """One learning rate to choose: soon all of it is known."""
    branch = Branch(
        "lora",
        {
            "modules": [{"peft_type": "LORA", "r": 8, "target_modules": ["query", "value"]}],
            "training": {"learning_rate": Range(1e-5, 1e-2, log=True)},
        },
    )
    problem = make_problem(Space((branch,)), objectives=[ACCURACY])
    problem = replace(problem, space=Space((branch,)))
    sampler, history = make_sampler("autopeft", {"initial": 4}), []
    while len(history) < 28:
        found = sampler.suggest(problem, history, seed=len(history))
        trial = started(problem, len(history), found.point)
        history.append(replace(told(trial), expected_gain=found.gain, expected_left=found.left))
    gains = [t.expected_gain for t in history if t.expected_gain is not None]
    left = [t.expected_left for t in history if t.expected_left is not None]
    assert all(0 <= gain <= rest <= 1 for gain, rest in zip(gains, left, strict=True))
    assert np.median(left[-5:]) < 0.2 * np.median(left[:3])
    assert np.median(left[-5:]) < 0.01


@pytest.mark.parametrize("name", ["random", "optuna.TPESampler", "botorch.qLogNEHVI"])
def test_a_sampler_without_a_model_of_hypervolume_promises_nothing(name):
    found = make_sampler(name, {}).suggest(
        make_problem(), [told(t) for t in random_trials(make_problem(), 12)], seed=0
    )
    assert (found.gain, found.left) == (None, None)


def test_the_gains_of_a_search_are_those_of_its_suggestions():
    history = search(make_sampler("autopeft", {"initial": 4}), make_problem(), trials=8, seed=0)
    promised = [(t.expected_gain, t.expected_left) for t in history if t.why == "model-based"]
    assert promised
    assert all(0 < gain <= left <= 1 for gain, left in promised)
