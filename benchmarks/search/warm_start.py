"""Warm starts on landscapes whose answer is known: does an earlier study help, and does it hurt?

    python benchmarks/search/warm_start.py run --target sst2 --sources clinc30 ag_news \\
        --modes cold warm adversarial --seeds 10 --trials 60 --out results.jsonl
    python benchmarks/search/warm_start.py report results.jsonl

An earlier study is the history of a search of `--earlier` trials by a sampler (`--by`: `random` draws rows
at random) on another landscape; its seed differs from search to search. `cold` starts from none,
`warm` from all sources. Of what should not help, `shuffled` gives the sources' results to the wrong
trials, and `adversarial` turns them upside down: the best is told to be the worst.

A source is a table by its name, a table's file (`/tmp/clinc30.parquet`, also of a record that is still
growing), or the instance of a synthetic landscape, as `layered:7`. `layered:+1` is that of the next seed:
seed s is instance s of a synthetic target, and searches are paired. What is there already is not run
again. Figures as in `compare.py`.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import ablations
import grid
import lines
import numpy as np
import paired
import problems
import recorded
import rows
import simulate
from landscapes import Landscape
from summary import stacked
from verbs import obey, verbs

from autopeft.domain.errors import AutopeftError
from autopeft.domain.trial import Rung, Trial
from autopeft.search import make_sampler
from autopeft.search.model.earlier import Earlier, earlier

MODES = ("cold", "warm", "shuffled", "adversarial")
_SHOWN = (4, 8, 12, 20, 30, 60)
_FOLDER = Path(__file__).parent


@lru_cache
def landscape(name: str, seed: int) -> Landscape:
    """A landscape by its name, an instance of it (`layered:3`), or the file of a table."""
    if name.endswith(".parquet"):
        file = Path(name)
        problem = grid.recorded(_FOLDER / f"{file.stem}.yaml")
        return recorded.over_table(file.stem, rows.read(file), problem)
    name, _, instance = name.partition(":")
    if instance:
        seed = seed + int(instance) if instance.startswith("+") else int(instance)
    return problems.make(name, seed)


def source(name: str, mode: str, *, seed: int, trials: int, by: str) -> Earlier:
    """An earlier study, as the mode tells it."""
    found = landscape(name, seed)
    sampler = simulate.sampler_of(by, trials)
    _, history = simulate.driven(found, sampler, seed=1000 + seed, trials=trials)
    measured = next(o for o in found.problem.objectives if not o.known)
    if mode == "shuffled":
        order = np.random.default_rng(seed).permutation(len(history))
        history = [_told(t, history[i].metrics) for t, i in zip(history, order, strict=True)]
    if mode == "adversarial":
        values = [trial.metrics[measured.metric] for trial in history]
        ends = min(values) + max(values)
        history = [
            _told(trial, {measured.metric: ends - value})
            for trial, value in zip(history, values, strict=True)
        ]
    return earlier(name, found.problem, history, measured)


def _told(trial: Trial, metrics: dict[str, float]) -> Trial:
    last = trial.rungs[-1]
    told = {name: metrics[name] for name in last.metrics}
    return replace(trial, rungs=(Rung(last.index, last.step, told, last.stderr),))


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    return obey(chosen, run, report)


def _parser() -> argparse.ArgumentParser:
    parser, running, _ = verbs(__doc__)
    running.add_argument("--target", required=True, metavar="NAME")
    running.add_argument("--sources", nargs="+", required=True, metavar="NAME")
    running.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    running.add_argument("--seeds", type=int, default=10, help="paired (%(default)s)")
    running.add_argument("--trials", type=int, default=60, help="of a search (%(default)s)")
    running.add_argument("--earlier", type=int, default=60, help="of a source (%(default)s)")
    running.add_argument("--without", metavar="FACT", help="of the search, see `ablations.py`")
    running.add_argument("--by", default="autopeft", help="sampler of a source (%(default)s)")
    return parser


def run(chosen: argparse.Namespace) -> None:
    """Search what the results lack."""
    simulate.start()
    with lines.appending(chosen.out) as stream:
        have = {_identity(row) for row in lines.read(chosen.out)}
        for seed in range(chosen.seeds):
            for mode in chosen.modes:
                wanted = {
                    "target": chosen.target,
                    "sources": chosen.sources,
                    "mode": mode,
                    "seed": seed,
                    "trials": chosen.trials,
                    "earlier": chosen.earlier,
                    "by": chosen.by,
                    "without": chosen.without,
                }
                if _identity(wanted) not in have:
                    row = searched(**wanted)
                    lines.append(stream, row)
                    print(f"{mode} seed {seed}: {row['curve'][-1]:.3f}", file=sys.stderr)


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("target", "mode", "seed", "trials", "earlier", "by")
    return (*(row[name] for name in names), row.get("without"), *row["sources"])


def searched(
    target: str,
    sources: Sequence[str],
    mode: str,
    *,
    seed: int,
    trials: int,
    earlier: int,
    by: str,
    without: str | None,
) -> dict[str, Any]:
    """Run one search; its line of the results."""
    told = [
        source(name, mode, seed=seed, trials=earlier, by=by)
        for name in (() if mode == "cold" else sources)
    ]
    sampler = make_sampler("autopeft", {"budget": trials}, told)
    if without is not None:
        sampler = ablations.without(without, sampler)
    outcome, _ = simulate.driven(landscape(target, seed), sampler, seed=seed, trials=trials)
    return {
        "target": target,
        "sources": list(sources),
        "mode": mode,
        "seed": seed,
        "trials": trials,
        "earlier": earlier,
        "by": by,
        "without": without,
        "results": [len(each.seen) for each in told],
        "curve": [round(value, 6) for value in outcome.curve],
        "cpu_s": round(float(np.mean(outcome.cpu_s)), 4),
        "cpu_s_most": round(max(outcome.cpu_s), 4),
    }


def report(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a table for every target, with the lead over the cold searches of the same seeds.

    Raises:
        AutopeftError: there are no rows.
    """
    if not results:
        raise AutopeftError("report needs at least one result, got none: run something first")
    groups: dict[tuple[Any, ...], dict[str, dict[int, Mapping[str, Any]]]] = {}
    for row in results:
        group = groups.setdefault((row["target"], *_identity(row)[3:]), {})
        group.setdefault(row["mode"], {})[row["seed"]] = row
    return "\n\n".join("\n".join(_table(*key, group=group)) for key, group in groups.items())


