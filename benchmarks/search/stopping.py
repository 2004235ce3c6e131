"""When `search.stop` ends a search, and what the model takes to be left, against what came.

    python benchmarks/search/stopping.py run --seeds 10 --trials 120 --out stopping.jsonl
    python benchmarks/search/stopping.py report stopping.jsonl

`run` searches with the `autopeft` sampler and appends one JSON line a search: what every trial
promised, and the true hypervolume after it, as in `compare.py`. A rule changes no suggestion before
it ends the search, so `report` tries all rules on the same searches: where each ends them, and how
much of the true front's hypervolume is missing there against all their trials. Beside it, what the
model took to be left against what all trials then found, in percent of what was reached.

`min_gain_per_gpu_hour` times the hours of a trial is a least gain of one trial: that is what its
table is over.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import lines
import numpy as np
import problems
import simulate
from verbs import obey, verbs

from autopeft.domain.errors import AutopeftError

_PROBLEMS = ("layered", "lora_only", "capacity_hurts", "flat", "sst2")
_SAMPLER = "autopeft"
_AT = (20, 30, 40, 60, 80, 100)  # trials
_LAST = 5  # proposals whose median is what was left
_LEAST = (0.02, 0.01, 0.005)
_LEAST_OF_ONE = (0.005, 0.002, 0.001, 0.0005, 0.0002)  # of a trial's own gain
_PATIENCE = (3, 5, 10)

Row = Mapping[str, Any]
Groups = Mapping[str, Sequence[Row]]


class Search(NamedTuple):
    problem: str
    seed: int
    trials: int


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    return obey(chosen, run, report)


def _parser() -> argparse.ArgumentParser:
    parser, running, _ = verbs(__doc__)
    running.add_argument("--problems", nargs="+", default=_PROBLEMS, metavar="NAME")
    running.add_argument("--seeds", type=int, default=10, help="(%(default)s)")
    running.add_argument("--trials", type=int, default=120, help="of a search (%(default)s)")
    return parser


def run(chosen: argparse.Namespace) -> None:
    """Search what the results lack."""
    simulate.start()
    with lines.appending(chosen.out) as stream:
        code = simulate.code()
        have = {Search(*(row[name] for name in Search._fields)) for row in lines.read(chosen.out)}
        wanted = [
            Search(problem, seed, chosen.trials)
            for seed in range(chosen.seeds)
            for problem in chosen.problems
        ]
        for search in (search for search in wanted if search not in have):
            outcome = simulate.search(
                problems.make(search.problem, search.seed),
                _SAMPLER,
                seed=search.seed,
                trials=search.trials,
            )
            row = {
                **search._asdict(),
                "curve": _rounded(outcome.curve),
                "found": _rounded(outcome.found),
                "gains": _rounded(outcome.gains),
                "left": _rounded(outcome.left),
                "code": code,
            }
            lines.append(stream, row)
            print(f"{search.problem} seed {search.seed}: {row['curve'][-1]:.3f}", file=sys.stderr)


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 6) for value in values]


def report(rows: Sequence[Row]) -> str:
    """Markdown: what was left by the model and in truth, and where rules end the searches.

    Raises:
        AutopeftError: there are no rows.
    """
    if not rows:
        raise AutopeftError("report needs at least one result, got none: run something first")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['problem']} ({row['trials']} trials)", []).append(row)
    by_left, by_gain = (
        _rules(groups, "min_gain", "left", product(_LEAST, _PATIENCE)),
        _rules(groups, "gain of a trial", "gains", product(_LEAST_OF_ONE, _PATIENCE[1:])),
    )
    return "\n".join([*_calibration(groups), "", *by_left, "", *by_gain])


def _calibration(groups: Groups) -> Iterator[str]:
    """Medians over the searches of a problem, in percent of what was reached."""
    yield "| left by the model / found later | " + " | ".join(map(str, _AT)) + " |"
    yield "|---" * (1 + len(_AT)) + "|"
    for name, rows in groups.items():
        cells = []
        for n in _AT:
            some = [row for row in rows if n < row["trials"] and _told(row["left"][:n])]
            left = np.median([np.median(_told(row["left"][:n])[-_LAST:]) for row in some])
            later = np.median([row["found"][-1] / row["found"][n - 1] - 1 for row in some])
            cells.append(f"{100 * left:.2g} / {100 * later:.2g}" if some else "")
        yield f"| {name} | " + " | ".join(cells) + " |"


def _rules(groups: Groups, name: str, of: str, rules: Iterable[tuple[float, int]]) -> Iterator[str]:
    """Mean and range of the trials at the end; mean and worst of what is missing there.

    In points, hundredths of the hypervolume of the true front; below 0 where noise made the front
    of all trials a worse one.

    of: which promise of a row the rule is over, `left` or `gains`.
    """
    yield f"| {name} | patience | " + " | ".join(groups) + " |"
    yield "|---" * (2 + len(groups)) + "|"
    for least, patience in rules:
        cells = []
        for rows in groups.values():
            ends = [stopped_at(row[of], least, patience) for row in rows]
            lost = [
                100 * (row["curve"][-1] - row["curve"][end - 1])
                for row, end in zip(rows, ends, strict=True)
            ]
            trials = f"{np.mean(ends):.0f} ({min(ends)} to {max(ends)})"
            cells.append(f"{trials}: {np.mean(lost):+.1f}, worst {max(lost):+.1f}")
        yield f"| {least} | {patience} | " + " | ".join(cells) + " |"


def stopped_at(promised: Sequence[float | None], least: float, patience: int) -> int:
    """Trials of a search that `search.stop` ends; all of them where it does not."""
    row = 0
    for number, value in enumerate(promised):
        if value is not None:
            row = row + 1 if value < least else 0
            if row == patience:
                return number + 1
    return len(promised)


def _told(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


if __name__ == "__main__":
    sys.exit(main())
