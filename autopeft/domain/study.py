"""A study's specification: everything that its space file says, checked and frozen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autopeft.domain.generation import Generation
from autopeft.domain.harness import Harness
from autopeft.domain.objective import Constraint, Metric, Objective
from autopeft.domain.own_code import OwnCode, OwnMetric
from autopeft.domain.space import Space
from autopeft.domain.tasks import TaskKind, task_kind
from autopeft.domain.trial import Stop, Trial


@dataclass(frozen=True)
class Budget:
    """Whichever is spent first ends the search; None: no limit. Baselines count."""

    trials: int | None = None
    gpu_hours: float | None = None  # device hours of all trials; CPU hours where there is no GPU
    wall_hours: float | None = None

    def __post_init__(self) -> None:
        if self.trials is None and self.gpu_hours is None and self.wall_hours is None:
            raise ValueError("a budget needs trials, gpu_hours or wall_hours, got none: add one")


@dataclass(frozen=True)
class Resources:
    """Of one trial. price_per_hour: of one device, in the user's currency; None: not given.

    processes_per_trial: that train one trial together, on a GPU each where it has GPUs.
    memory_gib_per_trial: of the machine, that Ray sets aside; 0: none. Ray counts it and does not
        watch over it.
    minutes_per_trial: that its segments may take together, loading and measuring included; what
        takes longer is ended and has failed. None: no limit, and what hangs hangs.
    """

    cpus_per_trial: float = 1
    gpus_per_trial: float = 0
    price_per_hour: float | None = None
    processes_per_trial: int = 1
    memory_gib_per_trial: float = 0
    minutes_per_trial: float | None = None

    @property
    def threads(self) -> int:
        """Of one process."""
        return max(1, int(self.cpus_per_trial // self.processes_per_trial))

    @property
    def devices(self) -> float:
        """GPUs of a trial; its CPUs where it has none."""
        return self.gpus_per_trial or self.cpus_per_trial


@dataclass(frozen=True)
class Rungs:
    """Where trials pause and are compared; the end of training is always the last rung.

    at: increasing epochs or steps of the full run. A final entry at the full run may be given.
    eta: the best 1/eta of a rung go on.
    """

    unit: Literal["epochs", "steps"]
    at: tuple[float, ...]
    eta: float = 3.0

    def stops(self, full: float | None) -> tuple[Stop, ...]:
        """The rungs as stops, the end of training last; full: length of the full run."""
        before = [at for at in self.at if full is None or at < full]
        if self.unit == "epochs":
            return (*(Stop(epochs=at) for at in before), Stop())
        return (*(Stop(steps=int(at)) for at in before), Stop())


@dataclass(frozen=True)
class StopRule:
    """Ends a search before its budget: whichever limit is undercut first; None: no limit.

    min_gain: the least that has to be left to gain by all further trials, as a share of the
        hypervolume reached.
    min_gain_per_gpu_hour: the least that the next trial has to gain for each device hour that it
        takes; CPU hours where there is no GPU.
    patience: so many proposals of the model, one after another, have to tell less.
    """

    min_gain: float | None = None
    min_gain_per_gpu_hour: float | None = None
    patience: int = 10

    def __post_init__(self) -> None:
        if self.min_gain is None and self.min_gain_per_gpu_hour is None:
            raise ValueError("needs min_gain or min_gain_per_gpu_hour, got neither")


@dataclass(frozen=True)
class SearchSettings:
    """sampler: `autopeft`, `random`, `optuna.TPESampler`, `optuna.NSGAIISampler`.

    seeds: at how many seeds a configuration may run, when the sampler asks for it; seed is the
        first, seed + 1 the next.
    warm_start: names of earlier studies in the same store.
    """

    sampler: str = "autopeft"
    options: Mapping[str, Any] = field(default_factory=dict)
    parallel: int = 1
    rungs: Rungs | None = None
    seed: int = 0
    seeds: int = 1
    stop: StopRule | None = None
    warm_start: tuple[str, ...] = ()


def asked(objectives: Iterable[Objective], constraints: Iterable[Constraint]) -> frozenset[str]:
    """The metrics that they read."""
    read = {objective.metric for objective in objectives}
    for constraint in constraints:
        read |= {constraint.metric, constraint.baseline_metric or constraint.metric}
    return frozenset(read)


@dataclass(frozen=True)
class Confirm:
    """How the front is confirmed.

    seeds: fresh ones, at which every member of the front and every baseline is trained again.
    trials: as many as the confirmation takes at most; None: no limit of its own.
    """

    seeds: int = 5
    trials: int | None = None

    def least(self, baselines: int) -> int:
        """The trials that every baseline and one member of the front take."""
        return self.seeds * (1 + baselines)


@dataclass(frozen=True)
class StudySpec:
    """A checked space file.

    model, data, training: as in the file (transformers' and datasets' own names).
    document: the file's plain content; what is stored, compared and parsed again on resume.
    folder: the directory that relative paths of the file start from.
    evaluator: the user's own training code; model and data may then be empty.
    metrics: what that code, the functions of own_metrics or the harness return, by name.
    generation: of the texts that some metrics compare.
    harness: what is asked of the lm-evaluation-harness, its metrics in `metrics`; None: nothing.
    confirm: what the search leaves of its budget to confirm its front; None: nothing.
    """

    name: str
    model: Mapping[str, Any]
    trainer: str
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    space: Space
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    budget: Budget
    resources: Resources
    search: SearchSettings
    document: Mapping[str, Any]
    folder: str = "."
    evaluator: OwnCode | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    own_metrics: Mapping[str, OwnMetric] = field(default_factory=dict)
    generation: Generation = field(default_factory=Generation)
    confirm: Confirm | None = None
    harness: Harness | None = None

    @property
    def task(self) -> TaskKind:
        return task_kind(self.model)

    @property
    def asked(self) -> frozenset[str]:
        """The metrics that objectives and constraints are about."""
        return asked(self.objectives, self.constraints)

    def stops_of(self, trial: Trial) -> tuple[Stop, ...]:
        """Where a trial pauses, its end last.

        A replicate pauses nowhere: a mean over those seeds alone that did well early would flatter.
        """
        if trial.seed != self.search.seed:
            return (Stop(),)
        return self.stops(trial.configuration.recipe)

    def stops(self, recipe: Mapping[str, Any]) -> tuple[Stop, ...]:
        """Where a trial of this recipe pauses, its end last."""
        if self.search.rungs is None:
            return (Stop(),)
        full: float | None
        if self.evaluator is not None and not recipe:
            return self.search.rungs.stops(None)  # only the user's code knows how long it trains
        steps = int(recipe.get("max_steps", -1))
        if self.search.rungs.unit == "steps":
            full = steps if steps > 0 else None
        else:  # steps overrule epochs, and how many of them are an epoch is not known here
            full = None if steps > 0 else float(recipe.get("num_train_epochs", 3.0))
        return self.search.rungs.stops(full)