def _table(
    target: str,
    trials: int,
    earlier: int,
    by: str,
    without: str | None,
    *sources: str,
    group: Mapping[str, Mapping[int, Mapping[str, Any]]],
) -> Iterator[str]:
    """A row a mode, on the seeds that all of them have."""
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in group.values())))
    shown = [n for n in _SHOWN if n <= trials]
    lacking = f", without {without}" if without else ""
    yield (
        f"### {target} after {', '.join(sources)}: {earlier} trials of {by} each, "
        f"{len(seeds)} seeds{lacking}"
    )
    yield ""
    yield (
        f"| start | {' | '.join(str(n) for n in shown)} | trials to the level of {trials} cold "
        "| lead over cold at 20, paired | CPU s a suggestion (the longest) |"
    )
    yield "|---" * (len(shown) + 4) + "|"
    curves = {
        mode: stacked([by_seed[seed]["curve"] for seed in seeds], trials)
        for mode, by_seed in group.items()
    }
    cold = curves.get("cold")
    for mode, found in curves.items():
        values = " | ".join(paired.with_error(found[:, n - 1]) for n in shown)
        race = lead = ""
        if cold is not None:
            race = paired.reached(found, float(cold[:, -1].mean()))
            n = min(20, trials) - 1
            lead = paired.with_error(found[:, n] - cold[:, n], "+.3f")
        rows_ = [group[mode][s] for s in seeds]
        cpu = np.mean([row["cpu_s"] for row in rows_])
        most = max(row["cpu_s_most"] for row in rows_)
        yield f"| {mode} | {values} | {race} | {lead} | {cpu:.3f} ({most:.2f}) |"


if __name__ == "__main__":
    sys.exit(main())
