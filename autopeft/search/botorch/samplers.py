"""Competitors from BoTorch, to measure the `autopeft` sampler against.

They see a point as plain numbers, without the features of an adapter, and model every objective,
also those that are known exactly. Half-trained trials count with what they have, failed ones not
at all. A random design comes first; then the acquisition is maximised over a discrete pool.

    botorch.qLogNEHVI     a Gaussian process per objective, log noisy expected hypervolume gain
    botorch.qLogNParEGO   the same models, log expected gain of a random scalarisation
    botorch.AutoPEFT      the recipe of AutoPEFT (Zhou 2024, arXiv 2301.12132)

That recipe: a design of 100, sizes as positions on [0, 1], outcomes by rank, a sparse prior on
length scales (SAAS) and noisy EHVI. Changed in it: SAAS by an ensemble of MAP fits, for NUTS would
need JAX; EHVI in log form; and the defects of the release: what is evaluated is the acquisition's
optimum, the reference point follows the front instead of a metric of 0.7, a size counts as this
model has it, a failed trial ends nothing, nothing is proposed twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil, sqrt

import numpy as np

from autopeft.domain.errors import OutcomeError
from autopeft.domain.pareto import Array, non_dominated
from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.results.front import baseline_metrics
from autopeft.domain.space import Point
from autopeft.domain.trial import State, Trial
from autopeft.search.botorch.acquisition import (
    Fit,
    Observed,
    expected_gain,
    normal_scores,
    reference_of,
    standardised,
)
from autopeft.search.botorch.models import plain, saas
from autopeft.search.botorch.torch_state import deterministic
from autopeft.search.candidates.pool import Fresh, climb
from autopeft.search.points.drawing import fits
from autopeft.search.points.plain_encoding import PointEncoding, freedoms
from autopeft.search.random_sampler import RandomSampler

_FEWEST_RESULTS = 3  # below it a model says nothing
_PARENTS = 12  # members of the front whose neighbours join the pool
_STARTS = 4
_ROUNDS = 4


@dataclass(frozen=True)
class Recipe:
    """What makes one competitor differ from another.

    place: (outcomes, values) -> values on the scale of the model.
    design: (problem, trials of the study or None) -> size of the initial design.
    """

    fit: Fit
    place: Callable[[Array, Array], Array]
    design: Callable[[Problem, int | None], int]
    ordered: bool = False
    scalarised: bool = False


def _usual_design(problem: Problem, budget: int | None) -> int:
    return max(_FEWEST_RESULTS, ceil(2 * sqrt(freedoms(problem.space.branches))))


def _large_design(problem: Problem, budget: int | None) -> int:
    return 100 if budget is None else min(100, budget // 2)


RECIPES: Mapping[str, Recipe] = {
    "botorch.qLogNEHVI": Recipe(plain, standardised, _usual_design),
    "botorch.qLogNParEGO": Recipe(plain, standardised, _usual_design, scalarised=True),
    "botorch.AutoPEFT": Recipe(saas, normal_scores, _large_design, ordered=True),
}


@dataclass(frozen=True)
class BoTorchSampler:
    """A recipe by its name; see `ports.Sampler` for the contract.

    initial: trials of the offered branches before the model decides; None: as the recipe says.
    candidates: random candidates in the pool of a suggestion. budget: trials of the study.
    shared: whether what several branches have alike is one parameter of its model.
    """

    name: str
    initial: int | None = None
    candidates: int = 384
    budget: int | None = None
    shared: bool = False

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        recipe = RECIPES[self.name]
        own = [trial for trial in history if fits(problem, trial.point)]
        told = [trial for trial in own if _has_result(problem, trial)]
        design = recipe.design(problem, self.budget) if self.initial is None else self.initial
        if len(own) < design or len(told) < _FEWEST_RESULTS:
            return _random(problem, history, seed)
        rng = np.random.default_rng(seed)
        fresh = Fresh(problem, history)
        pool = self._pool(problem, told, fresh, rng)
        if not pool:
            return _random(problem, history, seed)
        encoding = PointEncoding.of(
            problem.space.branches, ordered=recipe.ordered, shared=self.shared
        )
        observed, reference = _observed(problem, history, told, encoding, recipe)
        with deterministic(seed):
            gain = expected_gain(
                observed,
                recipe.fit,
                reference=reference,
                seed=seed,
                scalarised=recipe.scalarised,
            )
            point, best = climb(
                pool,
                lambda points: gain(encoding.encode(points)),
                fresh.near,
                rng,
                starts=_STARTS,
                rounds=_ROUNDS,
            )
        return Suggestion(point, f"{self.name}, log gain {best:.1f}")

    def _pool(
        self, problem: Problem, told: Sequence[Trial], fresh: Fresh, rng: np.random.Generator
    ) -> list[Point]:
        draws = (problem.space.draw(rng) for _ in range(2 * self.candidates))
        drawn = list(islice(fresh.among(draws), self.candidates))
        front = non_dominated(_scores(problem, told))
        parents = [trial.point for trial, on in zip(told, front, strict=True) if on][-_PARENTS:]
        return [*drawn, *(point for parent in parents for point in fresh.near(parent, rng))]


def _random(problem: Problem, history: Sequence[Trial], seed: int) -> Suggestion:
    found = RandomSampler().suggest(problem, history, seed=seed)
    return replace(found, why=f"initial design ({found.why})")


def _has_result(problem: Problem, trial: Trial) -> bool:
    if trial.state not in (State.COMPLETED, State.PAUSED) or not trial.rungs:
        return False
    try:
        _scores(problem, [trial])
    except OutcomeError:
        return False
    return True


def _scores(problem: Problem, trials: Sequence[Trial]) -> Array:
    """(n, m) scores on the objectives' declared scales, every column maximised."""
    return np.array([[o.score(trial.metrics) for o in problem.objectives] for trial in trials])


def _observed(
    problem: Problem,
    history: Sequence[Trial],
    told: Sequence[Trial],
    encoding: PointEncoding,
    recipe: Recipe,
) -> tuple[Observed, Array]:
    """What the model learns from, and the reference point, both on the model's scale."""
    Y = _scores(problem, told)
    running = [t for t in history if t.state is State.RUNNING and fits(problem, t.point)]
    observed = Observed(
        X=encoding.encode([trial.point for trial in told]),
        Y=np.column_stack([recipe.place(y, y) for y in Y.T]),
        pending=encoding.encode([trial.point for trial in running]),
        C=_violations(problem, history, told),
    )
    reference = reference_of(observed)
    for j, objective in enumerate(problem.objectives):
        if objective.reference is not None:
            given = np.array([objective.transform(objective.reference)])
            reference[j] = recipe.place(Y[:, j], given)[0]
    return observed, reference


def _violations(problem: Problem, history: Sequence[Trial], told: Sequence[Trial]) -> Array:
    """(n, k) by how much the measured constraints are broken, in units of their spread."""
    baselines = baseline_metrics(problem.objectives, history)
    columns = []
    for constraint in problem.constraints:
        bound = constraint.bound(baselines)
        if constraint.known or bound is None:
            continue
        sign = 1.0 if constraint.operator in ("<", "<=") else -1.0
        values = [trial.metrics.get(constraint.metric, np.nan) for trial in told]
        broken = sign * (np.array(values) - bound)
        if np.isfinite(broken).sum() > 1:
            columns.append(broken / (float(np.nanstd(broken)) or 1.0))
    return np.column_stack(columns) if columns else np.zeros((len(told), 0))
