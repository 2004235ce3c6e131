"""The expected gain where more has to be measured than one quality: costs, or several objectives.

Every measured objective has a process of its own (`beliefs`), all see the same rows, and given the
configurations they are independent. The front is drawn from them jointly at what was tried and at
what runs, as in `closed_form`, and what a candidate adds to each draw is a sum over boxes
(`box_gain`): noisy EHVI (Daulton 2021, arXiv 2105.08195) whose last integral is exact.

Scores are on `scale.Scale`: reference at 0. m: objectives; S: draws.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.objective import Objective
from autopeft.domain.pareto import Array
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Trial
from autopeft.search.gain import beliefs
from autopeft.search.gain.beliefs import Belief, Configurations, Drawn, drawn_at, stacked
from autopeft.search.gain.box_gain import Boxes, on_a_front
from autopeft.search.gain.odds import make_odds
from autopeft.search.gain.sampled_volume import added, volumes
from autopeft.search.gain.staircase import LEAST
from autopeft.search.model.costs import estimated, log_estimates, quality
from autopeft.search.model.memory import Memory, View
from autopeft.search.model.outcomes import (
    Observations,
    Score,
    compared,
    of_cost,
    of_objective,
    rivals,
    share_of,
    softened,
)
from autopeft.search.model.scale import Scale
from autopeft.search.model.surrogate import Surrogate

_DRAWS = 16  # half of it from three objectives on
_DRAWS_OF_MANY = 64  # that tell who may be on the front
_DRAWS_OF_ONE = 512  # of the gain that is told
_FEWEST = 2  # measured costs that say how far the estimates are off


@dataclass(frozen=True)
class Model:
    """What is believed of every objective.

    scored: the processes of scores, each with the positions in the history of what it has seen.
    trust: how far the results bear out earlier studies, from 0, not at all, to below 1.
    """

    problem: Problem
    view: View
    memory: Memory
    beliefs: tuple[Belief[Configurations], ...]
    scored: tuple[tuple[Surrogate, Sequence[int]], ...]
    trust: float

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
        view, scale = memory.view(problem, history), Scale.of(problem, history, candidates)
        believed: list[Belief[Configurations]] = []
        scored, trust = [], 0.0
        about = None if alone else quality(problem)  # what earlier studies speak of
        for j, objective in enumerate(problem.objectives):
            if objective.known:
                believed.append(beliefs.known(_exact(problem, scale, j)))
            elif (seen := _costs(problem, history, objective)) is not None:
                believed.append(_cost(problem, history, view, memory, scale, j, seen))
            else:
                seen = of_objective(problem, history, scale, j)
                rows = view.rows(seen.configurations(history), seen.fidelity)
                rows = rows if j == about else rows.alone()
                surrogate = memory.conditioned(rows, seen, softened(seen.values))
                believed.append(beliefs.quality(surrogate, view.rows))
                scored.append((surrogate, seen.trials))
                trust = max(trust, surrogate.hyperparameters.trust)
        return cls(problem, view, memory, tuple(believed), tuple(scored), trust)

    def drawn(
        self, configurations: Sequence[Configuration], count: int, seed: Sequence[int]
    ) -> list[Drawn[Configurations]]:
        """Joint draws of every objective."""
        return drawn_at(self.beliefs, configurations, count, seed)

    @property
    def left_out_error(self) -> float:
        """How badly it predicts each trial from the others, the mean over the scores; see
        `Surrogate.left_out_error`.

        A cost has its estimate: what that leaves may be nothing but noise.
        """
        errors = [surrogate.left_out_error(trials) for surrogate, trials in self.scored]
        return float(np.mean(errors)) if errors else 0.0


def make_score(model: Model, history: Sequence[Trial], seed: int) -> Score:
    """The log of the expected gain. history: what the model is of."""
    odds = make_odds(model.problem, history, model.view, model.memory)
    against = _contenders(model, history, seed)
    drawn = model.drawn(against, _draws(model.problem), [seed])
    fronts = [Boxes.above(Y) for Y in stacked(drawn)]

    def score(configurations: Sequence[Configuration]) -> Array:
        excess = [each.given(configurations) for each in drawn]
        gain = np.mean([front.gain(excess, s) for s, front in enumerate(fronts)], axis=0)
        return np.asarray(np.log(np.maximum(gain, LEAST)) + odds(configurations))

    def growth(configurations: Sequence[Configuration]) -> float:
        count, before = len(configurations), len(against)
        rng = np.random.default_rng([seed, count])
        draws = _DRAWS_OF_ONE if count == 1 else _DRAWS
        every = [*against, *configurations]
        Y = stacked(model.drawn(every, draws, [seed, count]))
        kept = np.log(rng.random((draws, count))) < odds(configurations)
        if count == 1:
            reached, _ = volumes(Y[:_DRAWS, :before], Y[:_DRAWS, before:], rng)
            gained = added(Y[:, :before], Y[:, before], rng) * kept[:, 0]
            return share_of(float(gained.mean()), float(reached.mean()))
        more = np.where(kept[..., None], Y[:, before:], -1.0)
        reached, after = volumes(Y[:, :before], more, rng)
        return share_of(float((after - reached).mean()), float(reached.mean()))

    return Score(score, growth)


def _contenders(model: Model, history: Sequence[Trial], seed: int) -> list[Configuration]:
    """As of `closed_form`: who is on the front in one of many draws, and all that run."""
    against = rivals(model.problem, history)
    if not against:
        return []
    running = {trial.configuration.key for trial in compared(model.problem, history)[1]}
    on = on_a_front(stacked(model.drawn(against, _DRAWS_OF_MANY, [seed, _DRAWS_OF_MANY])))
    on |= np.array([each.key in running for each in against])
    return [each for each, may in zip(against, on, strict=True) if may]


def _draws(problem: Problem) -> int:
    if all(objective.known for objective in problem.objectives):
        return 1
    return _DRAWS if len(problem.objectives) < 3 else _DRAWS // 2


def _exact(problem: Problem, scale: Scale, j: int) -> Callable[[Sequence[Configuration]], Array]:
    return lambda configurations: scale.known(problem, configurations)[:, j]


def _costs(problem: Problem, history: Sequence[Trial], objective: Objective) -> Observations | None:
    """What was seen of a cost that is estimated; None: of anything else, or too little."""
    if not estimated(problem, objective.metric):
        return None
    seen = of_cost(problem, history, objective.metric)
    return seen if len(seen.trials) >= _FEWEST else None


def _cost(
    problem: Problem,
    history: Sequence[Trial],
    view: View,
    memory: Memory,
    scale: Scale,
    j: int,
    seen: Observations,
) -> Belief[Configurations]:
    objective = problem.objectives[j]
    # The estimate has the adapter's size in it.
    rows = view.rows(seen.configurations(history), seen.fidelity).unsized()
    return beliefs.cost(
        memory.conditioned(rows, seen, seen.values),
        lambda there: view.rows(there).unsized(),
        lambda there: log_estimates(problem, objective.metric, there),
        beliefs.Placed.of(objective, float(scale.reference[j]), float(scale.span[j])),
    )
