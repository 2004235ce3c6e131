"""Sixty-four workers whose trials sleep for 20 s: how long they wait for something to do.

python benchmarks/service/workers.py autopeft|optuna [WORKERS] [ROUNDS] [SECONDS]

Every worker is a process of its own under Ray, which holds no core while it sleeps. Idle is what a
worker does not sleep between the moment when all of them have begun and the start of the last trial.
Prints one JSON line.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import objective
import studies

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

Span = tuple[str, float, float]
"""A trial: its worker, when it began, when it ended."""


class Sleeper:
    """An evaluator that imports nothing heavy: 64 of them fit into this machine's memory."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(self, segment: Any, report: Any) -> Any:
        from autopeft.domain.trial import Result

        began = time.time()
        time.sleep(self._seconds)
        recipe = segment.configuration.recipe
        size = sum(m.size * len(m.targets) for m in segment.configuration.architecture.modules)
        value, error = objective.measured(
            recipe["learning_rate"], recipe["num_train_epochs"], size, segment.seed
        )
        return Result(
            step=1,
            metrics={"accuracy": value},
            stderr={"accuracy": error},
            seconds=self._seconds,
            started=began,
            ended=time.time(),
            worker=str(os.getpid()),
        )


def idle(spans: Sequence[Span], workers: int) -> dict[str, float]:
    """The share of the workers' time that no trial took, and the pauses between two trials."""
    own: dict[str, list[tuple[float, float]]] = {}
    for worker, began, ended in sorted(spans, key=lambda span: span[1]):
        own.setdefault(worker, []).append((began, ended))
    firsts = sorted(trials[0][0] for trials in own.values())
    start, end = firsts[min(workers, len(firsts)) - 1], max(began for _, began, _ in spans)
    busy = sum(max(0.0, min(ended, end) - max(began, start)) for _, began, ended in spans)
    gaps = [b[0] - a[1] for trials in own.values() for a, b in pairwise(trials)]
    return {
        "workers": len(own),
        "idle_share": 1 - busy / (len(own) * (end - start)) if end > start else float("nan"),
        "gap_s_median": median(gaps),
        "gap_s_p95": sorted(gaps)[int(0.95 * len(gaps))],
        "all_began_after_s": start - firsts[0],
        "span_s": max(ended for _, _, ended in spans) - firsts[0],
    }


def autopeft(workers: int, trials: int, seconds: float, sampler: str) -> dict[str, Any]:
    import ray

    from autopeft import build
    from autopeft.domain.study import Resources
    from autopeft.orchestrator import ray_tune
    from autopeft.orchestrator.session import StudySession
    from autopeft.search import make_sampler

    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        spec, store, problem = studies.opened(Path(folder), trials, sampler, parallel=workers)

        class Timed:
            def __init__(self) -> None:
                self._inner = make_sampler(sampler, build.sampler_options(spec))

            def suggest(self, *arguments: Any, **named: Any) -> Any:
                began = time.perf_counter()
                try:
                    return self._inner.suggest(*arguments, **named)
                finally:
                    took.append(time.perf_counter() - began)

        session = StudySession(spec, problem=problem, store=store, sampler=Timed(), clock=time.time)
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        started = time.time()
        ray_tune.run(
            session,
            studies.Maker(Sleeper, seconds),
            parallel=workers,
            resources=Resources(cpus_per_trial=1),
            folder=Path(folder),
            stop=threading.Event(),
        )
        spans = [(r.worker, r.started, r.ended) for t in session.trials for r in t.rungs]
        ray.shutdown()
    return {
        **idle(spans, workers),
        "trials": len(spans),
        "suggestion_ms_median": 1000 * median(took),
        "suggestion_ms_p95": 1000 * sorted(took)[int(0.95 * len(took))],
        "wall_s": time.time() - started,
    }


def optuna(workers: int, trials: int, seconds: float) -> dict[str, Any]:
    import ray

    began = time.time()
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        spans = studies.plain_tune(Path(folder), trials, workers, seconds)
    ray.shutdown()
    return {**idle(spans, workers), "trials": len(spans), "wall_s": time.time() - began}


def main(arguments: Sequence[str]) -> None:
    who, *numbers = arguments
    workers, rounds, seconds = (*map(float, numbers), *(64, 6, 20)[len(numbers) :])
    count = int(workers * rounds)
    found: Mapping[str, Any] = (
        optuna(int(workers), count, seconds)
        if who == "optuna"
        else autopeft(int(workers), count, seconds, who)
    )
    part = "workers" if seconds else "tune"
    print(json.dumps({"part": part, "party": who, "seconds": seconds, **found}))


if __name__ == "__main__":
    main(sys.argv[1:])
