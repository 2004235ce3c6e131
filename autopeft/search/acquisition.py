"""How much a candidate is expected to gain: log noisy expected hypervolume improvement.

Daulton 2021 (arXiv 2105.08195) in the log form of Ament 2023 (arXiv 2310.20708), by BoTorch; with
one objective log noisy expected improvement. Known objectives are exact inside it. The log
probability that a candidate can be trained is added. All scores are on `scale.Scale`, so the
reference point is 0.

X: (n, d + 1 + m + c): encoding, fidelity, exact scores (see `gaussian_process`), and the logarithms
of c estimates of cost (see `cost_models`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
from botorch.acquisition.objective import LinearMCObjective
from botorch.models import SingleTaskGP
from botorch.models.model import Model
from botorch.sampling.index_sampler import IndexSampler
from botorch.sampling.list_sampler import ListSampler
from botorch.sampling.normal import IIDNormalSampler

from autopeft.domain.architecture import Configuration
from autopeft.domain.front import feasible
from autopeft.domain.pareto import hypervolume
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Trial
from autopeft.search.cost_models import Normalised, Recalibrated
from autopeft.search.costs import estimated, log_estimates
from autopeft.search.encoding import Array, Encoding
from autopeft.search.gaussian_process import (
    exact,
    fitted,
    log_probability_above,
    tensor,
    together,
)
from autopeft.search.outcomes import (
    Limit,
    Observations,
    Score,
    compared,
    of_constraints,
    of_cost,
    of_failures,
    of_objective,
    share_of,
    softened,
)
from autopeft.search.sampled_volume import added, volumes
from autopeft.search.scale import Scale

# BoTorch would compile a C++ kernel on first use: seconds at best, another result on machines that
# have no compiler, and after a kill in the middle a lock that every later search waits for.
logei._load_attempted = True

_SAMPLES = 64  # samples of the posterior; half of it from three objectives on
_DRAWS_OF_ONE = 512
_DRAWS_OF_MANY = 16
_CHUNK = 256


@dataclass(frozen=True)
class Inputs:
    """Configurations as rows of X."""

    problem: Problem
    encoding: Encoding
    scale: Scale

    def rows(self, configurations: Sequence[Configuration], fidelity: Array | None = None) -> Array:
        """(n, d + 1 + m + c); fidelity: (n,), all at full training without it."""
        count = len(configurations)
        share = np.ones(count) if fidelity is None else fidelity
        encoded = self.encoding.encode(configurations)
        known = self.scale.known(self.problem, configurations)
        costs = [log_estimates(self.problem, each, configurations) for each in self.costs]
        return np.column_stack([encoded, share, known, *costs])

    @cached_property
    def costs(self) -> tuple[str, ...]:
        """The measured costs that are estimated."""
        problem = self.problem
        named = [objective.metric for objective in problem.objectives]
        named += [constraint.metric for constraint in problem.constraints]
        return tuple(metric for metric in dict.fromkeys(named) if estimated(problem, metric))

    def column(self, metric: str) -> int:
        """Where a cost's estimate is."""
        return self.features + len(self.problem.objectives) + self.costs.index(metric)

    @property
    def features(self) -> int:
        return len(self.encoding.columns) + 1


def make_score(
    problem: Problem, history: Sequence[Trial], candidates: Sequence[Configuration], seed: int
) -> Score:
    """The acquisition of a history; run it inside `gaussian_process.deterministic`.

    candidates: examples of what will be scored; encoding and scale are fitted to them.
    """
    encoding = Encoding.fit(problem, [*candidates, *(trial.configuration for trial in history)])
    inputs = Inputs(problem, encoding, Scale.of(problem, history, candidates))
    gain, grown = _gain(inputs, history, seed)
    trainable = _trainable(inputs, history)

    def score(configurations: Sequence[Configuration]) -> Array:
        X = inputs.rows(configurations)
        return np.asarray(gain(X) + trainable(X))

    def growth(configurations: Sequence[Configuration]) -> float:
        X = inputs.rows(configurations)
        return share_of(*grown(X, trainable(X)))

    return Score(score, growth)


Grown = Callable[[Array, Array], tuple[float, float]]
"""X, (n,) log odds to be trained -> what they gain together, and the hypervolume before."""


def _gain(
    inputs: Inputs, history: Sequence[Trial], seed: int
) -> tuple[Callable[[Array], Array], Grown]:
    problem = inputs.problem
    told, running = compared(problem, history)
    done, pending = ([trial.configuration for trial in trials] for trials in (told, running))
    if all(objective.known for objective in problem.objectives):
        return _exact_gain(inputs, [*done, *pending])
    function = _expected_gain(inputs, history, done, pending, seed)
    held = feasible(problem.constraints, problem.objectives, history, told)
    against = inputs.rows([trial.configuration for trial in (*held, *running)])

    def gain(X: Array) -> Array:
        with torch.no_grad():
            parts = [function(part) for part in tensor(X)[:, None, :].split(_CHUNK)]
            return np.asarray(torch.cat(parts).numpy())

    def grown(X: Array, odds: Array) -> tuple[float, float]:
        return _grown(function, against, X, odds, inputs, history, seed)

    return gain, grown


