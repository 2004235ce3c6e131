"""Costs that have to be measured, as an estimate times a factor that every run corrects.

    log(measured) = log(estimate) + c + g(x)

c is the level of this machine, g what the formula does not know; a process after the measured
log(measured / estimate) has both. The estimate's own trends (tokens, depth, parameters) need no
data.

n: rows.
"""

from collections.abc import Sequence

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.estimates import ESTIMATED, GROWING
from autopeft.domain.objective import qualities
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Rung, Trial
from autopeft.search.model.encoding import Array


def estimated(problem: Problem, metric: str) -> bool:
    """Whether there is an estimate of a metric to start from."""
    return problem.estimates is not None and metric in ESTIMATED


def quality(problem: Problem) -> int | None:
    """The position of the one objective that is no cost; None: there is none, or several."""
    found = qualities(problem.objectives, ESTIMATED if problem.estimates is not None else set())
    return problem.objectives.index(found[0]) if len(found) == 1 else None


def log_estimates(problem: Problem, metric: str, configurations: Sequence[Configuration]) -> Array:
    """(n,) of the full run."""
    assert problem.estimates is not None
    return np.log([problem.estimates(each)[metric] for each in configurations])


def log_ratio(problem: Problem, metric: str, trial: Trial, rung: Rung, share: float) -> float:
    """log(measured / estimate) at a rung; share: of training that is done there."""
    assert problem.estimates is not None
    estimate = problem.estimates(trial.configuration)[metric]
    done = share if metric in GROWING else 1.0
    return float(np.log(rung.metrics[metric] / (estimate * done)))
