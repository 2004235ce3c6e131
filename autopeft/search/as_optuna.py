"""The engine as a sampler of Optuna, for any study.

    sampler = AutoPEFTSampler(seed=0)
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])

An Optuna study knows no adapters and no exact costs, so what the `autopeft` sampler does with them
stays out. What is left: a Gaussian process per objective with dimension-scaled priors, log noisy
EI or EHVI, and climbing over neighbours, on a space whose conditions are learned (`study_space`).
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from autopeft.domain.pareto import Array, non_dominated
from autopeft.domain.space import Point
from autopeft.search.plain_encoding import PointEncoding
from autopeft.search.points import dimensions, from_units
from autopeft.search.pool import climb
from autopeft.search.study_space import StudySpace, Untried, draw, spread

_FEWEST_RESULTS = 2  # below it a model says nothing
_PARENTS = 12  # members of the front whose neighbours join the pool
_STARTS = 4
_ROUNDS = 10
_ALONE = Lock()  # torch's seed and number of threads belong to the whole process


class AutoPEFTSampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """Model-based search for one or several objectives, mixed and conditional spaces.

    Constraints are those of `trial.set_constraint`, feasible at most 0. Failed and pruned trials
    are left out; running ones are stayed away from. A suggestion follows from the finished trials,
    the seed and the number of the trial, so nothing needs to be reseeded in parallel threads.

    Args:
        seed: of everything that is drawn; None: another one for every sampler.
        n_startup_trials: quasi-random trials before the model decides.
    """

    def __init__(self, *, seed: int | None = None, n_startup_trials: int = 10) -> None:
        if n_startup_trials < 0:
            raise ValueError(
                f"n_startup_trials takes a number from 0, got {n_startup_trials}: raise it"
            )
        self._seed = np.random.SeedSequence(seed).entropy
        self._startup = n_startup_trials

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every parameter that a completed trial had, as the last of them had it."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        space = {name: d for past in done for name, d in past.distributions.items()}
        return dict(sorted(space.items()))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        space = StudySpace.of(search_space, [past.params for past in done])
        if len(done) < max(self._startup, _FEWEST_RESULTS):
            return space.params(self._spread(space, trial.number))
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = [space.point(t.params) for t in running if t.number != trial.number and t.params]
        return space.params(self._by_model(study, space, done, others, trial.number))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return draw(param_distribution, self._rng(trial.number, *param_name.encode()))

    def _rng(self, *path: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=path))

    def _spread(self, space: StudySpace, number: int) -> Point:
        """The trial's place in one Sobol sequence over the space."""
        from scipy.stats import qmc

        width = dimensions(space.branch)
        sequence = qmc.Sobol(width, rng=self._rng())
        u = sequence.fast_forward(number).random(1)[0]
        return space.trimmed(from_units(space.branch, u))

    def _by_model(
        self,
        study: optuna.Study,
        space: StudySpace,
        done: Sequence[FrozenTrial],
        running: Sequence[Point],
        number: int,
    ) -> Point:
        from autopeft.search.botorch_acquisition import (
            Observed,
            expected_gain,
            reference_of,
            standardised,
        )
        from autopeft.search.botorch_models import plain
        from autopeft.search.gaussian_process import deterministic

        rng = self._rng(number)
        told = [space.point(past.params) for past in done]
        encoding = PointEncoding.of([space.branch])
        Y = _scores(study, done)
        observed = Observed(
            X=encoding.encode(told),
            Y=np.column_stack([standardised(y, y) for y in Y.T]),
            pending=encoding.encode(running),
            C=_violations(done),
        )
        front = [p for p, on in zip(told, non_dominated(Y), strict=True) if on][-_PARENTS:]
        untried = Untried(space, [*told, *running])
        pool = [
            *untried.among(spread(space, rng)),
            *(q for p in front for q in untried.near(p, rng)),
        ]
        if not pool:  # everything was tried: again, then
            return self._spread(space, number)
        seed = int(rng.integers(2**31))
        with _ALONE, deterministic(seed):
            gain = expected_gain(observed, plain, reference=reference_of(observed), seed=seed)
            point, _ = climb(
                pool,
                lambda points: gain(encoding.encode(points)),
                untried.near,
                rng,
                starts=_STARTS,
                rounds=_ROUNDS,
            )
        return point


def _scores(study: optuna.Study, trials: Sequence[FrozenTrial]) -> Array:
    """(n, m) values, every column maximised."""
    signs = [1.0 if d is optuna.study.StudyDirection.MAXIMIZE else -1.0 for d in study.directions]
    Y = np.array([trial.values for trial in trials], dtype=np.float64) * signs
    return np.column_stack([_clipped(y) for y in Y.T])


def _violations(trials: Sequence[FrozenTrial]) -> Array:
    """(n, k) in units of their spread, feasible at most 0; NaN where a trial has none."""
    names: Mapping[str, None] = dict.fromkeys(name for t in trials for name in t.constraints)
    columns = []
    for name in names:
        values = _clipped(np.array([trial.constraints.get(name, np.nan) for trial in trials]))
        columns.append(values / (float(np.nanstd(values)) or 1.0))
    return np.column_stack(columns) if columns else np.zeros((len(trials), 0))


def _clipped(values: Array) -> Array:
    """(n,) an infinite value counts as the largest or smallest finite one; NaN stays."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return np.asarray(np.clip(values, low, high))
