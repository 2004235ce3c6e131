"""Expected hypervolume improvement where one objective is measured and the other is known.

With cost z known exactly, the front is a staircase over z, and the improvement of a candidate is
an integral of one-dimensional expected improvements (the two-objective EHVI of Emmerich 2011 with
one variance at zero):

    EHVI(x) = sum over steps k of |(0, z(x)] in step k| EI(mean(x), deviation(x); height of k)

The front is noisy, so it is drawn: heights come from joint posterior draws at what was tried and at
what runs (Daulton 2021, arXiv 2105.08195), mean and deviation are those given the draw, and the sum
is averaged. So what resembles a trial gains little, and a batch stays apart. With a single measured
objective there is one step, and the score is noisy EI.

Scores are on `scale.Scale`: reference at 0. N: candidates; m: tried; S: draws; K: steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.estimates import ESTIMATED
from autopeft.domain.objective import one_quality
from autopeft.domain.ports import Problem
from autopeft.domain.results.front import outcomes
from autopeft.domain.trial import Trial
from autopeft.search.gain.odds import make_odds
from autopeft.search.gain.staircase import LEAST, gain_over, rising, staircase, volume
from autopeft.search.model.costs import quality
from autopeft.search.model.encoding import Array
from autopeft.search.model.memory import USUAL_NOISE, Memory, View
from autopeft.search.model.outcomes import (
    Score,
    compared,
    of_objective,
    rivals,
    share_of,
    softened,
)
from autopeft.search.model.scale import Scale
from autopeft.search.model.surrogate import Surrogate

_DRAWS = 16
_DRAWS_OF_MANY = 256


def applies(problem: Problem) -> bool:
    """One measured quality, and at most one known cost."""
    estimated = ESTIMATED if problem.estimates is not None else frozenset[str]()
    return one_quality(problem.objectives, estimated)


@dataclass(frozen=True)
class Model:
    """The one quality as the process sees it.

    measured: its position. deviation: of the noise of one trial, on the scale.
    trials, values: (n,) positions in the history and scores, by row of the surrogate.
    """

    problem: Problem
    memory: Memory
    view: View
    scale: Scale
    measured: int
    surrogate: Surrogate
    deviation: float
    trials: tuple[int, ...]
    values: Array

    @classmethod
    def of(
        cls,
        problem: Problem,
        history: Sequence[Trial],
        candidates: Sequence[Configuration],
        memory: Memory,
        *,
        alone: bool = False,
    ) -> "Model":
        """candidates: examples of what will be scored, for the scale. alone: without what earlier
        studies expect."""
        view = memory.view(problem, history)
        scale = Scale.of(problem, history, candidates)
        measured = quality(problem)
        if measured is None:  # a cost that is all that is asked for: `effects`
            measured = next(j for j, o in enumerate(problem.objectives) if not o.known)
        seen = of_objective(problem, history, scale, measured)
        rows = view.rows(
            [history[position].configuration for position in seen.trials], seen.fidelity
        )
        rows = rows.alone() if alone else rows
        values = softened(seen.values)
        surrogate = memory.conditioned(rows, seen, values)
        noise = USUAL_NOISE if seen.noise is None else float(np.median(seen.noise))
        deviation = (surrogate.hyperparameters.noise * noise) ** 0.5
        return cls(
            problem, memory, view, scale, measured, surrogate, deviation, seen.trials, values
        )

    def cost(self, configurations: Sequence[Configuration]) -> Array:
        """(n,) exact scores of the known objective, larger is cheaper; 1 where there is none.

        Where `applies`: of several costs there is none that is the cost.
        """
        if len(self.problem.objectives) == 1:
            return np.ones(len(configurations))
        return self.scale.known(self.problem, configurations)[:, 1 - self.measured]

    def observed(self, trials: Sequence[Trial]) -> Array:
        """(n,) measured scores as the process sees them."""
        j = self.measured
        scores = outcomes(self.problem.objectives, trials)[:, j]
        return softened((scores - self.scale.reference[j]) / self.scale.span[j])

    @property
    def trust(self) -> float:
        """How far the results bear out earlier studies, from 0, not at all, to below 1."""
        return self.surrogate.hyperparameters.trust

    @property
    def left_out_error(self) -> float:
        """How badly it predicts each trial from the others; see `Surrogate`."""
        return self.surrogate.left_out_error(self.trials)


def make_score(model: Model, history: Sequence[Trial], seed: int) -> Score:
    """The log of the expected gain. history: what the model is of."""
    view, surrogate, cost_of = model.view, model.surrogate, model.cost
    against = _contenders(model, history, seed)
    odds = make_odds(model.problem, history, view, model.memory)
    drawn = surrogate.draws(view.rows(against), _DRAWS, np.random.default_rng(seed))
    edges, heights = staircase(cost_of(against), drawn.values)

    def score(configurations: Sequence[Configuration]) -> Array:
        mean, deviation = drawn.given(view.rows(configurations))
        gain = gain_over(mean, deviation, cost_of(configurations), edges, heights)
        return np.asarray(np.log(np.maximum(gain, LEAST)) + odds(configurations))

    def growth(configurations: Sequence[Configuration]) -> float:
        rng = np.random.default_rng([seed, len(configurations)])
        cost, before = cost_of(against), len(against)
        if len(configurations) == 1:
            many = replace(drawn, normal=rng.standard_normal((before, _DRAWS_OF_MANY)))
            mean, deviation = many.given(view.rows(configurations))
            steps = staircase(cost, many.values)
            (gain,) = gain_over(mean, deviation, cost_of(configurations), *steps)
            chance = np.exp(odds(configurations))
            return share_of(float(gain * chance[0]), volume(cost, many.values))
        every = surrogate.draws(view.rows([*against, *configurations]), _DRAWS_OF_MANY, rng).values
        kept = np.log(rng.random((_DRAWS_OF_MANY, len(configurations)))) < odds(configurations)
        every[:, before:] = np.where(kept, every[:, before:], -np.inf)
        reached = volume(cost, every[:, :before])
        cost = np.append(cost, cost_of(configurations))
        return share_of(volume(cost, every) - reached, reached)

    return Score(score, growth)


def _contenders(model: Model, history: Sequence[Trial], seed: int) -> list[Configuration]:
    """The rivals that are on the front in one of many draws, and all that run.

    What is below the front whatever is true makes no difference to a gain, and costs time.
    """
    against = rivals(model.problem, history)
    running = {t.configuration.key for t in compared(model.problem, history)[1]}
    rng = np.random.default_rng([seed, _DRAWS_OF_MANY])
    drawn = model.surrogate.draws(model.view.rows(against), _DRAWS_OF_MANY, rng)
    on = rising(model.cost(against), drawn.values)
    kept = [c for c, front in zip(against, on, strict=True) if front or c.key in running]
    return kept or against[:1]
