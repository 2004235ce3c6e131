"""What the `autopeft` sampler does where its model has nothing to say."""

from collections.abc import Sequence
from dataclasses import replace

from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.trial import Trial
from autopeft.search.candidates import initial
from autopeft.search.candidates.pool import Fresh

_ASKS = 8  # of TPE, for something new


def by_tpe(
    problem: Problem, history: Sequence[Trial], error: float, startup: int, seed: int
) -> Suggestion:
    """What Optuna's TPE proposes, where the surrogate says less than no model.

    error: squared, as `Surrogate.left_out_error` gives it. startup: results that TPE needs.
    """
    from autopeft.search.optuna.sampler import OptunaSampler

    tpe = OptunaSampler("TPESampler", {"n_startup_trials": startup})
    fresh = Fresh(problem, history)
    farther = f"{error**0.5:.1f} times farther from the model than from their mean"
    for attempt in range(_ASKS):
        found = tpe.suggest(problem, history, seed=seed + attempt)
        if list(fresh.among([found.point])):
            return replace(found, why=f"TPE: left out, trials are {farther}")
    return few_left(problem, history, seed)


def few_left(problem: Problem, history: Sequence[Trial], seed: int) -> Suggestion:
    return initial.suggest(problem, history, seed=seed, why="spread out: few are left")
