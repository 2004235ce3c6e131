"""A whole search over a landscape, driven by the product's own session.

W workers: a free one asks, while others still run; trials end in the order of their simulated time.
What is asked again, refused or drawn at random is therefore what it is in the product. There are no
baselines: every trial is the sampler's.
"""

import gc
import heapq
import importlib
import math
import pkgutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import plain_random
import rivals
import usual
from ablations import PREFIX, without
from landscapes import Landscape
from summary import CHECKPOINTS

import autopeft.search
from autopeft.domain.architecture import fingerprint
from autopeft.domain.errors import AutopeftError
from autopeft.domain.pareto import Array
from autopeft.domain.ports import Event, Problem, Sampler, StudyRecord, Suggestion
from autopeft.domain.results.front import front
from autopeft.domain.study import Budget, Resources, Rungs, SearchSettings, StudySpec
from autopeft.domain.trial import Result, Segment, Trial
from autopeft.orchestrator.session import StudySession
from autopeft.search import make_sampler
from autopeft.search.insight import shrinkage

_SHARED = {" shared": True, " apart": False}  # see `flat_space`
_DIVIDES = "botorch.AutoPEFT"  # the other sampler that divides the trials of its study


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    curve: share of the best hypervolume after each told trial: the true values of the front that
    the observed ones choose. Shorter than the budget where the space was exhausted.
    found: the same of all told trials: what a choice without noise would keep.
    modelled: the same of the front by the model's means, made at the checkpoints, the last between;
        empty where nothing was modelled.
    gains, left: by trial, what it was expected to gain and what there was left to gain (see
        `ports.Suggestion`); None where the sampler told none.
    cpu_s: of every call of the sampler, in order; some more than trials.
    seconds: simulated, of the whole search.
    ended: by the limit on processor seconds, before its budget.
    """

    curve: tuple[float, ...]
    found: tuple[float, ...]
    modelled: tuple[float, ...]
    gains: tuple[float | None, ...]
    left: tuple[float | None, ...]
    cpu_s: tuple[float, ...]
    seconds: float
    ended: bool


def search(
    landscape: Landscape,
    name: str,
    *,
    seed: int,
    trials: int,
    workers: int = 1,
    most_cpu_s: float = math.inf,
) -> Outcome:
    """Run a sampler on a landscape.

    name: `autopeft:3` is `autopeft` with at most 3 seeds a configuration; `random over rank and
        rate` is `random` over LoRA's rank and learning rate alone, as most people tune.
    most_cpu_s: of all its suggestions; once they took longer, no further trial begins.

    Raises:
        AutopeftError: no such sampler, or no LoRA on this landscape.
    """
    whole = name.removesuffix(usual.SUFFIX)
    return driven(
        landscape if whole == name else usual.restricted(landscape),
        sampler_of(name, trials),
        seed=seed,
        trials=trials,
        workers=workers,
        seeds=_seeds(whole),
        modelled=whole.startswith("autopeft"),
        most_cpu_s=most_cpu_s,
    )[0]


def driven(
    landscape: Landscape,
    sampler: Sampler,
    *,
    seed: int,
    trials: int,
    workers: int = 1,
    seeds: int = 1,
    modelled: bool = True,
    most_cpu_s: float = math.inf,
) -> tuple[Outcome, tuple[Trial, ...]]:
    """A search and its trials.

    seeds: at how many a configuration may run. modelled: whether to model it at the checkpoints,
        which takes seconds each.
    """
    spec = spec_of(landscape, seed, Budget(trials=trials), seeds=seeds)
    timed = _Timed(sampler)
    now = 0.0
    session = StudySession(
        spec,
        problem=landscape.problem,
        store=NoStore(StudyRecord(spec.name, {}, "", 0.0, "running")),
        sampler=timed,
        clock=lambda: now,
    )
    running: list[tuple[float, int, Segment]] = []
    curve: list[float] = []
    found: list[float] = []
    believed: list[float] = []
    truth: dict[int, Array] = {}  # (m,) scores of the told trials, by number
    ended = False
    while True:
        ended = ended or (len(session.trials) < trials and sum(timed.cpu_s) > most_cpu_s)
        while not ended and len(running) < workers and (segment := session.ask()) is not None:
            ends = now + landscape.seconds(segment.configuration)
            heapq.heappush(running, (ends, segment.trial, segment))
        if not running:
            outcome = Outcome(
                curve=tuple(curve),
                found=tuple(found),
                modelled=tuple(believed),
                gains=tuple(trial.expected_gain for trial in session.trials),
                left=tuple(trial.expected_left for trial in session.trials),
                cpu_s=tuple(timed.cpu_s),
                seconds=now,
                ended=ended,
            )
            return outcome, session.trials
        now, number, segment = heapq.heappop(running)
        metrics, stderr = landscape.observe(segment.configuration, segment.seed)
        session.tell(segment, Result(1, metrics, stderr, ended=now))
        history = session.trials
        truth[number] = landscape.scores([history[number]])[0]
        chosen = front(spec.objectives, spec.constraints, history)
        curve.append(landscape.share(np.array([truth[trial.number] for trial in chosen])))
        if modelled and (len(curve) in CHECKPOINTS or not believed):
            means = shrinkage.modelled(landscape.problem, history)
            kept = front(spec.objectives, spec.constraints, means)
            believed.append(landscape.share(np.array([truth[trial.number] for trial in kept])))
        elif modelled:
            believed.append(believed[-1])
        found.append(landscape.share(np.array(list(truth.values()))))


def sampler_of(name: str, trials: int) -> Sampler:
    """The sampler as a study of so many trials makes it, or one of `ablations`."""
    name = name.removesuffix(usual.SUFFIX)
    for suffix, shared in _SHARED.items():
        if name.endswith(suffix):
            return _sharing(sampler_of(name.removesuffix(suffix), trials), shared=shared)
    if name.startswith(PREFIX):
        return without(name.removeprefix(PREFIX), sampler_of("autopeft", trials))
    if name in rivals.NAMES:
        return rivals.make(name, trials)
    if name in plain_random.NAMES:
        return plain_random.make(name)
    name, seeds = name.split(":")[0], _seeds(name)
    options = {"autopeft": {"budget": trials, "seeds": seeds}, _DIVIDES: {"budget": trials}}
    return make_sampler(name, options.get(name, {}))


def _sharing(sampler: Sampler, *, shared: bool) -> Sampler:
    """It with, or without, one parameter for what several branches have alike."""
    if not is_dataclass(sampler) or "shared" not in (field.name for field in fields(sampler)):
        raise AutopeftError(
            "shared and apart are of samplers that see a flat space: optuna.X, botorch.X or "
            f"{', '.join(rivals.NAMES)}: name one of them, or leave the word out"
        )
    sharing: Any = replace(sampler, shared=shared)
    return sharing


def _seeds(name: str) -> int:
    """At how many seeds a configuration may run: `autopeft:3`."""
    sampler, _, seeds = name.partition(":")
    if not seeds:
        return 1
    if sampler != "autopeft" or not seeds.isdigit() or int(seeds) < 1:
        raise AutopeftError(f"only autopeft takes seeds, as autopeft:3, got {name!r}: correct it")
    return int(seeds)


def code() -> str:
    """Which samplers these are: a short hash of the sources of autopeft.search."""
    folder = Path(autopeft.search.__path__[0])
    text = "".join(file.read_text() for file in sorted(folder.rglob("*.py")))
    return fingerprint(text)


def start(threads: int = 1) -> None:
    """Ready this process for timing: so many threads, and everything imported beforehand."""
    import threadpoolctl
    import torch

    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)
    for module in pkgutil.walk_packages(autopeft.search.__path__, "autopeft.search."):
        importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # as `autopeft search` does


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
    landscape: Landscape, seed: int, budget: Budget, rungs: Rungs | None = None, seeds: int = 1
) -> StudySpec:
    """A study of the landscape without baselines; seeds: at how many a configuration may run."""
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
        search=SearchSettings(rungs=rungs, seed=seed, seeds=seeds),
        document=nothing,
    )