def _grown(
    function: Any,
    against: Array,
    X: Array,
    odds: Array,
    inputs: Inputs,
    history: Sequence[Trial],
    seed: int,
) -> tuple[float, float]:
    """As `Grown`, by joint draws of the posterior."""
    objectives, before = len(inputs.problem.objectives), len(against)
    count = _DRAWS_OF_ONE if len(X) == 1 else _DRAWS_OF_MANY
    models = list(function.model.models)
    with torch.no_grad():
        posterior = function.model.posterior(tensor(np.vstack([against, X])))
        drawn = np.asarray(_sampler(models, count, seed)(posterior).numpy())
    kept = np.log(np.random.default_rng([seed, len(X)]).random((count, len(X)))) < odds
    for i, limit in enumerate(of_constraints(inputs.problem, history)):
        kept &= limit.sign * (drawn[:, before:, objectives + i] - limit.bound) <= 0
    Y, rng = drawn[..., :objectives], np.random.default_rng([seed, before])
    if len(X) == 1:
        reached, _ = volumes(Y[:_DRAWS_OF_MANY, :before], Y[:_DRAWS_OF_MANY, before:], rng)
        gained = added(Y[:, :before], Y[:, before], rng) * kept[:, 0]
        return float(gained.mean()), float(reached.mean())
    more = np.where(kept[..., None], Y[:, before:], -1.0)
    reached, after = volumes(Y[:, :before], more, rng)
    return float((after - reached).mean()), float(reached.mean())


def _expected_gain(
    inputs: Inputs,
    history: Sequence[Trial],
    done: Sequence[Configuration],
    pending: Sequence[Configuration],
    seed: int,
) -> Any:
    models = [_of_objective(inputs, history, j) for j in range(len(inputs.problem.objectives))]
    limits = of_constraints(inputs.problem, history)
    count = len(models)
    models += [_of_limit(inputs, history, limit) for limit in limits]
    constraints = [
        _constraint(count + i, limit.sign, limit.bound) for i, limit in enumerate(limits)
    ]
    against = done or [trial.configuration for trial in history if trial.rungs]
    shared: dict[str, Any] = {
        "model": together(models),
        "X_baseline": tensor(inputs.rows(against)),
        "X_pending": tensor(inputs.rows(pending)) if pending else None,
        "sampler": _sampler(models, _SAMPLES if count < 3 else _SAMPLES // 2, seed),
        "constraints": constraints or None,
        "prune_baseline": False,
        "cache_root": False,
    }
    if count == 1:
        weights = torch.zeros(len(models), dtype=torch.float64)
        weights[0] = 1.0
        return qLogNoisyExpectedImprovement(objective=LinearMCObjective(weights), **shared)
    return qLogNoisyExpectedHypervolumeImprovement(
        ref_point=[0.0] * count,
        objective=IdentityMCMultiOutputObjective(
            outcomes=list(range(count)), num_outcomes=len(models)
        ),
        **shared,
    )


def _of_objective(inputs: Inputs, history: Sequence[Trial], j: int) -> Model:
    objective = inputs.problem.objectives[j]
    if objective.known:
        return exact(inputs.features + j)
    if estimated(inputs.problem, objective.metric):
        seen = of_cost(inputs.problem, history, objective.metric)
        if len(seen.trials) > 1:
            about = Normalised(
                objective, float(inputs.scale.reference[j]), float(inputs.scale.span[j])
            )
            process = _model(inputs, history, seen)
            return Recalibrated(process, inputs.column(objective.metric), about)
    seen = of_objective(history, inputs.scale, j)
    return _model(inputs, history, replace(seen, values=softened(seen.values)))


def _of_limit(inputs: Inputs, history: Sequence[Trial], limit: Limit) -> Model:
    model = _model(inputs, history, limit.observations)
    if limit.estimated is None:
        return model
    return Recalibrated(model, inputs.column(limit.estimated))


def _model(inputs: Inputs, history: Sequence[Trial], seen: Observations) -> Model:
    configurations = [history[position].configuration for position in seen.trials]
    X = inputs.rows(configurations, seen.fidelity)
    return fitted(X, seen.values, seen.noise, features=inputs.features)


def _sampler(models: Sequence[Model], samples: int, seed: int) -> ListSampler:
    """Independent draws of every model.

    Not Sobol points: two scramblings of one sequence are correlated by 0.4 to 0.9 in a coordinate,
    so an objective would be drawn high where the other one is.
    """
    shape = torch.Size([samples])
    parts = []
    for i, model in enumerate(models):
        drawn = isinstance(model, SingleTaskGP | Recalibrated)
        kind = IIDNormalSampler if drawn else IndexSampler
        parts.append(kind(shape, seed=(seed + i) % 2**31))
    return ListSampler(*parts)


def _constraint(column: int, sign: float, bound: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda Y: sign * (Y[..., column] - bound)


def _exact_gain(
    inputs: Inputs, compared: Sequence[Configuration]
) -> tuple[Callable[[Array], Array], Grown]:
    """Log hypervolume improvement where nothing is random."""
    Y = inputs.rows(compared)[:, inputs.features :]
    corner = np.zeros(Y.shape[1])
    before = hypervolume(Y, corner)

    def gain(X: Array) -> Array:
        after = [hypervolume(np.vstack([Y, row]), corner) for row in X[:, inputs.features :]]
        return np.log(np.maximum(np.array(after) - before, 1e-12))

    def grown(X: Array, odds: Array) -> tuple[float, float]:
        there = X[odds > np.log(0.5), inputs.features :]
        return hypervolume(np.vstack([Y, there]), corner) - before, before

    return gain, grown


def _trainable(inputs: Inputs, history: Sequence[Trial]) -> Callable[[Array], Array]:
    """Log probability that a candidate does not fail: a GP on 1 (trained) and 0 (failed)."""
    lesson = of_failures(history)
    if lesson is None:
        return lambda X: np.zeros(len(X))
    positions, labels = lesson
    X = inputs.rows([history[position].configuration for position in positions])
    model = fitted(X, labels, None, features=inputs.features)
    return lambda X: log_probability_above(model, X, 0.5)
