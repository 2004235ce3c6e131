"""Trials that are not at their end, beside those that are."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    LORA,
    SECONDS,
    make_problem,
    random_trials,
    told,
    with_estimates,
)

from autopeft.domain.estimates import Corpus, Setting, estimates
from autopeft.domain.objective import Constraint
from autopeft.domain.space import Branch, Choice, Space
from autopeft.domain.trial import Rung, State
from autopeft.search.model.outcomes import of_cost, rivals
from autopeft.search.model.progress import at_the_end, told_rungs
from autopeft.search.model.scale import Scale


def at(trial, share):
    """The trial after a share of its steps, which took as much of its time."""
    (rung,) = told(trial, share=share).rungs
    seconds = share * rung.metrics["train_seconds"]
    rung = replace(rung, metrics={**rung.metrics, "train_seconds": seconds})
    return trial.advanced(rung, last=share == 1)


@pytest.fixture
def problem():
    return with_estimates(make_problem(objectives=[ACCURACY, SECONDS]))


def test_time_is_compared_as_at_the_end(problem):
    trials = random_trials(problem, 12)
    whole = [at(trial, 1) for trial in trials]
    mixed = [*whole[:4], *(at(trial, 0.25) for trial in trials[4:])]
    assert [trial.state for trial in mixed[3:5]] == [State.COMPLETED, State.PAUSED]
    expected = [trial.metrics["train_seconds"] for trial in whole]
    found = [trial.metrics["train_seconds"] for trial in at_the_end(problem, mixed)]
    np.testing.assert_allclose(found, expected)
    scales = [Scale.of(problem, history, ()) for history in (whole, mixed)]
    assert scales[0].reference[1] == pytest.approx(scales[1].reference[1])
    assert scales[0].span[1] == pytest.approx(scales[1].span[1])


def test_what_nobody_asks_for_stays_as_it_is(problem):
    trials = [at(trial, 0.25) for trial in random_trials(problem, 3)]
    asked = replace(problem, objectives=(ACCURACY,))
    assert at_the_end(asked, trials) is trials
    unknown = replace(problem, estimates=None)  # of a user's own code: it may not grow
    assert at_the_end(unknown, trials) is trials


def of_batches(*, ended):
    """Trials of two batch sizes that paused after a quarter of their epochs, and what all of it
    takes; the first few went on to the end."""
    recipe = {**LORA.tree["training"], "per_device_train_batch_size": Choice((8, 64))}
    branch = Branch("lora", {**LORA.tree, "training": recipe})
    problem = make_problem(space=Space((branch,)), objectives=[ACCURACY, SECONDS])
    corpus = Corpus(6400, (32,))
    problem = replace(
        problem,
        estimates=lambda c: estimates(c, shape=problem.shape, corpus=corpus, setting=Setting()),
    )
    history, whole = [], []
    for trial in random_trials(problem, 12):
        told = problem.estimates(trial.configuration)
        steps = round(1000 * told["train_seconds"] / told["step_ms"])
        seconds = 3 * told["train_seconds"]
        rung = Rung(
            0, steps // 4, {"accuracy": 0.7, "train_seconds": seconds * (steps // 4) / steps}
        )
        trial = trial.advanced(rung, last=False)
        if len(history) < ended:
            end = Rung(1, steps, {"accuracy": 0.8, "train_seconds": seconds})
            trial = trial.promoted().advanced(end, last=True)
        history.append(trial)
        whole.append(seconds)
    assert len({trial.rungs[-1].step for trial in history[ended:]}) == 2
    return problem, history, whole


@pytest.mark.parametrize("ended", [0, 3])
def test_every_recipe_is_as_far_as_its_own_steps(ended):
    problem, history, whole = of_batches(ended=ended)
    found = [trial.metrics["train_seconds"] for trial in at_the_end(problem, history)]
    np.testing.assert_allclose(found, whole)
    np.testing.assert_allclose(of_cost(problem, history, "train_seconds").values, np.log(3))


def test_before_the_first_end_the_furthest_rung_of_each_recipe_stands_for_it():
    problem, history, _ = of_batches(ended=0)
    shares = [share for _, share, _ in told_rungs(problem, history)]
    np.testing.assert_allclose(shares, 1, atol=0.02)
    assert told_rungs(problem, random_trials(problem, 2)) == []


def test_a_limit_on_time_is_held_by_what_will_hold_it_at_the_end(problem):
    trials = random_trials(problem, 12)
    history = [*(at(trial, 1) for trial in trials[:4]), *(at(trial, 0.25) for trial in trials[4:])]
    limited = replace(
        problem,
        objectives=(ACCURACY,),
        constraints=(Constraint.parse("train_seconds <= 12"),),
    )
    ends = {trial.configuration.key: at(trial, 1).metrics["train_seconds"] for trial in trials}
    held = {key for key, seconds in ends.items() if seconds <= 12}
    assert 0 < len(held) < len(ends)
    assert {configuration.key for configuration in rivals(limited, history)} == held
