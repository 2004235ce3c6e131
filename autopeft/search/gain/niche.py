"""The best of one size: expected improvement over what costs about the same.

A hypervolume compares across costs: where the model is wrong about larger adapters, any doubt about
the smallest promises more, and the search stays with them. So some trials compete inside a random
band of the cost alone, whatever is cheaper and better: every size keeps a best of its own, as the
niches of MAP-Elites do (Mouret and Clune 2015, arXiv 1504.04909).

Learning rates are those of the middle of their range. What is too small for its rate to matter
teaches the model that rates do not, and then it sends larger adapters to an end of the range.
"""

from collections.abc import Callable, Sequence

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.trial import Trial
from autopeft.search.gain.closed_form import Model
from autopeft.search.gain.odds import make_odds
from autopeft.search.gain.staircase import LEAST, improvement
from autopeft.search.model.encoding import Array
from autopeft.search.model.outcomes import rivals
from autopeft.search.points.drawing import UNKNOWN_EDGE

_HALF = 0.1  # of the candidates' range in cost: half a band's width
_DRAWS = 16


def make_score(
    model: Model, history: Sequence[Trial], candidates: Sequence[Configuration], seed: int
) -> Callable[[Sequence[Configuration]], Array]:
    """(n,) log of the expected improvement in a random band; next to nothing outside it.

    candidates: what is there to choose from, at least one; their costs say where a band may be.
    """
    odds = make_odds(model.problem, history, model.view, model.memory)
    rng = np.random.default_rng(seed)
    there, edges = model.cost(candidates), model.view.rows(candidates).edge
    inner = max(UNKNOWN_EDGE, float(edges.min()))  # about the middle half, and what has no range
    drawn_at, half = rng.uniform(there.min(), there.max()), _HALF * float(np.ptp(there))
    offered = there[edges <= inner]
    centre = offered[np.argmin(np.abs(offered - drawn_at))]  # where there is something to choose
    against = rivals(model.problem, history)
    drawn = model.surrogate.draws(model.view.rows(against), _DRAWS, rng)
    inside = np.abs(model.cost(against) - centre) <= half
    # A band that nothing was tried in is open from the reference on.
    best = drawn.values[:, inside].max(axis=1) if inside.any() else np.zeros(_DRAWS)

    def score(configurations: Sequence[Configuration]) -> Array:
        rows = model.view.rows(configurations)
        mean, deviation = drawn.given(rows)
        gain = improvement(mean, deviation, best[:, None]).mean(axis=0)
        near = np.abs(model.cost(configurations) - centre) <= half
        near &= rows.edge <= inner
        return np.asarray(
            np.log(np.maximum(np.where(near, gain, 0.0), LEAST)) + odds(configurations)
        )

    return score
