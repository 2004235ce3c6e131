"""Random search: the branch uniformly, then every parameter."""

from collections.abc import Sequence

import numpy as np

from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.trial import Trial
from autopeft.search.points.drawing import draw_new, evaluated

_TRIES = 2000


class RandomSampler:
    """Draws until the problem admits a configuration that was not tried; see `ports.Sampler`."""

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        rng = np.random.default_rng(seed)
        found = draw_new(problem, evaluated(history), rng, count=1, tries=_TRIES)
        if found:
            return Suggestion(found[0][0], "random")
        return exhausted(problem, seed)


def exhausted(problem: Problem, seed: int) -> Suggestion:
    """A random point, for the session to refuse: nothing new is left to propose."""
    point = problem.space.draw(np.random.default_rng(seed))
    return Suggestion(point, "random: nothing new was found in this space")
