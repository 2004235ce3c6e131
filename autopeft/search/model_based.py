"""The `autopeft` sampler: an initial design, then the candidate with the largest expected gain.

The mixed space is searched by scoring random candidates and the neighbours of the front, then by
climbing from the best of them over neighbours (one option, one bit, one step along a range).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.pareto import Array
from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.space import Point
from autopeft.domain.trial import State, Trial
from autopeft.search import fallback
from autopeft.search.candidates import initial
from autopeft.search.candidates.pool import Fresh, climb, gathered
from autopeft.search.model.costs import quality
from autopeft.search.model.earlier import Earlier
from autopeft.search.model.memory import Memory
from autopeft.search.model.outcomes import Score
from autopeft.search.model.threads import on_one_thread
from autopeft.search.model.trimming import trimmed

if TYPE_CHECKING:  # scipy is loaded when there is something to fit
    from autopeft.search.gain import closed_form, replication, several_objectives

_FEWEST_RESULTS = 3  # below it a model says nothing
_DOUBTED = 16  # trials with a result before left-out errors say more than noise
_WATCH = 6  # every so many suggestions one looks where the model does not: it may be wrong
# Of the hypervolume: after a trial that promised less, too. A model that takes a search for nearly
# over is worth a check by every other trial (24 instances where capacity hurts, 60 trials: .37 of
# the hypervolume without, .49 with it). After earlier studies the doubt is another: every other
# suggestion is made without them, and these must not take its turns.
_LITTLE = 0.005
_ASIDE = 3  # one of so many trials before the first results is away from earlier studies
# Results from which on every other suggestion leaves earlier studies out: where only the kind of
# space was the same, the likelihood kept to what was good elsewhere (benchmarks, warm start).
_OWN_EYES = 12
_STARTS = 3  # climbs, from the best candidates
_ROUNDS = 4
_STEPS = 24  # neighbours of a point that a climb looks at
_AHEAD = 256  # candidates that what is left to gain is counted of


@dataclass(frozen=True)
class ModelBasedSampler:
    """See `ports.Sampler` for the contract.

    initial: trials of the offered branches before the model decides; None: `initial.default_size`.
    candidates: random candidates in the pool of a suggestion.
    budget: trials of the study, if it counts them: at most a third is spent on the default design.
    seeds: at how many seeds a configuration may run.
    sources: earlier studies. Their front comes in the place of the initial design, and what they
    expect is part of the model.
    """

    initial: int | None = None
    candidates: int = 128
    budget: int | None = None
    seeds: int = 1
    sources: tuple[Earlier, ...] = ()
    _memory: Memory = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_memory", Memory(self.sources))

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        problem = self._memory.remembering(problem)
        if self.sources:
            _refuse_unfit(problem)
        names = {branch.name for branch in problem.space.branches}
        own = sum(trial.configuration.branch in names for trial in history)
        told = sum(_has_result(trial) for trial in history)
        if self.sources and told < _FEWEST_RESULTS and own % _ASIDE != 1:
            return self._from_earlier(problem, history, seed)
        design = self._design(problem)
        if told < _FEWEST_RESULTS or (own < design and not self._trusted(problem, history)):
            place = f"{own + 1} of {design}" if own < design else "no model of so few results"
            return initial.suggest(problem, history, seed=seed, why=f"initial design ({place})")
        if own % _WATCH == _WATCH - 1:
            return self._aside(problem, history, seed, f"every {_WATCH}th trial")
        if not self.sources and _sized(problem) and _promised_little(history[-1]):
            return self._aside(problem, history, seed, "the model promised little")
        return self._by_model(problem, history, seed)

    def forecasts(self, problem: Problem) -> bool:
        """See `ports.Forecaster`."""
        return quality(problem) is not None

    def promises(
        self, problem: Problem, history: Sequence[Trial], paused: Sequence[Trial]
    ) -> Sequence[float]:
        """See `ports.Forecaster`."""
        from autopeft.search.gain import forecast

        problem = self._memory.remembering(problem)
        with on_one_thread():
            seen = trimmed(problem, history, keep=paused)
            return forecast.promises(problem, seen, paused, self._memory)

    def _design(self, problem: Problem) -> int:
        """Trials of the initial design."""
        if self.initial is not None:
            return self.initial * 3 // 2 if self.sources else self.initial
        size = initial.default_size(problem, self.budget)
        if not self.sources:
            return size
        # After a wrong start more of a design: without, one of two reversed starts on `layered` was
        # lost (instance 0 after 36 trials: .16 of the hypervolume, .42 with 12 points).
        return min(3 * size, max(size, (self.budget or 6 * size) // 2))

    def _trusted(self, problem: Problem, history: Sequence[Trial]) -> bool:
        """Whether earlier studies stand in for the rest of the initial design."""
        if not self.sources:
            return False
        with on_one_thread():
            return self._believed(problem, history, ()).trust > 0

    # -- the ways to choose ----------------------------------------------------------------

    def _from_earlier(self, problem: Problem, history: Sequence[Trial], seed: int) -> Suggestion:
        """By what earlier studies expect alone."""
        from autopeft.search.gain import first

        rng, fresh = np.random.default_rng(seed), Fresh(problem, history)
        pool = self._gathered(problem, history, fresh, rng)
        if not pool:
            return fallback.few_left(problem, history, seed)
        built = [problem.configure(point) for point in pool]
        with on_one_thread():
            score = first.make_score(problem, history, built, self._memory)
            point, _ = _climbed(problem, pool, score, fresh, rng)
        return Suggestion(point, "from earlier studies")

    def _aside(
        self, problem: Problem, history: Sequence[Trial], seed: int, turn: str
    ) -> Suggestion:
        """Where the largest gain is not: it may be wrong. turn: why now."""
        from autopeft.search.gain import closed_form, niche

        rng, fresh = np.random.default_rng(seed), Fresh(problem, history)
        pool: Sequence[Point] = ()
        if _sized(problem):
            pool = self._gathered(problem, history, fresh, rng)
        if not pool:
            why = f"away from the model ({turn})"
            return initial.suggest(problem, history, seed=seed, why=why)
        built, seen = [problem.configure(point) for point in pool], trimmed(problem, history)
        with on_one_thread():
            model = closed_form.Model.of(problem, seen, built, self._memory)
            score = niche.make_score(model, seen, built, seed)
            point, _ = _climbed(problem, pool, score, fresh, rng)
        return Suggestion(point, f"best of its size ({turn})")

    def _by_model(self, problem: Problem, history: Sequence[Trial], seed: int) -> Suggestion:
        rng, fresh = np.random.default_rng(seed), Fresh(problem, history)
        pool = self._gathered(problem, history, fresh, rng)
        if not pool:
            return fallback.few_left(problem, history, seed)
        built, seen = [problem.configure(point) for point in pool], trimmed(problem, history)
        alone = self._alone(history)
        with on_one_thread():
            model = self._believed(problem, seen, built, alone=alone)
            score = _gains(model, seen, seed)
            if (error := _left_out_error(model, seen)) > 1:
                return fallback.by_tpe(problem, history, error, _FEWEST_RESULTS, seed)
            gains = score(built)
            point, gain = _climbed(problem, pool, score, fresh, rng, gains)
            again = self._again(model, seen, seed)
            if again is not None and again.gain > gain:
                told = f"log gain {again.gain:.1f} against {gain:.1f} of anything new"
                return _repeated(again.trial, f"the front is undecided, {told}")
            if again is not None and self._learns(problem, history):
                return _repeated(again.trial, "to learn how much seeds differ")
            chosen = problem.configure(point)
            promised = score.growth([chosen])
            # Those that gain most alone: the others would add next to nothing.
            ahead = np.argsort(-gains, kind="stable")[:_AHEAD]
            left = score.growth([*(built[i] for i in ahead), chosen])
        why = "model-based, without earlier studies" if alone else "model-based"
        return Suggestion(point, why, promised, max(promised, left))

    def _gathered(
        self, problem: Problem, history: Sequence[Trial], fresh: Fresh, rng: np.random.Generator
    ) -> list[Point]:
        return gathered(problem, history, fresh, rng, self.candidates, self._memory.block)

    # -- the model -------------------------------------------------------------------------

    def _believed(
        self,
        problem: Problem,
        history: Sequence[Trial],
        candidates: Sequence[Configuration],
        *,
        alone: bool = False,
    ) -> "closed_form.Model | several_objectives.Model":
        from autopeft.search.gain import closed_form, several_objectives

        told = (problem, history, candidates, self._memory)
        if closed_form.applies(problem):
            return closed_form.Model.of(*told, alone=alone)
        return several_objectives.Model.of(*told, alone=alone)

    def _alone(self, history: Sequence[Trial]) -> bool:
        """Whether this suggestion is made without earlier studies."""
        told = sum(map(_has_result, history))
        return bool(self.sources) and told >= _OWN_EYES and len(history) % 2 == 1

    def _again(
        self,
        model: "closed_form.Model | several_objectives.Model",
        history: Sequence[Trial],
        seed: int,
    ) -> "replication.Choice | None":
        """What to repeat at another seed, if anything."""
        from autopeft.search.gain import closed_form, replication

        if self.seeds == 1 or not isinstance(model, closed_form.Model):
            return None
        if not model.problem.space.searched:
            return None
        return replication.best(model.problem, history, model, seeds=self.seeds, seed=seed)

    def _learns(self, problem: Problem, history: Sequence[Trial]) -> bool:
        """Whether it is the turn of a replicate that tells how much seeds differ."""
        from autopeft.search.gain import replication

        names = {branch.name for branch in problem.space.branches}
        own = sum(trial.configuration.branch in names for trial in history)
        if own % _WATCH != _WATCH // 2 - 1 or not replication.unlearned(history):
            return False
        # A baseline's replicate is none of the branches': without this it would be its turn again.
        *before, last = history
        return all(trial.configuration.key != last.configuration.key for trial in before)


def _climbed(
    problem: Problem,
    pool: Sequence[Point],
    score: Callable[[Sequence[Configuration]], Array],
    fresh: Fresh,
    rng: np.random.Generator,
    scores: Array | None = None,
) -> tuple[Point, float]:
    """scores: of the pool, where they are known."""

    def of_points(points: Sequence[Point]) -> Array:
        return score([problem.configure(point) for point in points])

    near = partial(fresh.near, steps=_STEPS)
    return climb(pool, of_points, near, rng, starts=_STARTS, rounds=_ROUNDS, scores=scores)


def _gains(
    model: "closed_form.Model | several_objectives.Model", history: Sequence[Trial], seed: int
) -> Score:
    from autopeft.search.gain import closed_form, several_objectives

    if isinstance(model, closed_form.Model):
        return closed_form.make_score(model, history, seed)
    return several_objectives.make_score(model, history, seed)


def _left_out_error(
    model: "closed_form.Model | several_objectives.Model", history: Sequence[Trial]
) -> float:
    """Above 1 the surrogate predicts left-out trials worse than their mean does."""
    return model.left_out_error if sum(map(_has_result, history)) >= _DOUBTED else 0.0


def _repeated(trial: Trial, why: str) -> Suggestion:
    return Suggestion(
        trial.point, f"another seed of trial {trial.number}: {why}", again=trial.number
    )


def _refuse_unfit(problem: Problem) -> None:
    if quality(problem) is None:
        raise AutopeftError(
            "a search from earlier studies takes one quality among its objectives, beside costs, "
            f"got {', '.join(o.metric for o in problem.objectives)}: leave them out"
        )


def _sized(problem: Problem) -> bool:
    """Whether candidates have a size beside their quality: a cost that is known."""
    from autopeft.search.gain import closed_form

    return (
        closed_form.applies(problem)
        and len(problem.objectives) > 1
        and bool(problem.space.searched)
    )


def _promised_little(trial: Trial) -> bool:
    return trial.expected_gain is not None and trial.expected_gain < _LITTLE


def _has_result(trial: Trial) -> bool:
    return trial.state is not State.FAILED and bool(trial.rungs)
