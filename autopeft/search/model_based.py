"""The `autopeft` sampler: an initial design, then the candidate with the largest expected gain.

The mixed space is searched by scoring random candidates and the neighbours of the front, then by
climbing from the best of them over neighbours (one option, one bit, one step along a range).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.front import outcomes
from autopeft.domain.pareto import non_dominated
from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.space import Branch, Point
from autopeft.domain.trial import State, Trial
from autopeft.search import initial
from autopeft.search.memory import Memory
from autopeft.search.outcomes import Score
from autopeft.search.points import fits, neighbours
from autopeft.search.pool import Fresh, climb

_FEWEST_RESULTS = 3  # below it a model says nothing
_WATCH = 6  # every so many suggestions one looks where the model does not: it may be wrong
_STARTS = 4  # climbs, from the best candidates
_ROUNDS = 4
_MUTANTS = 32
_PARENTS = 12  # members of the front whose neighbours join the pool


@dataclass(frozen=True)
class ModelBasedSampler:
    """See `ports.Sampler` for the contract.

    initial: trials of the offered branches before the model decides; None: `initial.default_size`.
    candidates: random candidates in the pool of a suggestion.
    budget: trials of the study, if it counts them: at most a third is spent on the default design.
    """

    initial: int | None = None
    candidates: int = 128
    budget: int | None = None
    _memory: Memory = field(default_factory=Memory, init=False, compare=False, repr=False)

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        problem = self._memory.remembering(problem)
        design = (
            initial.default_size(problem, self.budget) if self.initial is None else self.initial
        )
        names = {branch.name for branch in problem.space.branches}
        own = sum(trial.configuration.branch in names for trial in history)
        told = sum(_has_result(trial) for trial in history)
        if own < design or told < _FEWEST_RESULTS:
            return initial.suggest(problem, history, seed=seed)
        if own % _WATCH == _WATCH - 1:
            found = initial.suggest(problem, history, seed=seed)
            return replace(found, why=f"away from the model: branch {found.point['branch']}")
        return self._by_model(problem, history, seed)

    def forecasts(self, problem: Problem) -> bool:
        """See `ports.Forecaster`."""
        from autopeft.search import closed_form

        return closed_form.applies(problem)

    def promises(
        self, problem: Problem, history: Sequence[Trial], paused: Sequence[Trial]
    ) -> Sequence[float]:
        """See `ports.Forecaster`."""
        from threadpoolctl import threadpool_limits

        from autopeft.search import forecast

        problem = self._memory.remembering(problem)
        with threadpool_limits(1):  # the same bits on any machine, and the trials' cores theirs
            return forecast.promises(problem, history, paused, self._memory)

    def _by_model(self, problem: Problem, history: Sequence[Trial], seed: int) -> Suggestion:
        rng, fresh = np.random.default_rng(seed), Fresh(problem, history)
        pool = self._pool(problem, history, fresh, rng)
        if not pool:
            return initial.suggest(problem, history, seed=seed)
        built = [problem.configure(point) for point in pool]
        with self._scoring(problem, history, built, seed) as score:
            point, gain = climb(
                pool,
                lambda points: score([problem.configure(point) for point in points]),
                fresh.near,
                rng,
                starts=_STARTS,
                rounds=_ROUNDS,
            )
        why = (
            f"model-based: expected gain largest at branch {point['branch']}, "
            f"{'log EHVI' if len(problem.objectives) > 1 else 'log EI'} {gain:.1f}"
        )
        return Suggestion(point, why)

    @contextmanager
    def _scoring(
        self,
        problem: Problem,
        history: Sequence[Trial],
        candidates: Sequence[Configuration],
        seed: int,
    ) -> Iterator[Score]:
        """The acquisition: in closed form where that is exact, else BoTorch's."""
        from threadpoolctl import threadpool_limits

        from autopeft.search import closed_form

        if closed_form.applies(problem):
            with threadpool_limits(1):  # the same bits on any machine, and the trials' cores theirs
                yield closed_form.make_score(problem, history, candidates, seed, self._memory)
            return
        from autopeft.search.acquisition import make_score
        from autopeft.search.gaussian_process import deterministic

        with deterministic(seed):
            yield make_score(problem, history, candidates, seed)

    def _pool(
        self,
        problem: Problem,
        history: Sequence[Trial],
        fresh: Fresh,
        rng: np.random.Generator,
    ) -> list[Point]:
        """Random points, the neighbours of the front, and its mutants."""
        parents = _front_points(problem, history)
        drawn = (problem.space.draw(rng) for _ in range(2 * self.candidates))
        return [
            *islice(fresh.among(drawn), self.candidates),
            *fresh.among(n for p in parents for n in neighbours(_home(problem, p), p, rng)),
            *fresh.among(_mutants(problem, parents, rng)),
        ]


def _home(problem: Problem, point: Point) -> Branch:
    return problem.space[point["branch"]]


def _mutants(
    problem: Problem, parents: Sequence[Point], rng: np.random.Generator
) -> Iterator[Point]:
    """Members of the front after a few steps, each in any direction."""
    for _ in range(_MUTANTS if parents else 0):
        point = parents[int(rng.integers(len(parents)))]
        for _ in range(int(rng.integers(2, 5))):
            steps = list(neighbours(_home(problem, point), point, rng))
            if steps:
                point = steps[int(rng.integers(len(steps)))]
        yield point


def _has_result(trial: Trial) -> bool:
    return trial.state is not State.FAILED and bool(trial.rungs)


def _front_points(problem: Problem, history: Sequence[Trial]) -> list[Point]:
    """The points of non-dominated trials that this space can still express."""
    told = [t for t in history if _has_result(t) and fits(problem, t.point)]
    if not told:
        return []
    mask = non_dominated(outcomes(problem.objectives, told))
    front = [trial.point for trial, on in zip(told, mask, strict=True) if on]
    return front[-_PARENTS:]
