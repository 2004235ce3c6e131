"""The `autopeft` sampler: an initial design, then the candidate with the largest expected gain.

The mixed space is searched by scoring random candidates and the neighbours of the front, then by
climbing from the best of them over neighbours (one option, one bit, one step along a range).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.front import outcomes
from autopeft.domain.pareto import Array, non_dominated
from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.replicates import merged
from autopeft.domain.space import Branch, Point
from autopeft.domain.trial import State, Trial
from autopeft.search import initial
from autopeft.search.memory import Memory
from autopeft.search.outcomes import Score
from autopeft.search.points import fits, neighbours
from autopeft.search.pool import Fresh, climb

if TYPE_CHECKING:  # scipy is loaded when there is something to fit
    from autopeft.search import replication

_FEWEST_RESULTS = 3  # below it a model says nothing
_DOUBTED = 16  # trials with a result before left-out errors say more than noise
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
    seeds: at how many seeds a configuration may run.
    """

    initial: int | None = None
    candidates: int = 128
    budget: int | None = None
    seeds: int = 1
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
            place = f"{own + 1} of {design}" if own < design else "no model of so few results"
            return initial.suggest(problem, history, seed=seed, why=f"initial design ({place})")
        if own % _WATCH == _WATCH - 1:
            return self._aside(problem, history, seed)
        return self._by_model(problem, history, seed)

    def _aside(self, problem: Problem, history: Sequence[Trial], seed: int) -> Suggestion:
        """Where the largest gain is not: it may be wrong."""
        from threadpoolctl import threadpool_limits

        from autopeft.search import closed_form, niche

        rng, fresh = np.random.default_rng(seed), Fresh(problem, history)
        sized = closed_form.applies(problem) and len(problem.objectives) > 1
        pool = self._pool(problem, history, fresh, rng) if sized and problem.space.searched else []
        if not pool:
            why = f"away from the model (every {_WATCH}th trial)"
            return initial.suggest(problem, history, seed=seed, why=why)
        built = [problem.configure(point) for point in pool]
        with threadpool_limits(1):
            score = niche.make_score(problem, history, built, seed, self._memory)
            point, _ = self._climbed(problem, pool, score, fresh, rng)
        return Suggestion(point, f"best of its size (every {_WATCH}th trial)")

    def _climbed(
        self,
        problem: Problem,
        pool: Sequence[Point],
        score: Callable[[Sequence[Configuration]], Array],
        fresh: Fresh,
        rng: np.random.Generator,
    ) -> tuple[Point, float]:
        def of_points(points: Sequence[Point]) -> Array:
            return score([problem.configure(point) for point in points])

        return climb(pool, of_points, fresh.near, rng, starts=_STARTS, rounds=_ROUNDS)

    def _by_model(self, problem: Problem, history: Sequence[Trial], seed: int) -> Suggestion:
        error = self._left_out_error(problem, history)
        if error > 1:
            return _by_tpe(problem, history, error, seed)
        rng, fresh = np.random.default_rng(seed), Fresh(problem, history)
        pool = self._pool(problem, history, fresh, rng)
        if not pool:
            return initial.suggest(problem, history, seed=seed, why="spread out: few are left")
        built = [problem.configure(point) for point in pool]
        with self._scoring(problem, history, built, seed) as score:
            point, gain = self._climbed(problem, pool, score, fresh, rng)
            again = self._again(problem, history, built, seed)
            if again is not None and again.gain > gain:
                gains = f"log gain {again.gain:.1f} against {gain:.1f} of anything new"
                return _repeated(again.trial, f"the front is undecided, {gains}")
            if again is not None and self._learns(problem, history):
                return _repeated(again.trial, "to learn how much seeds differ")
            chosen = problem.configure(point)
            promised, left = score.growth([chosen]), score.growth([*built, chosen])
        return Suggestion(point, "model-based", promised, max(promised, left))

    def _left_out_error(self, problem: Problem, history: Sequence[Trial]) -> float:
        """Above 1 the surrogate predicts left-out trials worse than their mean does."""
        from threadpoolctl import threadpool_limits

        from autopeft.search import closed_form

        told = sum(_has_result(trial) for trial in history)
        if told < _DOUBTED or not closed_form.applies(problem):
            return 0.0
        with threadpool_limits(1):
            return closed_form.Model.of(problem, history, (), self._memory).left_out_error

    def _again(
        self,
        problem: Problem,
        history: Sequence[Trial],
        candidates: Sequence[Configuration],
        seed: int,
    ) -> "replication.Choice | None":
        """What to repeat at another seed, if anything; inside `_scoring`."""
        from autopeft.search import closed_form, replication

        if self.seeds == 1 or not problem.space.searched or not closed_form.applies(problem):
            return None
        model = closed_form.Model.of(problem, history, candidates, self._memory)
        return replication.best(problem, history, model, seeds=self.seeds, seed=seed)

    def _learns(self, problem: Problem, history: Sequence[Trial]) -> bool:
        """Whether it is the turn of a replicate that tells how much seeds differ."""
        from autopeft.search import replication

        names = {branch.name for branch in problem.space.branches}
        own = sum(trial.configuration.branch in names for trial in history)
        return own % _WATCH == _WATCH // 2 - 1 and replication.unlearned(history)

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


def _by_tpe(problem: Problem, history: Sequence[Trial], error: float, seed: int) -> Suggestion:
    """What Optuna's TPE proposes, where the surrogate says less than no model."""
    from autopeft.search.optuna_sampler import OptunaSampler

    tpe = OptunaSampler("TPESampler", {"n_startup_trials": _FEWEST_RESULTS})
    found = tpe.suggest(problem, history, seed=seed)
    why = f"TPE: left out, trials are {error:.1f} times farther from the model than from their mean"
    return replace(found, why=why)


def _repeated(trial: Trial, why: str) -> Suggestion:
    why = f"another seed of trial {trial.number}: {why}"
    return Suggestion(trial.point, why, again=trial.number)


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
    told = [t for t in merged(history) if _has_result(t) and fits(problem, t.point)]
    if not told:
        return []
    mask = non_dominated(outcomes(problem.objectives, told))
    front = [trial.point for trial, on in zip(told, mask, strict=True) if on]
    return front[-_PARENTS:]
