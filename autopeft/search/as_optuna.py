"""The engine as a sampler of Optuna, for any study.

    sampler = AutoPEFTSampler(seed=0)
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])

An Optuna study knows no adapters and no exact costs, so what the `autopeft` sampler does with them
stays out. What is left: a Gaussian process per objective with dimension-scaled priors, noisy EI or
EHVI in closed form, climbing over neighbours and then along the gradient of what is continuous, on
a space whose conditions are learned (`study_space`).
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from autopeft.domain.pareto import Array, non_dominated
from autopeft.domain.space import Point
from autopeft.search.candidates.ascent import ascended
from autopeft.search.candidates.pool import climb
from autopeft.search.optuna.study_space import StudySpace, Untried, draw, spread
from autopeft.search.points.drawing import dimensions, from_units
from autopeft.search.points.plain_encoding import PointEncoding

if TYPE_CHECKING:  # torch is loaded when there is something to fit
    from autopeft.search.botorch.acquisition import Observed

_FEWEST_RESULTS = 2  # below it a model says nothing
_PARENTS = 12  # members of the front whose neighbours join the pool
_STARTS = 4
_ROUNDS = 4
_ROUNDING = 1e-6  # by how much a told value may differ from a known one, of its size
_FARTHEST = 10.0  # below the median, in units of how far the best is above it
_INFINITE = 1e100
_ALONE = Lock()  # torch's seed and number of threads belong to the whole process


Known = Callable[[dict[str, Any]], float]
"""Parameters of a trial -> the exact value of an objective."""


class AutoPEFTSampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """Model-based search for one or several objectives, mixed and conditional spaces.

    Constraints are those of `trial.set_constraint`, feasible at most 0. Failed and pruned trials
    are left out; running ones are stayed away from. A suggestion follows from the finished trials,
    the seed and the number of the trial, so nothing needs to be reseeded in parallel threads.

    Args:
        seed: of everything that is drawn; None: another one for every sampler.
        n_startup_trials: quasi-random trials before the model decides.
        known: {position of an objective: its value by the parameters of a trial}, for those that
            are exact before a trial runs. Only the others, one at least, are then modelled. It has
            to agree with what trials are told.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        n_startup_trials: int = 10,
        known: Mapping[int, Known] | None = None,
    ) -> None:
        if n_startup_trials < 0:
            raise ValueError(
                f"n_startup_trials takes a number from 0, got {n_startup_trials}: raise it"
            )
        self._seed = np.random.SeedSequence(seed).entropy
        self._startup = n_startup_trials
        self._known = dict(known or {})

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
        _refuse_unfit(study, done, self._known)
        space = StudySpace.of(search_space, [past.params for past in done])
        if len(done) < max(self._startup, _FEWEST_RESULTS):
            return space.params(self._spread(space, trial.number))
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        others = [space.point(t.params) for t in running if t.number != trial.number and t.params]
        if self._known:  # nothing is known of one that has not asked for all its parameters yet
            others = [point for point in others if space.whole(point)]
        states = (TrialState.FAIL, TrialState.PRUNED)
        lost = [space.point(t.params) for t in study.get_trials(deepcopy=False, states=states)]
        return space.params(self._by_model(study, space, done, others, lost, trial.number))

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
        lost: Sequence[Point],
        number: int,
    ) -> Point:
        """lost: of trials that failed or were pruned; nothing is learned from them."""
        from autopeft.search.botorch.acquisition import Observed, standardised
        from autopeft.search.botorch.torch_state import deterministic

        rng = self._rng(number)
        told = [space.point(past.params) for past in done]
        encoding = PointEncoding.of([space.branch])
        Y = _scores(study, done, exact=self._known)
        observed = Observed(
            X=encoding.encode(told),
            Y=np.column_stack([standardised(y, y) for y in Y.T]),
            pending=encoding.encode(running),
            C=_violations(done),
        )
        front = [p for p, on in zip(told, non_dominated(Y), strict=True) if on][-_PARENTS:]
        untried = Untried(space, [*told, *running, *lost])
        pool = [
            *untried.among(spread(space, rng)),
            *(q for p in front for q in untried.near(p, rng)),
        ]
        if not pool:  # everything was tried: again, then
            return self._spread(space, number)
        seed = int(rng.integers(2**31))
        with _ALONE, deterministic(seed):
            gain = self._gain(study, space, Y, observed, running, seed)

            def score(points: Sequence[Point]) -> Array:
                return gain(points, encoding.encode(points))

            point, _ = climb(pool, score, untried.near, rng, starts=_STARTS, rounds=_ROUNDS)
            higher = ascended(space.branch, point, score)
        return next(untried.among([higher]), point)

    def _gain(
        self,
        study: optuna.Study,
        space: StudySpace,
        Y: Array,
        observed: "Observed",
        running: Sequence[Point],
        seed: int,
    ) -> Callable[[Sequence[Point], Array], Array]:
        """N points and their rows -> (N,) log expected gain. Y: (n, m) scores, not standardised."""
        from autopeft.search.botorch.acquisition import standardised
        from autopeft.search.botorch.models import plain
        from autopeft.search.botorch.plain_gain import expected_gain

        signs = _signs(study)

        def exact(points: Sequence[Point]) -> Array:
            params = [space.params(space.trimmed(point)) for point in points]
            told = np.zeros((len(points), len(self._known)))
            for column, (j, value) in zip(told.T, self._known.items(), strict=True):
                column[:] = [signs[j] * value(each) for each in params]
                column[:] = standardised(Y[:, j], _within(column, Y[:, j]))
            return told

        expected = expected_gain(
            observed,
            plain,
            known=list(self._known),
            running=exact(running),
            reference=_reference(observed),
            seed=seed,
        )
        return lambda points, X: expected(X, exact(points))


