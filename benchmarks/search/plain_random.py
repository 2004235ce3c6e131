"""Random search of two more kinds, to tell what the way of drawing is worth.

| name | how it draws |
|---|---|
| `random` | the product's: how many bits are on is uniform, so layers are diverse in density |
| `random by size` | of many such draws the one whose size is next to a size drawn log-uniformly: as many small adapters as large ones, the idea of AutoPEFT's initial design |
| `random by coin flips` | every bit for itself, as a general tool draws: nearly all are half full |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.space import Bits, Json, Point, Space, Subset
from autopeft.domain.trial import Trial
from autopeft.search.points.drawing import Candidate, draw_new, evaluated
from autopeft.search.random_sampler import RandomSampler

_DRAWS = 16  # to choose from
_TRIES = 2000


@dataclass(frozen=True)
class Random:
    """choose: (problem, keys of what was tried, random numbers) -> a candidate, None: none is new."""

    name: str
    choose: Callable[[Problem, set[str], np.random.Generator], Candidate | None]

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        found = self.choose(problem, evaluated(history), np.random.default_rng(seed))
        if found is None:
            return RandomSampler().suggest(problem, history, seed=seed)
        return Suggestion(found[0], self.name)


def make(name: str) -> Random:
    return Random(name, _WAYS[name])


def _by_size(problem: Problem, taken: set[str], rng: np.random.Generator) -> Candidate | None:
    drawn = draw_new(problem, taken, rng, count=_DRAWS, tries=_TRIES)
    if not drawn:
        return None
    known = [objective for objective in problem.objectives if objective.known]
    metrics = [problem.known(configuration.architecture) for _, configuration in drawn]
    scores = np.array([[objective.score(m) for objective in known] for m in metrics])
    if not known:
        return drawn[0]
    size = scores[:, 0]  # the logarithm, where the objective is on a log scale
    wanted = rng.uniform(size.min(), size.max())
    return drawn[int(np.argmin(np.abs(size - wanted)))]


def _by_coin_flips(problem: Problem, taken: set[str], rng: np.random.Generator) -> Candidate | None:
    for _ in range(_TRIES):
        point = _flipped(problem.space, problem.space.draw(rng), rng)
        configuration = problem.admissible(point)
        if configuration is not None and configuration.key not in taken:
            return point, configuration
    return None


def _flipped(space: Space, point: Point, rng: np.random.Generator) -> Point:
    changed: dict[str, Json] = dict(point)
    for parameter in space[point["branch"]].parameters:
        match parameter.variable:
            case Bits() | Subset() if parameter.active(point):
                least = getattr(parameter.variable, "min", 1)
                length = len(point[parameter.name])
                changed[parameter.name] = _coins(length, least, rng)
    return changed


def _coins(length: int, least: int, rng: np.random.Generator) -> tuple[int, ...]:
    while True:
        bits = rng.integers(2, size=length)
        if bits.sum() >= least:
            return tuple(bits.tolist())


_WAYS = {"random by size": _by_size, "random by coin flips": _by_coin_flips}
NAMES = tuple(_WAYS)
