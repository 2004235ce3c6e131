"""The ports: what the parts of autopeft promise each other.

Implementations live in sibling folders that never import each other; `build.py` joins them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.model import ModelShape
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.space import Point, Space
from autopeft.domain.trial import Failure, Result, Segment, Trial


@dataclass(frozen=True)
class Problem:
    """What a sampler may know: the space, how to realise a point, and what is exact.

    configure: point -> configuration (canonical); raises ValueError where the model cannot take it.
    known: architecture -> exact metrics (`adapter_params`, ...), in milliseconds.
    estimates: configuration -> estimates of measured costs (`estimates.ESTIMATED`), positive and
        right up to a factor, with the `steps` and `epochs` of the full run; None: there are none.
    """

    space: Space
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    shape: ModelShape
    configure: Callable[[Point], Configuration]
    known: Callable[[Architecture], Mapping[str, float]]
    estimates: Callable[[Configuration], Mapping[str, float]] | None = None

    def admissible(self, point: Point) -> Configuration | None:
        """The configuration of a point; None where the model or a known constraint refuses it.

        So is one without any module: the frozen backbone is no candidate. A branch that names no
        modules is another matter: its parameters are for the user's own code.
        """
        try:
            configuration = self.configure(point)
            metrics = self.known(configuration.architecture)
        except ValueError:
            return None
        offers = "modules" in self.space[configuration.branch].tree
        if configuration.architecture.frozen and (offers or not configuration.parameters):
            return None
        held = all(c.holds(metrics) for c in self.constraints if c.known)
        return configuration if held else None


@dataclass(frozen=True)
class Suggestion:
    """A point to try next.

    why: how it was found, in a few words (`initial design (2 of 4)`, `model-based`); its branch and
        its gain are told beside it.
    gain: by how much its trial is expected to enlarge the hypervolume that the search has reached,
        as a share of it: 0.01 is 1 %, and 1 is twice as much or more. Chances to fail and to break
        a constraint are in it, and running trials count as ended. None where no model speaks.
    left: the same of all candidates that were looked at together: what the model takes to be still
        there for further trials, this one included.
    again: number of a trial of the history whose configuration is to run at another seed; None:
        a new configuration. The point is then that trial's.
    """

    point: Point
    why: str
    gain: float | None = None
    left: float | None = None
    again: int | None = None


class Sampler(Protocol):
    """Chooses the next point.

    Purity: the same problem, history and seed give the same suggestion; nothing is remembered
    between calls (caches of fitted models keyed by the history are allowed).
    History: all trials of the study, running and failed ones included, baselines too; a trial's
    result is that of its furthest rung. Points of running trials are pending: stay away from them.
    Duplicates: a suggestion whose configuration is in the history already is refused by the
    session, which asks again with another seed and, after some tries, draws at random. So is
    `again` where the configuration has had as many seeds as the study allows.
    Threads: called by one thread at a time, not necessarily the same one.
    """

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion: ...


@runtime_checkable
class Forecaster(Protocol):
    """What a sampler may be besides: one that says what paused trials promise.

    Purity and threads: as of `Sampler`.
    """

    def forecasts(self, problem: Problem) -> bool:
        """Whether this problem can be forecast, at once; else the results at a rung decide."""

    def promises(
        self, problem: Problem, history: Sequence[Trial], paused: Sequence[Trial]
    ) -> Sequence[float]:
        """The gain that each trial's end is expected to bring to the front, on an increasing scale.

        paused: trials of the history that stand at one rung, two at least.
        """


Report = Callable[[int, Mapping[str, float]], None]


class Evaluator(Protocol):
    """Runs segments on one worker. Built once per worker process, so it may keep the base model.

    Returns `Failure` for what is expected to go wrong; raises nothing but KeyboardInterrupt, and
    `preemption.Preempted` where the machine goes away and a checkpoint was left behind.
    A segment with `resume` starts from the checkpoint that the trial's previous segment wrote
    and gives the same bits as a run that was never paused.
    A segment with `test` is measured on the test split too, where the data has one.
    report: called with (step, metrics) while training, for learning curves; cheap, may be dropped.
    """

    def run(self, segment: Segment, report: Report) -> Result | Failure: ...


@dataclass(frozen=True)
class Event:
    """Something that MLflow shows later.

    kind: `study_started`, `trial_started`, `curve`, `rung`, `trial_ended`, `front`, `study_ended`.
    time: seconds since the epoch.
    """

    kind: str
    trial: int | None
    time: float
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRecord:
    """What the store keeps of a study beside its trials.

    document: the plain content of the space file. state: `running`, `paused`, `finished`.
    owner: whoever made it; None: a study of an older autopeft, or nobody's name was told.
    """

    name: str
    document: Mapping[str, Any]
    folder: str
    created: float
    state: str
    seconds: float = 0.0  # wall time spent by earlier drivers
    owner: str | None = None


class Store(Protocol):
    """The only memory of a study.

    Atomicity: `commit` writes trials and events in one transaction, or raises and writes nothing.
    Durability: when `commit` returns, the result survives kill -9 of the driver.
    Once: a rung of a trial is stored once; committing another result for it raises StudyError.
    Threads: all methods may be called from any thread. One driver writes at a time.
    """

    def create(self, record: StudyRecord) -> None:
        """Raises StudyError when the name exists."""

    def update(self, record: StudyRecord) -> None: ...

    def delete(self, name: str) -> None:
        """Forget a study and all that is kept of it, at once or not at all."""

    def study(self, name: str) -> StudyRecord:
        """Raises StudyError that names the studies that exist."""

    def studies(self) -> Sequence[StudyRecord]: ...

    def identity(self) -> str:
        """A random text of this store, the same by whatever address it is opened."""

    def history(self, name: str) -> tuple[Trial, ...]:
        """All trials by number."""

    def commit(
        self,
        name: str,
        trials: Sequence[Trial],
        events: Sequence[Event],
        *,
        held: tuple[str, str] | None = None,
    ) -> None:
        """Insert or replace the trials by number, and append the events to the outbox.

        held: a fact and the value that it must have, checked in the same transaction; StudyError
            where it has another.
        """

    def undelivered(self, name: str, limit: int) -> Sequence[tuple[int, Event]]:
        """The oldest events that no tracker has taken yet, with their ids."""

    def delivered(self, name: str, ids: Sequence[int]) -> None: ...

    def remember(self, name: str, key: str, value: str) -> None:
        """Keep a fact: of the tracker (the MLflow run id of a trial), a warm start, the driver."""

    def recall(self, name: str) -> Mapping[str, str]: ...

    def everywhere(self, key: str) -> Mapping[str, str]:
        """A fact of all studies that have it, by study."""

    def swap(self, name: str, key: str, expected: str | None, value: str | None) -> bool:
        """Change a fact where it has the expected value, and say whether it had; None: no fact.

        Of several that swap at once, one does.
        """
