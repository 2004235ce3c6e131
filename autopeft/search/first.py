"""The first trials after earlier studies, before anything is known of this one."""

from collections.abc import Callable, Sequence

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Trial
from autopeft.search.encoding import Array
from autopeft.search.memory import Memory
from autopeft.search.odds import make_odds
from autopeft.search.scale import Scale
from autopeft.search.staircase import LEAST, gain_over, staircase

_DOUBT = 0.1  # deviation of what earlier studies expect, of their outcomes' spread


def make_score(
    problem: Problem,
    history: Sequence[Trial],
    candidates: Sequence[Configuration],
    memory: Memory,
) -> Callable[[Sequence[Configuration]], Array]:
    """(n,) log of the gain that earlier studies expect.

    Each trial of the history is believed to be what they expect of it, so the next is another
    step of the front that they predict. candidates: examples of what will be scored, for the scale.
    """
    view = memory.view(problem, history)
    measured = next(j for j, objective in enumerate(problem.objectives) if not objective.known)
    scale = Scale.of_known(problem, [*candidates, *(t.configuration for t in history)])

    def reach(configurations: Sequence[Configuration]) -> Array:
        if len(problem.objectives) == 1:
            return np.ones(len(configurations))
        return scale.known(problem, configurations)[:, 1 - measured]

    def expected(configurations: Sequence[Configuration]) -> Array:
        told = view.rows(configurations).earlier
        assert told is not None
        return np.asarray(told.mean(axis=1))

    usual = float(np.median(expected(candidates)))
    own = {branch.name for branch in problem.space.branches}
    tried = [t.configuration for t in history if t.configuration.branch in own]
    odds = make_odds(problem, history, view, memory)
    edges, heights = staircase(reach(tried), expected(tried)[None, :] - usual)

    def score(configurations: Sequence[Configuration]) -> Array:
        mean = expected(configurations) - usual
        doubt = np.full(len(mean), _DOUBT)
        gain = gain_over(mean[None], doubt, reach(configurations), edges, heights)
        return np.asarray(np.log(np.maximum(gain, LEAST)) + odds(configurations))

    return score
