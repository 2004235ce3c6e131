"""An outbox in memory, and the events of a small study."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from autopeft.domain.ports import Event, StudyRecord
from autopeft.domain.trial import Trial


class MemoryStore:
    """The part of a store that trackers use, without a database."""

    def __init__(self, study: str = "tiny") -> None:
        self.record = StudyRecord(study, {}, ".", created=1_700_000_000.25, state="running")
        self.events: list[Event] = []
        self.taken: set[int] = set()
        self.facts: dict[str, str] = {}
        self._lock = threading.Lock()

    def create(self, record: StudyRecord) -> None:
        self.record = record

    def update(self, record: StudyRecord) -> None:
        self.record = record

    def study(self, name: str) -> StudyRecord:
        return self.record

    def studies(self) -> Sequence[StudyRecord]:
        return [self.record]

    def history(self, name: str) -> tuple[Trial, ...]:
        return ()

    def commit(self, name: str, trials: Sequence[Trial], events: Sequence[Event]) -> None:
        with self._lock:
            self.events.extend(events)

    def undelivered(self, name: str, limit: int) -> Sequence[tuple[int, Event]]:
        with self._lock:
            left = [(i, e) for i, e in enumerate(self.events) if i not in self.taken]
        return left[:limit]

    def delivered(self, name: str, ids: Sequence[int]) -> None:
        with self._lock:
            self.taken |= set(ids)

    def remember(self, name: str, key: str, value: str) -> None:
        self.facts[key] = value

    def recall(self, name: str) -> Mapping[str, str]:
        return dict(self.facts)


class Clock:
    """A second per event."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def study_started(clock: Clock) -> Event:
    document = {"autopeft": 1, "study": "tiny", "space": {"lora": {"modules": []}}}
    return Event("study_started", None, clock(), {"name": "tiny", "document": document})


def study_ended(clock: Clock, state: str = "finished") -> Event:
    return Event("study_ended", None, clock(), {"state": state})


def front(clock: Clock, *trials: int, told: int, hypervolume: float = 0.5) -> Event:
    payload = {"trials": list(trials), "hypervolume": hypervolume, "told": told}
    return Event("front", None, clock(), payload)


def trial_started(clock: Clock, trial: int, **more: Any) -> Event:
    payload = {
        "name": f"lora r{trial} q,v L0-5 lr 1e-3",
        "params": {"lora.r": trial, "learning_rate": 1e-3},
        "branch": "lora",
        "baseline": trial == 0,
        "seed": 7,
        "why": "initial design",
        "known": {"adapter_params": 1000 + trial},
        **more,
    }
    return Event("trial_started", trial, clock(), payload)


def curve(clock: Clock, trial: int, *points: tuple[int, Mapping[str, float]]) -> Event:
    return Event("curve", trial, clock(), {"points": [[s, dict(m)] for s, m in points]})


def rung(clock: Clock, trial: int, index: int, step: int, accuracy: float) -> Event:
    payload = {
        "rung": index,
        "step": step,
        "metrics": {"accuracy": accuracy, "adapter_params": 1000 + trial},
        "stderr": {"accuracy": 0.01},
        "seconds": 2.5,
    }
    return Event("rung", trial, clock(), payload)


def trial_ended(clock: Clock, trial: int, state: str = "completed", **more: Any) -> Event:
    payload = {"state": state, "metrics": {}, "failure": None, "adapter": None, **more}
    return Event("trial_ended", trial, clock(), payload)


def whole_trial(clock: Clock, trial: int) -> list[Event]:
    """A trial with a learning curve and two rungs: 5 events."""
    return [
        trial_started(clock, trial),
        curve(clock, trial, (5, {"loss": 0.9}), (10, {"loss": 0.8})),
        rung(clock, trial, 0, 10, 0.6),
        rung(clock, trial, 1, 20, 0.7 + trial / 100),
        trial_ended(clock, trial),
    ]
