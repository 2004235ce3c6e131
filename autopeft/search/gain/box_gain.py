"""Expected hypervolume improvement where several objectives are uncertain, in closed form.

What no member of a front dominates is a union of boxes. The objectives of a candidate are
independent, so what it is expected to fill of a box is a product (Yang 2019, arXiv 1904.12672):

    EHVI(x) = sum over boxes of prod over j of E[(y_j - low_j)+] - E[(y_j - high_j)+]

Scores are on `scale.Scale`: reference at 0. n: members; m: objectives; K: boxes; N: candidates;
S: draws; U: heights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.pareto import Array, non_dominated
from autopeft.search.gain.staircase import improvement

_AT_ONCE = 2**20  # candidates times boxes

Excess = Callable[[int, Array], Array]
"""draw, heights (U,) -> (N, U) by how much N scores are expected to exceed them, given the draw."""


def exactly(scores: Array) -> Excess:
    """scores: (N,), whatever the draw."""
    return lambda draw, heights: np.maximum(scores[:, None] - heights, 0.0)


def normally(mean: Array, deviation: Array) -> Excess:
    """(N,) of scores, whatever the draw."""
    return lambda draw, heights: improvement(mean[:, None], deviation[:, None], heights)


@dataclass(frozen=True)
class Boxes:
    """low, high: (K, m) corners; infinite where nothing ends a box."""

    low: Array
    high: Array

    @classmethod
    def above(cls, Y: Array) -> "Boxes":
        """What is above the reference and not dominated by Y (n, m), cut member by member.

        Members that dominate much come first: they leave fewer pieces.
        """
        boxes = cls(np.zeros((1, Y.shape[1])), np.full((1, Y.shape[1]), np.inf))
        members = Y[(Y > 0).all(axis=1)]
        for member in members[np.argsort(-members.prod(axis=1), kind="stable")]:
            boxes = boxes._without(member)
        return boxes

    def _without(self, y: Array) -> "Boxes":
        """Without what y (m,) dominates: of a box that reaches into it, the part above y in the
        first objective, of the rest the part above it in the second, and so on."""
        cut = (self.low < y).all(axis=1)
        low, high = self.low[cut], self.high[cut]
        lows, highs = [self.low[~cut]], [self.high[~cut]]
        for j, limit in enumerate(y):
            part = high[:, j] > limit
            lows.append(low[part])
            lows[-1][:, j] = limit
            highs.append(high[part])
            high[:, j] = np.minimum(high[:, j], limit)
        return Boxes(np.vstack(lows), np.vstack(highs))

    def gain(self, excess: Sequence[Excess], draw: int) -> Array:
        """(N,) the EHVI over this draw of the front. excess: of every objective."""
        tables = []
        for over, low, high in zip(excess, self.low.T, self.high.T, strict=True):
            heights, place = np.unique([low, high], return_inverse=True)
            finite = heights[np.isfinite(heights)]
            beyond = over(draw, finite)
            nothing = np.zeros((len(beyond), len(heights) - len(finite)))
            tables.append((np.hstack([beyond, nothing]), *place.reshape(2, -1)))
        step = max(1, _AT_ONCE // len(self.low))
        total = []
        for first in range(0, len(tables[0][0]), step):
            filled = np.ones(1)
            for table, of_low, of_high in tables:
                rows = table[first : first + step]
                filled = filled * (rows[:, of_low] - rows[:, of_high])
            total.append(filled.sum(axis=1))
        return np.concatenate(total) if total else np.zeros(0)


def on_a_front(draws: Array) -> NDArray[np.bool_]:
    """(n,) who is above the reference and not dominated in one of the draws (S, n, m) at least."""
    found = np.zeros(draws.shape[1], dtype=bool)
    for Y in draws:
        above = np.flatnonzero((Y > 0).all(axis=1))
        found[above[non_dominated(Y[above])]] = True
    return found
