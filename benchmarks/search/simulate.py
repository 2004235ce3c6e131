"""A whole search over a landscape, driven by the product's own session.

W workers: a free one asks, while others still run; trials end in the order of their simulated time.
What is asked again, refused or drawn at random is therefore what it is in the product. There are no
baselines: every trial is the sampler's.
"""

import heapq
import importlib
import pkgutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from landscapes import Landscape

import autopeft.search
from autopeft.domain.architecture import fingerprint
from autopeft.domain.front import front
from autopeft.domain.pareto import Array
from autopeft.domain.ports import Event, Problem, Sampler, StudyRecord, Suggestion
from autopeft.domain.study import Budget, Resources, Rungs, SearchSettings, StudySpec
from autopeft.domain.trial import Result, Segment, Trial
from autopeft.orchestrator.session import StudySession
from autopeft.search import make_sampler


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    curve: share of the best hypervolume after each told trial: the true values of the front that
    the observed ones choose. Shorter than the budget where the space was exhausted.
    found: the same of all told trials: what a choice without noise would keep.
    cpu_s: of every call of the sampler, in order; some more than trials.
    seconds: simulated, of the whole search.
    """

    curve: tuple[float, ...]
    found: tuple[float, ...]
    cpu_s: tuple[float, ...]
    seconds: float


def search(landscape: Landscape, name: str, *, seed: int, trials: int, workers: int = 1) -> Outcome:
    """Run a sampler on a landscape.

    Raises:
        AutopeftError: no such sampler.
    """
    spec = spec_of(landscape, seed, Budget(trials=trials))
    sampler = _Timed(sampler_of(name, trials))
    now = 0.0
    session = StudySession(
        spec,
        problem=landscape.problem,
        store=NoStore(StudyRecord(spec.name, {}, "", 0.0, "running")),
        sampler=sampler,
        clock=lambda: now,
    )
    running: list[tuple[float, int, Segment]] = []
    curve: list[float] = []
    found: list[float] = []
    truth: dict[int, Array] = {}  # (m,) scores of the told trials, by number
    while True:
        while len(running) < workers and (segment := session.ask()) is not None:
            ends = now + landscape.seconds(segment.configuration)
            heapq.heappush(running, (ends, segment.trial, segment))
        if not running:
            return Outcome(tuple(curve), tuple(found), tuple(sampler.cpu_s), now)
        now, number, segment = heapq.heappop(running)
        metrics, stderr = landscape.observe(segment.configuration, seed)
        session.tell(segment, Result(1, metrics, stderr, ended=now))
        history = session.trials
        truth[number] = landscape.scores([history[number]])[0]
        chosen = front(spec.objectives, spec.constraints, history)
        curve.append(landscape.share(np.array([truth[trial.number] for trial in chosen])))
        found.append(landscape.share(np.array(list(truth.values()))))


def sampler_of(name: str, trials: int) -> Sampler:
    """The sampler as a study of so many trials makes it."""
    return make_sampler(name, {"budget": trials} if name == "autopeft" else {})


def code() -> str:
    """Which samplers these are: a short hash of the sources of autopeft.search."""
    folder = Path(autopeft.search.__path__[0])
    text = "".join(file.read_text() for file in sorted(folder.glob("*.py")))
    return fingerprint(text)


def start(threads: int = 1) -> None:
    """Ready this process for timing: so many threads, and everything imported beforehand."""
    import threadpoolctl
    import torch

    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)
    for module in pkgutil.iter_modules(autopeft.search.__path__, "autopeft.search."):
        importlib.import_module(module.name)


@dataclass
class _Timed:
    """A sampler and the processor seconds of its calls."""

    sampler: Sampler
    cpu_s: list[float] = field(default_factory=list)

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        began = time.process_time()
        try:
            return self.sampler.suggest(problem, history, seed=seed)
        finally:
            self.cpu_s.append(time.process_time() - began)


class NoStore:
    """A store that forgets at once: the session keeps its trials itself; see `ports.Store`."""

    def __init__(self, record: StudyRecord) -> None:
        self._record = record

    def create(self, record: StudyRecord) -> None: ...

    def update(self, record: StudyRecord) -> None: ...

    def study(self, name: str) -> StudyRecord:
        return self._record

    def studies(self) -> Sequence[StudyRecord]:
        return [self._record]

    def history(self, name: str) -> tuple[Trial, ...]:
        return ()

    def commit(self, name: str, trials: Sequence[Trial], events: Sequence[Event]) -> None: ...

    def undelivered(self, name: str, limit: int) -> Sequence[tuple[int, Event]]:
        return []

    def delivered(self, name: str, ids: Sequence[int]) -> None: ...

    def remember(self, name: str, key: str, value: str) -> None: ...

    def recall(self, name: str) -> Mapping[str, str]:
        return {}


def spec_of(
    landscape: Landscape, seed: int, budget: Budget, rungs: Rungs | None = None
) -> StudySpec:
    """A study of the landscape without baselines."""
    nothing: Mapping[str, Any] = {}
    return StudySpec(
        name=landscape.name,
        model=nothing,
        trainer="transformers.Trainer",
        data=nothing,
        training=nothing,
        space=landscape.problem.space,
        objectives=landscape.problem.objectives,
        constraints=landscape.problem.constraints,
        budget=budget,
        resources=Resources(),
        search=SearchSettings(rungs=rungs, seed=seed),
        document=nothing,
    )
