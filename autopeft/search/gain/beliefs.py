"""What a search believes of one objective: draws at some configurations, and the rest given them.

    known      exact
    quality    a process on the score (`surrogate`)
    cost       a process on log(measured / estimate) and the estimate (`costs`): normal on a log
               scale, else log-normal

A place is a configuration, or whatever else a process is over. Scores are on `scale.Scale`.
S: draws; a: places that are drawn at; N: others; U: heights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy.special import ndtr

from autopeft.domain.architecture import Configuration
from autopeft.domain.objective import Objective
from autopeft.domain.pareto import Array
from autopeft.search.gain.box_gain import Excess, exactly
from autopeft.search.gain.staircase import improvement
from autopeft.search.model.prior import Rows
from autopeft.search.model.surrogate import Surrogate

_LARGEST = 50.0  # of a logarithm: an extreme draw stays a number

Configurations = Sequence[Configuration]
Places = TypeVar("Places")


@dataclass(frozen=True)
class Drawn(Generic[Places]):
    """values: (S, a) scores. given: by how much N other places are expected to exceed a height."""

    values: Array
    given: Callable[[Places], Excess]


Belief = Callable[[Places, int, np.random.Generator], Drawn[Places]]
"""places, S, a source of randomness -> joint draws there."""


def drawn_at(
    beliefs: Sequence[Belief[Places]], places: Places, count: int, seed: Sequence[int]
) -> list[Drawn[Places]]:
    """Of every objective, independently."""
    return [
        belief(places, count, np.random.default_rng([*seed, j])) for j, belief in enumerate(beliefs)
    ]


def stacked(drawn: Sequence[Drawn[Places]]) -> Array:
    """(S, a, m) the values of all objectives."""
    return np.stack([each.values for each in drawn], axis=-1)


def known(scores: Callable[[Places], Array]) -> Belief[Places]:
    """scores: -> (n,) exact."""

    def belief(there: Places, count: int, rng: np.random.Generator) -> Drawn[Places]:
        return Drawn(np.tile(scores(there), (count, 1)), lambda others: exactly(scores(others)))

    return belief


def quality(surrogate: Surrogate, rows: Callable[[Configurations], Rows]) -> Belief[Configurations]:
    """surrogate: of scores."""

    def belief(
        there: Configurations, count: int, rng: np.random.Generator
    ) -> Drawn[Configurations]:
        drawn = surrogate.draws(rows(there), count, rng)

        def given(others: Configurations) -> Excess:
            mean, deviation = drawn.given(rows(others))
            return lambda draw, heights: improvement(
                mean[draw][:, None], deviation[:, None], heights
            )

        return Drawn(drawn.values, given)

    return belief


@dataclass(frozen=True)
class Placed:
    """log(cost) -> score: (sign * value - reference) / span.

    log: the value is the logarithm itself, else the cost. sign: 1 where more is better, else -1.
    """

    sign: float
    log: bool
    reference: float
    span: float

    @classmethod
    def of(cls, objective: Objective, reference: float, span: float) -> "Placed":
        sign = 1.0 if objective.goal == "maximize" else -1.0
        return cls(sign, objective.scale == "log", reference, span)

    def __call__(self, logarithm: Array) -> Array:
        value = logarithm if self.log else np.exp(np.clip(logarithm, -_LARGEST, _LARGEST))
        return np.asarray((self.sign * value - self.reference) / self.span)

    def excess(self, mean: Array, deviation: Array, heights: Array) -> Array:
        """E[(score - height)+] where the logarithm is normal; the shapes are broadcast."""
        if self.log:
            return improvement(self(mean), deviation / self.span, heights)
        value = self.sign * (self.reference + self.span * heights)  # the cost of such a score
        limit = np.log(np.maximum(value, np.exp(-_LARGEST)))
        expected = np.exp(np.minimum(mean + deviation**2 / 2, _LARGEST))
        z = self.sign * (mean - limit) / deviation
        over = self.sign * (expected * ndtr(z + self.sign * deviation) - value * ndtr(z))
        return np.asarray(np.maximum(over, 0.0) / self.span)


def cost(
    surrogate: Surrogate,
    rows: Callable[[Configurations], Rows],
    estimates: Callable[[Configurations], Array],
    placed: Placed,
) -> Belief[Configurations]:
    """surrogate: of log(measured / estimate). estimates: -> (n,) log(estimate)."""

    def belief(
        there: Configurations, count: int, rng: np.random.Generator
    ) -> Drawn[Configurations]:
        drawn = surrogate.draws(rows(there), count, rng)

        def given(others: Configurations) -> Excess:
            mean, deviation = drawn.given(rows(others))
            mean = mean + estimates(others)
            return lambda draw, heights: placed.excess(
                mean[draw][:, None], deviation[:, None], heights
            )

        return Drawn(placed(drawn.values + estimates(there)), given)

    return belief
