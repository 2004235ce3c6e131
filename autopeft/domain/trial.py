"""A trial's life: configuration, seed, rungs, outcome or failure.

    RUNNING ──result below the last rung──▶ PAUSED ──promoted──▶ RUNNING
       │                                       └── the study ends: it stays PAUSED
       ├──result of the last rung──▶ COMPLETED
       └──failure──▶ FAILED

A trial runs in segments, one per rung; between two rungs it exists in the store and in its
checkpoint alone. Values are frozen: a transition returns a new trial.

A trial that confirms another is PLANNED first: all of a confirmation are in the store before one of
them runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from autopeft.domain.architecture import Configuration
from autopeft.domain.space import Json


class State(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"


class FailureReason(StrEnum):
    OUT_OF_MEMORY = "out_of_memory"
    NOT_FINITE = "not_finite"
    UNFIT = "unfit"  # the model cannot take this architecture
    INFRASTRUCTURE = "infrastructure"  # a full disk, files that cannot be kept: run again elsewhere
    TIME_LIMIT = "time_limit"  # longer than resources.minutes_per_trial
    ERROR = "error"  # anything else; the message holds the last line of the traceback


@dataclass(frozen=True)
class Failure:
    """An expected bad end of a trial: a value, never an exception.

    details: the traceback or what else helps; shown on request only.
    seconds: wall time of the segment that ended so.

    Both are cut where they are long: an error may hold all of a batch, or of a file.
    """

    reason: FailureReason
    message: str
    details: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shortened(self.message, 2_000))
        object.__setattr__(self, "details", shortened(self.details, 50_000))

    @property
    def teaches(self) -> bool:
        """Whether the configuration itself is to blame."""
        return self.reason not in (FailureReason.ERROR, FailureReason.INFRASTRUCTURE)


def shortened(text: str, most: int) -> str:
    """A text of so many characters at most; the middle goes, as the end says what happened."""
    if len(text) <= most:
        return text
    said = " [...] "
    head = most // 2
    return text[:head] + said + text[len(text) - (most - head - len(said)) :]


@dataclass(frozen=True)
class Rung:
    """The result of one segment.

    index: 0-based; step: optimiser steps done since the trial began.
    metrics: name -> value on validation, and costs of the whole trial so far.
    stderr: name -> standard error, for the metrics that have one.
    seconds: wall time of this segment; started, ended: seconds since the epoch.
    test, test_stderr: the same on the test split, of a trial that confirms another; they are
        reported, and nothing reads them to choose.
    """

    index: int
    step: int
    metrics: Mapping[str, float]
    stderr: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    worker: str = ""
    test: Mapping[str, float] = field(default_factory=dict)
    test_stderr: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One configuration at one seed.

    number: 0-based within the study; it names the trial's folder and MLflow run.
    point: what the sampler chose; empty when the configuration came from elsewhere.
    known: the metrics that are exact before training.
    why: one line on why it was proposed.
    expected_gain, expected_left: of hypervolume, `ports.Suggestion.gain` and `left` when it was
        proposed; None for baselines too, which are tuned against themselves.
    next_rung: the rung that runs now (RUNNING), or would be next (PAUSED).
    provenance: versions, fingerprints, device: whatever the worker reported.
    confirms: the number of the search's trial whose configuration it runs at a fresh seed; None: a
        trial of the search.
    """

    number: int
    configuration: Configuration
    seed: int
    point: Mapping[str, Json]
    known: Mapping[str, float]
    why: str = ""
    expected_gain: float | None = None
    expected_left: float | None = None
    baseline: bool = False
    state: State = State.RUNNING
    next_rung: int = 0
    rungs: tuple[Rung, ...] = ()
    failure: Failure | None = None
    created: float = 0.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    confirms: int | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Known metrics and those of the furthest rung."""
        return {**self.known, **(self.rungs[-1].metrics if self.rungs else {})}

    @property
    def stderr(self) -> Mapping[str, float]:
        return self.rungs[-1].stderr if self.rungs else {}

    @property
    def seconds(self) -> float:
        failed = self.failure.seconds if self.failure else 0.0
        return sum(rung.seconds for rung in self.rungs) + failed

    def advanced(self, rung: Rung, *, last: bool) -> "Trial":
        """The trial after a rung's result."""
        return replace(
            self,
            rungs=(*self.rungs, rung),
            state=State.COMPLETED if last else State.PAUSED,
            next_rung=rung.index + (0 if last else 1),
        )

    def promoted(self) -> "Trial":
        return replace(self, state=State.RUNNING)

    def begun(self, now: float) -> "Trial":
        return replace(self, state=State.RUNNING, created=now)

    def failed(self, failure: Failure) -> "Trial":
        return replace(self, state=State.FAILED, failure=failure)


@dataclass(frozen=True)
class Segment:
    """The part of a trial between two rungs: what one worker does at a stretch.

    stop_step: optimiser steps after which to evaluate and stop; None: the end of training.
    resume: whether to start from the trial's checkpoint.
    last: no rung follows: save the adapter.
    test: measure the test split too, where there is one.
    seconds: that it may take; None: no limit.
    """

    study: str
    trial: int
    configuration: Configuration
    seed: int
    rung: int
    stop: "Stop"
    resume: bool
    last: bool
    test: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Stop:
    """Where a segment stops: after so many epochs or steps of the full run, or at its end."""

    epochs: float | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Result:
    """What a worker returns for a segment that went well; see `Rung` for the fields."""

    step: int
    metrics: Mapping[str, float]
    stderr: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    worker: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    test_stderr: Mapping[str, float] = field(default_factory=dict)
