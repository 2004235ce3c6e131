"""When `search.stop` ends a search, and what the model takes to be left, against what came.

    python benchmarks/search/stopping.py run --seeds 10 --trials 120 --out stopping.jsonl
    python benchmarks/search/stopping.py report stopping.jsonl

`run` searches with the `autopeft` sampler and appends one JSON line a search: what every trial
promised, and the true hypervolume after it, as in `compare.py`. A rule changes no suggestion before
it ends the search, so `report` tries every rule on the same searches, by the product's own code.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lines
import problems
import simulate

from autopeft.domain.errors import AutopeftError

_PROBLEMS = ("layered", "lora_only", "capacity_hurts", "flat", "sst2")
_SAMPLER = "autopeft"


class Search(NamedTuple):
    problem: str
    seed: int
    trials: int


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.verb == "run":
            run(chosen)
    except (AutopeftError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run", help="search; append results to a file")
    running.add_argument("--problems", nargs="+", default=_PROBLEMS, metavar="NAME")
    running.add_argument("--seeds", type=int, default=10, help="(%(default)s)")
    running.add_argument("--trials", type=int, default=120, help="of a search (%(default)s)")
    running.add_argument("--out", type=Path, required=True, help="results, JSON lines")
    reporting = verbs.add_parser("report", help="print results as markdown tables")
    reporting.add_argument("results", type=Path)
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


if __name__ == "__main__":
    sys.exit(main())
