"""A discrete pool of points, and the best of what can be reached from it step by step.

This is how an acquisition is maximised where most coordinates are options and bits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from autopeft.domain.pareto import Array, non_dominated
from autopeft.domain.ports import Problem
from autopeft.domain.results.front import outcomes
from autopeft.domain.results.replicates import merged
from autopeft.domain.space import Branch, Point, Space
from autopeft.domain.trial import State, Trial
from autopeft.search.model.outcomes import known_limits
from autopeft.search.model.progress import at_the_end
from autopeft.search.points.drawing import BLOCK, fits
from autopeft.search.points.moves import moves, neighbours, stepped, taken
from autopeft.search.points.tried import Tried

_MUTANTS = 32
_PARENTS = 12  # members of the front whose neighbours join the pool
_STEPS = 48  # neighbours of a point that are looked at
_LASTING = 8  # trials that the random steps from the front stay the same for

Near = Callable[[Point, np.random.Generator], Iterable[Point]]
"""The points next to a point, each offered once in the life of a search."""

Block = Callable[[Space, tuple[int, int]], Sequence[Point]]
"""See `drawing.block`; `BLOCK` points leave the pool with every trial, and as many come."""


def climb(
    pool: Sequence[Point],
    score: Callable[[Sequence[Point]], Array],
    near: Near,
    rng: np.random.Generator,
    *,
    starts: int,
    rounds: int,
    scores: Array | None = None,
) -> tuple[Point, float]:
    """The best point and its score: every round tries the neighbours of the best `starts` points.

    pool: at least one point. score: points -> (n,), larger is better. scores: of the pool, where
    they are known. The search ends after `rounds`, or with the first round that brings nothing.
    """
    points, scores = list(pool), score(pool) if scores is None else scores
    for _ in range(rounds):
        best = scores.max()
        ahead = np.argsort(-scores, kind="stable")[:starts]
        new = [point for i in ahead for point in near(points[i], rng)]
        if not new:
            break
        points, scores = [*points, *new], np.append(scores, score(new))
        if scores.max() <= best:
            break
    chosen = int(np.argmax(scores))
    return points[chosen], float(scores[chosen])


class Fresh:
    """The admissible points of a problem that were neither tried nor given before."""

    def __init__(self, problem: Problem, history: Sequence[Trial]) -> None:
        self._problem, self._holds = problem, known_limits(problem, history)
        self._tried = Tried(problem, (trial.configuration for trial in history))
        self._given: set[str] = set()

    def among(self, points: Iterable[Point]) -> Iterator[Point]:
        for point in points:
            configuration = self._problem.admissible(point)
            if (
                configuration is not None
                and configuration.key not in self._given
                and configuration not in self._tried
                and self._holds(configuration)
            ):
                self._given.add(configuration.key)
                yield point

    def near(self, point: Point, rng: np.random.Generator, steps: int = _STEPS) -> Iterator[Point]:
        """Some of a point's neighbours."""
        branch = _home(self._problem, point)
        offered = moves(branch, point)
        some = rng.permutation(len(offered))[:steps]
        return self.among(taken(branch, point, offered[i], rng) for i in some)


def gathered(
    problem: Problem,
    history: Sequence[Trial],
    fresh: Fresh,
    rng: np.random.Generator,
    count: int,
    block: Block,
) -> list[Point]:
    """`count` random points, the neighbours of the front, and its mutants."""
    parents = _front_points(problem, history)
    # Most of both were looked at for the last trials too, so they need not be built again.
    study = int(history[0].configuration.key, 16) if history else 0
    slow = np.random.default_rng([study, len(history) // _LASTING])
    return [
        *islice(fresh.among(_window(problem.space, study, len(history), 2 * count, block)), count),
        *fresh.among(n for p in parents for n in neighbours(_home(problem, p), p, slow)),
        *fresh.among(_mutants(problem, parents, rng)),
    ]


def _window(space: Space, study: int, start: int, count: int, block: Block) -> Iterator[Point]:
    """Random points, a few of which leave with every trial for as many that come."""
    for number in range(start, start + count // BLOCK):
        yield from block(space, (study, number))


def _home(problem: Problem, point: Point) -> Branch:
    return problem.space[point["branch"]]


def _mutants(
    problem: Problem, parents: Sequence[Point], rng: np.random.Generator
) -> Iterator[Point]:
    """Members of the front after a few steps, each in any direction."""
    for _ in range(_MUTANTS if parents else 0):
        point = parents[int(rng.integers(len(parents)))]
        for _ in range(int(rng.integers(2, 5))):
            point = stepped(_home(problem, point), point, rng)
        yield point


def _front_points(problem: Problem, history: Sequence[Trial]) -> list[Point]:
    """The points of non-dominated trials that this space can still express."""
    told = [
        trial
        for trial in merged(at_the_end(problem, history))
        if trial.state is not State.FAILED and trial.rungs and fits(problem, trial.point)
    ]
    if not told:
        return []
    mask = non_dominated(outcomes(problem.objectives, told))
    front = [trial.point for trial, on in zip(told, mask, strict=True) if on]
    return front[-_PARENTS:]
