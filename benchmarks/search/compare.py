"""Samplers side by side on landscapes whose answer is known.

    python benchmarks/search/compare.py run --problems layered shuffled \\
        --samplers autopeft random optuna.TPESampler --seeds 5 --trials 60 --out results.jsonl
    python benchmarks/search/compare.py report results.jsonl

`run` appends one JSON line a search (problem, sampler, seed, workers, trials); what is there already
is not run again. Seed s is instance s of a synthetic problem and seed s of the sampler, so searches
are paired. `report` prints markdown: hypervolume of the true values of the front that the observed
ones choose, over that of the true front; with --found, of all trials, so that what the search found
is told apart from what noise hides; with --modelled, of the front that the model's means choose;
with --level .95, the median of the trials that it takes to that share;
with --against, `autopeft` and each other by itself, on all seeds that the two have.
`autopeft:3` is `autopeft` with at most 3 seeds a configuration; `X over rank and rate` is X over
LoRA's rank and learning rate alone; `X shared` and `X apart`, of a sampler that sees a flat space,
have one parameter for what methods have alike, or one for each method, whichever is not X's usual.
CPU seconds are on one thread. `run --final` searches the instances that are kept for the end, see `problems`. `run
--minutes 60` ends what takes longer and records it as a search of the trials that it has.
"""

import argparse
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import product
from typing import Any

import against
import lines
import problems
import simulate
from summary import CHECKPOINTS, Row, Search, at, first, identity, report
from verbs import obey, verbs

from autopeft.domain.errors import AutopeftError

_SAMPLERS = ("autopeft", "random", "optuna.TPESampler", "optuna.NSGAIISampler")
_END = 5  # suggestions that count as the end, for their time


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    return obey(chosen, run, partial(_reported, chosen))


def _reported(chosen: argparse.Namespace, rows: Sequence[Row]) -> str:
    if chosen.trials is not None:
        rows = first(rows, chosen.trials)
    if chosen.against:
        return against.report(rows, chosen.of)
    return report(rows, chosen.of, chosen.level)


def _parser() -> argparse.ArgumentParser:
    parser, running, reporting = verbs(__doc__, files="+")
    running.add_argument("--problems", nargs="+", default=problems.NAMES, metavar="NAME")
    running.add_argument("--samplers", nargs="+", default=_SAMPLERS, metavar="NAME")
    running.add_argument("--seeds", type=_count, help="paired (5; with --final all)")
    running.add_argument("--final", action="store_true", help="on what is kept for the end, once")
    running.add_argument("--trials", type=_count, default=60, help="of a search (%(default)s)")
    running.add_argument("--workers", type=_count, default=1, help="simulated (%(default)s)")
    running.add_argument(
        "--minutes", type=_count, help="processor minutes after which a search ends (no limit)"
    )
    running.add_argument("--processes", type=_count, default=1, help="real ones (%(default)s)")
    reporting.add_argument("--trials", type=_count, help="the first so many of every search")
    tables = reporting.add_mutually_exclusive_group()
    tables.add_argument(
        "--against", action="store_true", help="autopeft and one other at a time, on their seeds"
    )
    tables.add_argument(
        "--level", type=_level, help="tell after how many trials half of the searches are there"
    )
    choices = reporting.add_mutually_exclusive_group()
    choices.set_defaults(of="curve")
    for name, what in (
        ("found", "count all trials, not only the front as observed"),
        ("modelled", "the front by the model's means, not as observed"),
    ):
        choices.add_argument(f"--{name}", dest="of", action="store_const", const=name, help=what)
    return parser


def _level(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not 0 < level <= 1:
        raise argparse.ArgumentTypeError(f"takes a share above 0 and up to 1, got {text}")
    return level


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1, got {text}")
    return int(text)


def run(chosen: argparse.Namespace) -> None:
    """Search what the results lack."""
    for name in chosen.samplers:
        simulate.sampler_of(name, chosen.trials)
    seeds = problems.seeds(chosen.seeds, final=chosen.final)
    names = list(_available(chosen.problems))
    wanted = [
        Search(problem, sampler, seed, chosen.workers, chosen.trials)
        for problem, seed, sampler in product(names, seeds, chosen.samplers)
    ]
    with lines.appending(chosen.out) as stream:
        code = simulate.code()
        have = {identity(row): row["code"] for row in lines.read(chosen.out)}
        missing = [search for search in dict.fromkeys(wanted) if search not in have]
        print(f"{len(wanted)} searches, {len(missing)} to run", file=sys.stderr)
        if older := sum(have.get(search, code) != code for search in wanted):
            print(
                f"{older} of those that are there are of other sources of autopeft/search: "
                "name another --out to run them again",
                file=sys.stderr,
            )
        task = partial(searched, minutes=chosen.minutes)
        for i, row in enumerate(_rows(task, missing, chosen.processes), start=1):
            lines.append(stream, {**row, "code": code})
            print(f"{i}/{len(missing)} {_told(row)}", file=sys.stderr, flush=True)


def _available(names: Sequence[str]) -> Iterator[str]:
    """The problems whose data is here; a wrong name is an error, missing data a message."""
    for name in names:
        try:
            problems.make(name, 0)
        except AutopeftError as error:
            if name not in problems.NAMES:
                raise
            print(f"skipped: {error}", file=sys.stderr)
        else:
            yield name


def _rows(
    task: Callable[[Search], dict[str, Any]], searches: Sequence[Search], processes: int
) -> Iterator[dict[str, Any]]:
    """The results as they come.

    Raises:
        AutopeftError: a process died.
    """
    if processes == 1:
        simulate.start()
        yield from map(task, searches)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_ready) as pool:
        try:
            for done in as_completed([pool.submit(task, search) for search in searches]):
                yield done.result()
        except BrokenProcessPool as error:
            raise AutopeftError("a process died: run the same command with fewer") from error
        except (KeyboardInterrupt, GeneratorExit):
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _ready() -> None:
    """Make this process a worker; Ctrl-C is for the parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    simulate.start()


def searched(search: Search, minutes: int | None = None) -> dict[str, Any]:
    """Run one search; its line of the results. One that the minutes end is of fewer trials."""
    landscape = problems.make(search.problem, search.seed)
    outcome = simulate.search(
        landscape,
        search.sampler,
        seed=search.seed,
        trials=search.trials,
        workers=search.workers,
        most_cpu_s=math.inf if minutes is None else 60 * minutes,
    )
    if outcome.ended:
        search = search._replace(trials=len(outcome.curve))
    cpu_s, last = outcome.cpu_s, outcome.cpu_s[-_END:]
    return {
        **search._asdict(),
        "told": len(outcome.curve),
        "hypervolume": {
            n: round(at(outcome.curve, n), 6) for n in CHECKPOINTS if n <= search.trials
        },
        "curve": [round(value, 6) for value in outcome.curve],
        "found": [round(value, 6) for value in outcome.found],
        **(
            {"modelled": [round(value, 6) for value in outcome.modelled]}
            if outcome.modelled
            else {}
        ),
        "cpu_s": round(sum(cpu_s) / len(cpu_s), 6),
        "cpu_s_end": round(sum(last) / len(last), 6),
        "simulated_seconds": round(outcome.seconds, 1),
    }


def _told(row: dict[str, Any]) -> str:
    return (
        f"{row['problem']} {row['sampler']} seed {row['seed']}: {row['curve'][-1]:.3f} "
        f"after {row['told']}, {row['cpu_s']:.3f} s a suggestion"
    )


if __name__ == "__main__":
    sys.exit(main())
