"""Train every configuration of a grid in full and keep what each rung measured.

    python benchmarks/search/record.py benchmarks/search/sst2.yaml --workers 2 --seeds-on 60

One JSON line a run in `recorded/<study>.jsonl`, in a fixed shuffled order, at the file's seed;
then a random subset of the grid at the next seed. What is there already is not trained again: stop
it with Ctrl-C and start it again as you like. A configuration that fails is a row with its failure.
`table.py pack` makes a table of it.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import lines
import worker
from grid import Job, jobs, opened
from origin import origin

from autopeft.domain.errors import AutopeftError

RECORDED = Path(__file__).with_name("recorded")
_TRIES = 2  # of a job that was running when a worker died: it may have been another's fault
_IDLE_DEATHS = 4  # in a row, with no run ended between them


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("space", type=Path, help="a space file whose variables are all choices")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of one thread (%(default)s)"
    )
    parser.add_argument(
        "--seeds-on", type=int, default=60, help="runs at a second seed (%(default)s)"
    )
    parser.add_argument("--to", type=Path, default=RECORDED, help="folder of the records")
    arguments = parser.parse_args()
    if arguments.workers < 1 or arguments.seeds_on < 0:
        parser.error("--workers takes 1 or more, --seeds-on 0 or more")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    worker.one_thread()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of the workers: they would bury the rows
    try:
        return record(arguments.space, arguments.to, arguments.workers, arguments.seeds_on)
    except AutopeftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        _end_workers()
        print("stopped; every finished run is kept: the same command goes on", file=sys.stderr)
        return 130


def record(space: Path, to: Path, workers: int, seeds_on: int) -> int:
    """Train what the record lacks."""
    spec, problem = opened(space)
    wanted = jobs(spec, problem, seeds_on=seeds_on)
    file = to / f"{spec.name}.jsonl"
    with lines.appending(file) as stream:
        lines.same_origin(file.with_suffix(".json"), origin(spec))
        have = {(row["key"], row["seed"]) for row in lines.read(file)}
        missing = [job for job in wanted if job.identity not in have]
        print(f"{len(wanted)} runs, {len(wanted) - len(missing)} recorded: {file}", flush=True)
        for i, row in enumerate(_trained(space, missing, workers), start=1):
            lines.append(stream, row)
            print(f"{i}/{len(missing)} {_told(row)}", flush=True)
    return 0


def _trained(space: Path, jobs: Sequence[Job], workers: int) -> Iterator[dict[str, Any]]:
    """The rows as they end; the workers are started again when one of them dies.

    Raises:
        AutopeftError: workers die, whatever they run.
    """
    todo, tries = list(reversed(jobs)), dict.fromkeys((job.identity for job in jobs), 0)
    idle_deaths = 0
    while todo:
        with (
            tempfile.TemporaryDirectory(prefix="autopeft-record-") as scratch,
            _workers(workers, space, Path(scratch)) as pool,
        ):
            running: dict[Future[dict[str, Any]], Job] = {}
            try:
                while todo or running:
                    while todo and len(running) < _width(todo[-1], running, tries, workers):
                        future = pool.submit(worker.run, todo[-1])  # raises: the job stays
                        running[future] = todo.pop()
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        row, idle_deaths = done.result(), 0
                        del running[done]
                        yield row
            except BrokenProcessPool as error:
                idle_deaths += 1
                if idle_deaths > _IDLE_DEATHS:
                    raise AutopeftError("workers die before they end a run: see above") from error
                for job in running.values():
                    tries[job.identity] += 1
                    if tries[job.identity] < _TRIES:
                        todo.append(job)
                    else:
                        yield worker.died(job)
            except (KeyboardInterrupt, GeneratorExit):
                _end_workers()
                raise


def _width(
    job: Job, running: Mapping[Any, Job], tries: Mapping[tuple[str, int], int], workers: int
) -> int:
    """How many may run with this job: one that was there when a worker died runs alone."""
    return 1 if any(tries[j.identity] for j in (job, *running.values())) else workers


def _end_workers() -> None:
    for process in multiprocessing.active_children():
        process.terminate()


def _workers(count: int, space: Path, scratch: Path) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=worker.start, initargs=(space, scratch))


def _told(row: dict[str, Any]) -> str:
    steps = ", ".join(f"{r['step']}: {r['metrics'].get('accuracy', 0):.3f}" for r in row["rungs"])
    failure = row["failure"]["message"] if row["failure"] else ""
    branch, rate = row["point"]["branch"], row["configuration"]["recipe"]["learning_rate"]
    return f"{branch} {rate:g} seed {row['seed']} {row['seconds']:.1f} s: {steps} {failure}"


if __name__ == "__main__":
    sys.exit(main())
