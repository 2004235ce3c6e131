"""Hypervolume against trials, a picture for every problem: the mean of the seeds of each sampler.

The engine and the best three at the end have bands: 95 % bootstrap intervals of the mean.

    python benchmarks/search/pictures.py benchmarks/search/final.jsonl --trials 200 --out docs/images

Drawn are the seeds that all samplers of a problem have, or with --most-seeds those of each sampler.
The file is search_<problem>.png; matplotlib comes with MLflow.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lines
import numpy as np
import paired
from numpy.typing import NDArray
from summary import CHECKPOINTS, SUBJECT, Row, at, first, identity

from autopeft.domain.errors import AutopeftError

Array = NDArray[np.float64]
# Told apart by colour-blind readers too (Okabe and Ito), and by the line.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
_STYLES = ("-", "--", ":")
_FROM = 4  # trials; before, nothing is told yet
_BANDS = 3  # of the best at the end, and the engine's: more of them hide each other
_SUBJECT_COLOUR = "#000000"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--trials", type=int, required=True, help="the first so many")
    parser.add_argument("--most-seeds", action="store_true", help="each sampler's own seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    chosen = parser.parse_args(arguments)
    try:
        rows = first([row for file in chosen.results for row in lines.read(file)], chosen.trials)
        for file in draw(rows, chosen.out, most_seeds=chosen.most_seeds):
            print(file)
    except (AutopeftError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def draw(rows: Sequence[Row], folder: Path, *, most_seeds: bool = False) -> list[Path]:
    """A picture for every problem of the rows, which have one budget; with one worker."""
    by_problem: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        search = identity(row)
        if search.workers == 1:
            samplers = by_problem.setdefault(search.problem, {})
            samplers.setdefault(search.sampler, {})[search.seed] = row
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _picture(problem, curves(samplers, most_seeds=most_seeds), folder)
        for problem, samplers in by_problem.items()
    ]


def curves(samplers: Mapping[str, Mapping[int, Row]], *, most_seeds: bool) -> dict[str, Array]:
    """(seeds, trials) of every sampler; on the seeds that all of them have, or on their own.

    Raises:
        AutopeftError: there is no seed that all of them have.
    """
    shared = set.intersection(*(set(by_seed) for by_seed in samplers.values()))
    if not (shared or most_seeds):
        raise AutopeftError("no seed that all samplers have: leave a file out, or --most-seeds")
    return {
        name: np.array(
            [
                [at(by_seed[seed]["curve"], n + 1) for n in range(by_seed[seed]["trials"])]
                for seed in sorted(by_seed if most_seeds else shared)
            ]
        )
        for name, by_seed in samplers.items()
    }


def _picture(problem: str, hv: Mapping[str, Array], folder: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9.0, 4.6), layout="constrained")
    names = sorted(hv, key=lambda name: -hv[name][:, -1].mean())
    looks = _looks(sorted(hv))
    for name in names:
        trials = np.arange(1, hv[name].shape[1] + 1)
        look = looks[name]
        if name in (SUBJECT, *names[:_BANDS]):
            low, high = paired.band(hv[name])
            axes.fill_between(trials, low, high, color=look["color"], alpha=0.12, linewidth=0)
        count = len(hv[name])
        label = f"{name} ({count} seed{'s' if count > 1 else ''})"
        axes.plot(trials, hv[name].mean(0), label=label, **look)
    axes.set(xlabel="trials", ylabel="hypervolume, share of the best", title=problem)
    last = max(len(curve.T) for curve in hv.values())
    axes.set_xscale("log")  # who tunes a large model has twelve
    ticks = [n for n in CHECKPOINTS if n <= last]
    axes.set_xticks(ticks, labels=[str(n) for n in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(_FROM, last)
    axes.set_ylim(min(0.4, *(c.mean(0)[_FROM - 1] for c in hv.values())) - 0.05, 1.01)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    file = folder / f"search_{problem}.png"
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
    return file


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and line of each, the engine's apart; the same for the same names."""
    others = [name for name in names if name != SUBJECT]
    found: dict[str, dict[str, Any]] = {
        name: {
            "color": _COLOURS[i % len(_COLOURS)],
            "linestyle": _STYLES[i // len(_COLOURS)],
            "linewidth": 1.5,
        }
        for i, name in enumerate(others)
    }
    return {**found, SUBJECT: {"color": _SUBJECT_COLOUR, "linestyle": "-", "linewidth": 2.4}}


if __name__ == "__main__":
    sys.exit(main())
