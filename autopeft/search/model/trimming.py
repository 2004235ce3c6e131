"""What a surrogate is conditioned on where a study has grown beyond what it can hold.

A process of n observations takes n squared memory and n cubed time: a suggestion took .15 s of a
core after 500 trials, .4 s after 1,000 and 2 s after 2,000 (benchmarks/README.md, "The service
under load"). So of a longer history the model sees what is near the front, rank by rank, and of the
rest an even sample. What is chosen changes once in so many trials, so that fits can be kept; it
follows from the history alone.

Whether a configuration is new, and what the front is, is asked of the whole history elsewhere.
"""

from collections.abc import Sequence

import numpy as np

from autopeft.domain.pareto import non_domination_rank
from autopeft.domain.ports import Problem
from autopeft.domain.results.front import best_baselines, outcomes
from autopeft.domain.trial import State, Trial

_MOST = 750  # configurations of those that ended
_STEP = 250  # ... of the trials before the last so many at most, which are seen whole


def trimmed(
    problem: Problem, history: Sequence[Trial], keep: Sequence[Trial] = ()
) -> Sequence[Trial]:
    """At most 1,000 trials of a history with one seed each, in its order; a shorter one as it is.

    Running trials stay, and the best of each baseline, which constraints may follow, and `keep`. A
    configuration stays with all of its trials.
    """
    if len(history) <= _MOST + _STEP:
        return history
    old = history[: len(history) // _STEP * _STEP]
    told = {
        trial.configuration.key: trial
        for trial in old
        if trial.rungs and trial.state is not State.FAILED
    }
    failed = dict.fromkeys(t.configuration.key for t in old if t.failure is not None)
    ranked = _by_rank(problem, list(told.values()))
    others = [*ranked[_MOST // 2 :], *(key for key in failed if key not in told)]
    even = np.linspace(0, len(others) - 1, min(_MOST // 2, len(others))).astype(int)
    kept = {*ranked[: _MOST // 2], *(others[i] for i in even)}
    kept |= {trial.configuration.key for trial in (*history[len(old) :], *keep)}
    kept |= {t.configuration.key for t in best_baselines(problem.objectives, history).values()}
    return [t for t in history if t.configuration.key in kept or t.state is State.RUNNING]


def _by_rank(problem: Problem, trials: Sequence[Trial]) -> list[str]:
    """Keys of the configurations, the front first; within a rank by the order of the trials."""
    ranks = non_domination_rank(outcomes(problem.objectives, trials))
    order = np.argsort(ranks, kind="stable")
    return [trials[i].configuration.key for i in order]
