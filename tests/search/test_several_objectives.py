"""Searches with more to measure than one quality."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    PARAMETERS,
    SECONDS,
    make_problem,
    random_trials,
    started,
    told,
)

from autopeft.domain.objective import Constraint, Objective
from autopeft.search import make_sampler
from autopeft.search.gain import several_objectives
from autopeft.search.model.memory import Memory

LINEAR = Objective("train_seconds", "minimize")


def suggested(problem, history, seed=0):
    return make_sampler("autopeft", {"initial": 4}).suggest(problem, history, seed=seed)


@pytest.mark.parametrize(
    "objectives", [(ACCURACY, SECONDS), (ACCURACY, LINEAR), (ACCURACY, SECONDS, PARAMETERS)]
)
def test_a_suggestion_says_what_it_promises_and_is_the_same_again(objectives):
    problem = make_problem(objectives=objectives)
    history = [told(trial) for trial in random_trials(problem, 12)]
    history += [started(problem, 12, random_trials(problem, 13)[-1].point)]
    first = suggested(problem, history)
    assert first == suggested(problem, history)
    assert first.why == "model-based"
    assert 0 <= first.gain <= first.left <= 1
    assert problem.admissible(first.point).key not in {t.configuration.key for t in history}


def test_where_nothing_holds_the_constraints_gains_are_counted_from_the_reference():
    problem = make_problem(objectives=[ACCURACY, SECONDS])
    problem = replace(problem, constraints=(Constraint.parse("train_seconds <= 1e-9"),))
    history = [told(trial) for trial in random_trials(problem, 12)]
    assert suggested(problem, history).why == "model-based"


def test_where_the_model_predicts_worse_than_the_mean_tpe_decides(monkeypatch):
    problem = make_problem(objectives=[ACCURACY, SECONDS])
    history = [told(trial) for trial in random_trials(problem, 16)]
    assert suggested(problem, history).why == "model-based"
    monkeypatch.setattr(
        "autopeft.search.model.surrogate.Surrogate.left_out_error", lambda model, groups: 1.2
    )
    assert suggested(problem, history).why.startswith("TPE: left out, trials are 1.1 times farther")


def test_a_diverged_run_bends_nothing_else():
    problem = (memory := Memory()).remembering(make_problem(objectives=[ACCURACY, LINEAR]))
    *trials, last = [told(trial) for trial in random_trials(problem, 14)]
    candidates = [trial.configuration for trial in random_trials(problem, 30, seed=5)]
    orders = []
    for seconds in (1e8, 1e9):
        rung = last.rungs[-1]
        lost = replace(
            last, rungs=(replace(rung, metrics={**rung.metrics, "train_seconds": seconds}),)
        )
        model = several_objectives.Model.of(problem, [*trials, lost], candidates, memory)
        orders.append(several_objectives.make_score(model, [*trials, lost], 0)(candidates))
    np.testing.assert_allclose(orders[0], orders[1])
