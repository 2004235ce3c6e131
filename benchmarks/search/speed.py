"""How long a suggestion takes.

    OMP_NUM_THREADS=1 python benchmarks/search/speed.py run --out speed.jsonl
    python benchmarks/search/speed.py report speed.jsonl

`run` lets a sampler propose the last trials of one and the same history, one after the other as in
a search: `--window` of them up to n told ones, or n told and 16 pending. It appends one JSON line
for every sampler, problem and n: processor milliseconds of each proposal. One before the window is
left out: it fits and encodes what the later ones have in memory, as in a search. The history is an
`autopeft` search of 200 trials, and random trials from there on.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import lines
import numpy as np
import problems
import simulate
from landscapes import Landscape
from verbs import obey, verbs

from autopeft.domain.architecture import Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.space import Point
from autopeft.domain.trial import Rung, Trial

_SEARCHED = 200  # trials of a history that a search chose; the rest is random
_SIZES = ("20", "60", "120", "200", "500+16")
_DRAWS = 100_000


class Timing(NamedTuple):
    problem: str
    sampler: str
    size: str
    window: int


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    return obey(chosen, run, report)


def _parser() -> argparse.ArgumentParser:
    parser, running, _ = verbs(__doc__, runs="time suggestions")
    running.add_argument("--problems", nargs="+", default=("layered", "sst2"), metavar="NAME")
    running.add_argument(
        "--samplers", nargs="+", default=("autopeft", "optuna.TPESampler"), metavar="NAME"
    )
    running.add_argument(
        "--sizes", nargs="+", default=_SIZES, metavar="TOLD[+PENDING]", help="of the history"
    )
    running.add_argument(
        "--window", type=int, default=24, help="proposals that are timed (%(default)s)"
    )
    return parser


def run(chosen: argparse.Namespace) -> None:
    """Time what the results lack; a size that a table is too small for is passed over."""
    simulate.start()
    with lines.appending(chosen.out) as stream:
        code = simulate.code()
        have = {Timing(*(row[name] for name in Timing._fields)) for row in lines.read(chosen.out)}
        for problem in chosen.problems:
            landscape = problems.make(problem, 0)
            points = _points(landscape, max(sum(_parsed(size)) for size in chosen.sizes))
            for sampler, size in itertools.product(chosen.samplers, chosen.sizes):
                timing = Timing(problem, sampler, size, chosen.window)
                if timing in have or sum(_parsed(size)) > len(points):
                    continue
                ms = [round(1e3 * s, 2) for s in _timed(landscape, points, timing)]
                lines.append(stream, {**timing._asdict(), "ms": ms, "code": code})
                print(f"{problem} {sampler} {size}: {np.median(ms):.0f} ms", file=sys.stderr)


def _parsed(size: str) -> tuple[int, int]:
    """Told and pending trials of `500+16`.

    Raises:
        AutopeftError: it is neither a number nor two.
    """
    told, _, pending = size.partition("+")
    if not told.isdigit() or not (pending or "0").isdigit() or int(told) < 1:
        raise AutopeftError(f"--sizes takes 200 or 500+16, got {size!r}: correct it")
    return int(told), int(pending or 0)


def _points(landscape: Landscape, count: int) -> list[Point]:
    """Different points of the landscape; fewer where it has fewer."""
    sampler = simulate.sampler_of("autopeft", count)
    trials = min(_SEARCHED, count)
    _, history = simulate.driven(landscape, sampler, seed=0, trials=trials)
    found = [trial.point for trial in history]
    taken = {trial.configuration.key for trial in history}
    rng = np.random.default_rng(0)
    for _ in range(_DRAWS):
        if len(found) >= count:
            break
        point = landscape.problem.space.draw(rng)
        configuration = landscape.problem.admissible(point)
        if configuration is not None and configuration.key not in taken:
            taken.add(configuration.key)
            found.append(point)
    return found


def _timed(landscape: Landscape, points: Sequence[Point], timing: Timing) -> Iterator[float]:
    """Processor seconds of every proposal in the window."""
    told, pending = _parsed(timing.size)
    sampler = simulate.sampler_of(timing.sampler, 2 * told)
    # Made once: a search has its history in memory, and what is asked of a trial once.
    numbered = list(enumerate(points[: told + pending]))
    ended = [_trial(landscape, number, point, told=True) for number, point in numbered]
    running = [_trial(landscape, number, point, told=False) for number, point in numbered]
    for count in range(max(1, told - timing.window), told + 1):
        history = [*ended[:count], *running[count : count + pending]]
        began = time.process_time()
        sampler.suggest(landscape.problem, history, seed=count)
        if count > told - timing.window:
            yield time.process_time() - began


def _trial(landscape: Landscape, number: int, point: Point, *, told: bool) -> Trial:
    configuration: Configuration = landscape.problem.configure(point)
    known = landscape.problem.known(configuration.architecture)
    trial = Trial(number, configuration, number, point, known)
    if not told:
        return trial
    metrics, stderr = landscape.observe(configuration, number)
    return trial.advanced(Rung(0, 1, metrics, stderr), last=True)


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: median and ninth decile by problem, sampler and size.

    Raises:
        AutopeftError: there are no rows.
    """
    if not rows:
        raise AutopeftError("report needs at least one result, got none: run something first")
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    cells = {(row["problem"], row["sampler"], row["size"]): row["ms"] for row in rows}
    table = [
        "| problem | sampler | " + " | ".join(sizes) + " |",
        "|---" * (2 + len(sizes)) + "|",
    ]
    for problem, sampler in dict.fromkeys((row["problem"], row["sampler"]) for row in rows):
        told = [cells.get((problem, sampler, size)) for size in sizes]
        values = [
            "" if ms is None else f"{np.median(ms):.0f} ({np.quantile(ms, 0.9):.0f})" for ms in told
        ]
        table.append(f"| {problem} | {sampler} | " + " | ".join(values) + " |")
    return "\n".join(table)


if __name__ == "__main__":
    sys.exit(main())
