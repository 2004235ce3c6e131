"""One worker process: the product's evaluator on one thread, a run at a time.

A run is a trial of the product that is promoted at every rung: a segment to the first stop, then
one from its checkpoint to the next. Each rung is therefore what a paused trial would have told,
and the last one, bit for bit, what a trial that never paused would have.
"""

import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grid import Job

from autopeft import build
from autopeft.config import load
from autopeft.domain.ports import Evaluator
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, FailureReason, Segment

_here: tuple[Evaluator, StudySpec, Path] | None = None


def one_thread() -> None:
    """For the processes that are started from here; OpenMP reads it once, before torch."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def start(file: Path, scratch: Path) -> None:
    """Make this process a worker; Ctrl-C is for the parent alone."""
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread()
    import datasets
    import torch

    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    spec, _ = build.bound(load(file), file)
    folder = scratch / str(os.getpid())
    _here = build.make_evaluator(spec, folder), spec, folder


def run(job: Job) -> dict[str, Any]:
    """The row of a job: its rungs, and why there are no more of them."""
    assert _here is not None
    evaluator, spec, folder = _here
    began, stops = time.perf_counter(), spec.stops(job.cell.configuration.recipe)
    rungs: list[Mapping[str, Any]] = []
    failure = None
    for i, stop in enumerate(stops):
        last = i == len(stops) - 1
        segment = Segment(spec.name, 0, job.cell.configuration, job.seed, i, stop, i > 0, last)
        result = evaluator.run(segment, lambda step, metrics: None)
        if isinstance(result, Failure):
            failure = result
            break
        rungs.append(
            {
                "step": result.step,
                "metrics": dict(result.metrics),
                "stderr": dict(result.stderr),
                "seconds": result.seconds,
            }
        )
    shutil.rmtree(folder / spec.name, ignore_errors=True)  # checkpoints and adapter
    return row(job, rungs, failure, time.perf_counter() - began)


def died(job: Job) -> dict[str, Any]:
    """The row of a job whose worker did not live to its end."""
    return row(job, [], Failure(FailureReason.ERROR, "the worker process died"), 0.0)


def row(
    job: Job, rungs: list[Mapping[str, Any]], failure: Failure | None, seconds: float
) -> dict[str, Any]:
    """What one line of the record holds."""
    configuration = job.cell.configuration
    return {
        "key": configuration.key,
        "seed": job.seed,
        "point": dict(job.cell.point),
        "configuration": configuration.document(),
        "known": dict(job.cell.known),
        "rungs": rungs,
        "failure": failure and {"reason": failure.reason.value, "message": failure.message},
        "seconds": seconds,
        "ended": time.time(),
    }
