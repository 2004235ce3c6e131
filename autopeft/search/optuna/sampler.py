"""Optuna's samplers behind our port.

Every call replays the history into an in-memory study and asks for one trial, so the sampler stays
a pure function. Scores are maximised. Failed trials are replayed as FAIL, which Optuna ignores;
running ones as RUNNING, which TPE's constant liar stays away from.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from autopeft.domain.errors import AutopeftError, OutcomeError
from autopeft.domain.ports import Problem, Suggestion
from autopeft.domain.results.front import baseline_metrics
from autopeft.domain.space import Point
from autopeft.domain.trial import State, Trial
from autopeft.search.optuna.parameters import Distributions, Parameters, Params
from autopeft.search.points.drawing import evaluated, fits
from autopeft.search.random_sampler import RandomSampler

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "TPESampler": {"multivariate": True, "group": True, "constant_liar": True},
    # Optuna's own 50 makes a study of 60 trials a random search.
    "NSGAIISampler": {"population_size": 16},
}

# They model or breed only what all trials have: of a space with branches next to nothing.
_OF_ALL_TRIALS = {"CmaEsSampler", "GPSampler", "NSGAIISampler", "NSGAIIISampler"}

_ASKS = 20  # before a random draw takes over
_STATES = {
    State.COMPLETED: optuna.trial.TrialState.COMPLETE,
    State.PAUSED: optuna.trial.TrialState.COMPLETE,
    State.RUNNING: optuna.trial.TrialState.RUNNING,
    State.FAILED: optuna.trial.TrialState.FAIL,
}


@dataclass(frozen=True)
class OptunaSampler:
    """`name` of `optuna.samplers` with these options; see `ports.Sampler` for the contract.

    shared: what several branches have alike is one parameter (see `parameters`), and a
        sampler that takes only what all trials have finds the rest filled in at random. None: for
        such samplers alone. TPE finds more on tables of 420 runs with it, and much less where there
        is a bit for each of 24 layers (benchmarks/README.md).

    Raises:
        AutopeftError: Optuna refuses an option.
    """

    name: str
    options: Mapping[str, Any]
    shared: bool | None = None

    def __post_init__(self) -> None:
        try:
            self._make(0)
        except (TypeError, ValueError) as error:
            raise AutopeftError(
                f"optuna.{self.name} does not take these options: {error}: see Optuna's "
                f"documentation of {self.name}"
            ) from error

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        try:
            point = self._proposed(problem, history, seed)
        except AutopeftError:
            raise
        except Exception as error:
            # Whatever it is, it is of these options, this study or a package that is missing.
            raise AutopeftError(
                f"optuna.{self.name} cannot propose a trial of this study: {error}: take another "
                "sampler, or other options"
            ) from error
        if point is not None:
            return Suggestion(point, f"optuna {self.name}")
        found = RandomSampler().suggest(problem, history, seed=seed)
        return Suggestion(found.point, f"{found.why} (optuna {self.name} found nothing new)")

    def _proposed(self, problem: Problem, history: Sequence[Trial], seed: int) -> Point | None:
        """A new point; None where it offers none."""
        taken = evaluated(history)
        # A sequence begins anew in every replay, with the points that the trials have.
        asks = _ASKS + (len(history) if self.name == "QMCSampler" else 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parameters = Parameters(problem.space, shared=self._shares)
            study = self._replayed(problem, history, seed, parameters)
            for _ in range(asks):
                point = parameters.asked(study)
                configuration = problem.admissible(point)
                if configuration is not None and configuration.key not in taken:
                    return point
        return None

    @property
    def _shares(self) -> bool:
        return self.name in _OF_ALL_TRIALS if self.shared is None else self.shared

    def _make(self, seed: int) -> optuna.samplers.BaseSampler:
        options = {**DEFAULTS.get(self.name, {}), **self.options}
        if not options.get("multivariate", True) and "group" not in self.options:
            options.pop("group", None)  # Optuna has groups of multivariate parameters alone
        sampler_class = getattr(optuna.samplers, self.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sampler_class(seed=seed % 2**32, **options)

    def _replayed(
        self, problem: Problem, history: Sequence[Trial], seed: int, parameters: Parameters
    ) -> optuna.study.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = self._make(seed)
        study = optuna.create_study(
            directions=["maximize"] * len(problem.objectives), sampler=sampler
        )
        population = getattr(sampler, "population_size", None)
        baselines = baseline_metrics(problem.objectives, history)
        filled = self._shares and self.name in _OF_ALL_TRIALS
        complete = 0
        for trial in history:
            if not fits(problem, trial.point):
                continue
            attributes = {}
            if population is not None:
                key = f"{type(sampler).__name__}:generation"
                attributes[key] = complete // population
            params, distributions = parameters.of(trial.point)
            if filled:
                parameters.fill(params, distributions, trial.number)
            replayed = _frozen_trial(problem, trial, attributes, baselines, params, distributions)
            complete += replayed.state is optuna.trial.TrialState.COMPLETE
            study.add_trial(replayed)
        return study


def known_names() -> tuple[str, ...]:
    """The samplers of the installed Optuna, with our prefix."""
    names = [name for name in optuna.samplers.__all__ if name.endswith("Sampler")]
    left_out = {"BaseSampler", "BaseGASampler", "GridSampler", "PartialFixedSampler"}
    return tuple(f"optuna.{name}" for name in sorted(names) if name not in left_out)


def _frozen_trial(
    problem: Problem,
    trial: Trial,
    attributes: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, float]],
    params: Params,
    distributions: Distributions,
) -> optuna.trial.FrozenTrial:
    state, values = _STATES[trial.state], None
    if state is optuna.trial.TrialState.COMPLETE:
        try:
            values = [objective.score(trial.metrics) for objective in problem.objectives]
        except OutcomeError:
            state = optuna.trial.TrialState.FAIL
    violations = {}
    for constraint in problem.constraints:
        bound, value = constraint.bound(baselines), trial.metrics.get(constraint.metric)
        if values is not None and bound is not None and value is not None:
            sign = 1.0 if constraint.operator in ("<", "<=") else -1.0
            violations[constraint.text] = sign * (value - bound)
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=params,
        distributions=distributions,
        system_attrs=dict(attributes),
        constraints=violations or None,
    )
