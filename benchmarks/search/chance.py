"""How near the explorer's random level comes to random search.

    python benchmarks/search/chance.py run --seeds 10 --out chance.jsonl
    python benchmarks/search/chance.py report chance.jsonl

`run` searches with the `autopeft` sampler, asks its model for the random level
(`autopeft.search.insight.chance`), and runs random searches of the same length on the same axes:
hypervolume of what was measured, 1 where everything is as good as the best of the search. It
appends one JSON line a search. `report` has the means over the searches, and the share of the
random ones that are inside the band of 80 %.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import lines
import numpy as np
import problems
import simulate
from landscapes import Landscape
from verbs import obey, verbs

from autopeft.domain.errors import AutopeftError
from autopeft.domain.pareto import Array
from autopeft.domain.results.front import outcomes
from autopeft.domain.results.progress import Axes, volumes_of
from autopeft.domain.results.replicates import averaged
from autopeft.domain.trial import Trial
from autopeft.search.insight.chance import chance_level
from autopeft.search.model.memory import Memory

_PROBLEMS = ("sst2", "clinc30", "ag_news", "layered", "shuffled", "capacity_hurts", "lora_only")
_AT = (20, 60)  # trials
_RANDOM = 12  # searches beside one
_FIRST = 100  # of their seeds

Row = Mapping[str, Any]


class Search(NamedTuple):
    problem: str
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    return obey(chosen, run, report)


def _parser() -> argparse.ArgumentParser:
    parser, running, _ = verbs(__doc__)
    running.add_argument("--problems", nargs="+", default=_PROBLEMS, metavar="NAME")
    running.add_argument("--seeds", type=int, default=10, help="(%(default)s)")
    return parser


def run(chosen: argparse.Namespace) -> None:
    """Search what the results lack."""
    simulate.start()
    with lines.appending(chosen.out) as stream:
        have = {Search(*(row[name] for name in Search._fields)) for row in lines.read(chosen.out)}
        for seed in range(chosen.seeds):
            for problem in chosen.problems:
                if (search := Search(problem, seed)) not in have:
                    lines.append(stream, {**search._asdict(), **compared(search)})
                    print(f"{problem}, seed {seed}", file=sys.stderr)


def compared(search: Search, at: Sequence[int] = _AT) -> dict[str, Any]:
    """Hypervolumes at so many trials: of the search, told of chance, and of random searches.

    searched, told, low, high: by checkpoint; random: by search and checkpoint. silent: why the
    model told none.
    """
    landscape = problems.make(search.problem, search.seed)
    own = _trials(landscape, "autopeft", search.seed, max(at))
    axes = Axes.of(landscape.problem.objectives, averaged(own))
    level = chance_level(landscape.problem, own, Memory())
    if level.silent:
        return {"silent": level.silent}
    places = [n - 1 for n in at]
    others = [
        _curve(axes, landscape, _trials(landscape, "random", _FIRST + i, max(at)))[places].tolist()
        for i in range(_RANDOM)
    ]
    told = {name: np.array(getattr(level, name))[places] for name in ("mean", "low", "high")}
    return {
        "at": list(at),
        "searched": _curve(axes, landscape, own)[places].tolist(),
        "told": told["mean"].tolist(),
        "low": told["low"].tolist(),
        "high": told["high"].tolist(),
        "random": others,
        "code": simulate.code(),
    }


def _trials(landscape: Landscape, sampler: str, seed: int, trials: int) -> tuple[Trial, ...]:
    chooser = simulate.sampler_of(sampler, trials)
    return simulate.driven(landscape, chooser, seed=seed, trials=trials, modelled=False)[1]


def _curve(axes: Axes, landscape: Landscape, trials: Sequence[Trial]) -> Array:
    """(n,) hypervolume after each trial."""
    objectives = landscape.problem.objectives
    return np.array(volumes_of(list(axes.place(outcomes(objectives, trials))), len(objectives)))


def report(rows: Sequence[Row]) -> str:
    """Markdown.

    Raises:
        AutopeftError: there are no rows.
    """
    if not rows:
        raise AutopeftError("report needs at least one result, got none: run something first")
    heads = ("problem", "trials", "searched", "random, told", "random, run", "error", "in the band")
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *_lines(rows)])


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    for problem in dict.fromkeys(row["problem"] for row in rows):
        told = [row for row in rows if row["problem"] == problem and "told" in row]
        for i, trials in enumerate(told[0]["at"] if told else ()):
            searched = np.mean([row["searched"][i] for row in told])
            said = np.array([row["told"][i] for row in told])
            ran = np.array([[found[i] for found in row["random"]] for row in told])
            low, high = (np.array([[row[name][i]] for row in told]) for name in ("low", "high"))
            inside = np.mean((ran >= low) & (ran <= high))
            error = (said - ran.mean(axis=1)).mean()
            yield (
                f"| {problem} | {trials} | {searched:.3f} | {said.mean():.3f} | {ran.mean():.3f} "
                f"| {error:+.3f} | {inside:.0%} |"
            )


if __name__ == "__main__":
    sys.exit(main())