def _refuse_unfit(
    study: optuna.Study, done: Sequence[FrozenTrial], known: Mapping[int, Known]
) -> None:
    """Known objectives that the study does not have, or that trials contradict."""
    if not known:
        return
    count = len(study.directions)
    if len(known) >= count or not set(known) <= set(range(count)):
        raise ValueError(
            f"known takes positions of objectives from 0 to {count - 1}, not all of them, got "
            f"{sorted(known)}: leave out what is measured"
        )
    for trial in done:
        for index, value in known.items():
            here, told = value(dict(trial.params)), trial.values[index]
            if here != told and not abs(here - told) <= _ROUNDING * max(abs(here), abs(told)):
                raise ValueError(
                    f"known[{index}] has to be the value that a trial is told, got {here} where "
                    f"trial {trial.number} was told {told}: correct it or leave it out"
                )


def _reference(observed: "Observed") -> Array:
    """(m,) where gains are counted from: just below the front and below the worst result in turn.

    From below a narrow front, as BoTorch infers it, nothing outside would ever gain: on ZDT1 the
    search ended at .94 of the hypervolume. From below the worst, as Optuna's GPSampler counts, what
    widens a front outweighs what fills it: on DTLZ2 .73 in the place of .91 (benchmarks, BoTorch's
    test functions).
    """
    from autopeft.search.botorch.acquisition import reference_of, worst_of

    between = observed.Y.shape[1] > 1 and len(observed.Y) % 2 == 1
    return reference_of(observed) if between else worst_of(observed)


def _signs(study: optuna.Study) -> list[float]:
    """1 where an objective is maximised, else -1."""
    return [1.0 if d is optuna.study.StudyDirection.MAXIMIZE else -1.0 for d in study.directions]


def _scores(
    study: optuna.Study, trials: Sequence[FrozenTrial], exact: Mapping[int, Known]
) -> Array:
    """(n, m) values, every column maximised; outliers that are not exact are raised."""
    Y = np.array([trial.values for trial in trials], dtype=np.float64) * _signs(study)
    columns = [_clipped(y) for y in Y.T]
    return np.column_stack([y if j in exact else _raised(y) for j, y in enumerate(columns)])


def _raised(y: Array) -> Array:
    """(n,) maximised: how bad a diverged run is says nothing, and would flatten all others."""
    median, best = float(np.median(y)), float(y.max())
    return np.maximum(y, median - _FARTHEST * (best - median)) if best > median else y


def _violations(trials: Sequence[FrozenTrial]) -> Array:
    """(n, k) in units of their spread, feasible at most 0; NaN where a trial has none."""
    names: Mapping[str, None] = dict.fromkeys(name for t in trials for name in t.constraints)
    columns = []
    for name in names:
        values = _clipped(np.array([trial.constraints.get(name, np.nan) for trial in trials]))
        columns.append(values / (float(np.nanstd(values)) or 1.0))
    return np.column_stack(columns) if columns else np.zeros((len(trials), 0))


def _within(values: Array, seen: Array) -> Array:
    """(n,) what is infinite, or as good as that, as the largest or smallest that was seen."""
    low, high = seen.min(), seen.max()
    return np.where(np.abs(values) < _INFINITE, values, np.where(values > 0, high, low))


def _clipped(values: Array) -> Array:
    """(n,) an infinite value counts as the largest or smallest finite one; NaN stays.

    So does what is as good as infinite: its square would be.
    """
    finite = values[np.abs(values) < _INFINITE]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return np.asarray(np.clip(values, low, high))
