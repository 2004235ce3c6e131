"""Trials that are not at their end, beside those that are."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import ACCURACY, SECONDS, make_problem, random_trials, told, with_estimates

from autopeft.domain.trial import State
from autopeft.search.progress import at_the_end
from autopeft.search.scale import Scale


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
