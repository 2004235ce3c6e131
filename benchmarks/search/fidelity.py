"""What rungs save, on real trainings that were recorded with their rungs.

    python benchmarks/search/fidelity.py run --problems sst2 suite --samplers autopeft random \\
        --trials 30 --out rungs.jsonl
    python benchmarks/search/fidelity.py run --problems sst2 --steps 30 --out rungs.jsonl
    python benchmarks/search/fidelity.py report rungs.jsonl

`run` appends one JSON line a search, driven by the product's own session: of so many trials, or of
the training steps of so many full runs. Rules: `none` has no rungs; `rank` is asynchronous halving
by the results at a rung; `forecast` asks the `autopeft` sampler how trials will end, also where
another sampler suggests. Seed s is seed s of the search and says which of a row's runs is shown.
`report` prints markdown: hypervolume of the true final values of the front that is handed over, as a
share of the table's.
"""

import argparse
import heapq
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import ladders
import lines
import numpy as np
import simulate
from ladders import Ladder
from table import TABLES
from verbs import obey, verbs

from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Forecaster, Problem, Sampler, StudyRecord, Suggestion
from autopeft.domain.results.front import front
from autopeft.domain.study import Budget, Rungs
from autopeft.domain.trial import Result, Segment, State, Trial
from autopeft.orchestrator.session import StudySession

RULES = ("none", "rank", "forecast")
_SHARES = (1 / 5, 1 / 3, 1 / 2, 2 / 3, 1.0)  # of the steps of a search without rungs
_ENOUGH = 0.98  # of its hypervolume
_ROUNDED = 1e-4  # of what a line says was spent
_TOLD = 100  # trials that the forecasting sampler is told, where another suggests
Row = Mapping[str, Any]


class Search(NamedTuple):
    """What a line of the results is the result of.

    trials: how many, or 0; full: otherwise, the full runs whose steps may be spent.
    eta: 0 without rungs.
    """

    problem: str
    sampler: str
    workers: int
    trials: int
    full: int
    rule: str
    eta: float
    seed: int


def identity(row: Row) -> Search:
    return Search(*(row[name] for name in Search._fields))


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    return obey(chosen, run, report)


def _parser() -> argparse.ArgumentParser:
    parser, running, _ = verbs(__doc__)
    running.add_argument("--problems", nargs="+", default=["sst2", "suite"], metavar="NAME")
    running.add_argument("--samplers", nargs="+", default=["autopeft"], metavar="NAME")
    running.add_argument("--rules", nargs="+", default=RULES, choices=RULES)
    running.add_argument("--eta", nargs="+", type=float, default=[2.0, 3.0, 4.0])
    running.add_argument("--seeds", type=int, default=10, help="(%(default)s)")
    running.add_argument("--workers", type=int, default=1, help="simulated (%(default)s)")
    budget = running.add_mutually_exclusive_group(required=True)
    budget.add_argument("--trials", type=int, default=0, help="of a search")
    budget.add_argument("--steps", type=int, default=0, help="of a search, in full runs")
    running.add_argument("--tables", type=Path, default=TABLES, help="folder (%(default)s)")
    return parser


def run(chosen: argparse.Namespace) -> None:
    """Search what the results lack."""
    rules = [(rule, eta if rule != "none" else 0.0) for rule in chosen.rules for eta in chosen.eta]
    wanted = [
        Search(problem, sampler, chosen.workers, chosen.trials, chosen.steps, rule, eta, seed)
        for problem, sampler, (rule, eta), seed in product(
            chosen.problems, chosen.samplers, rules, range(chosen.seeds)
        )
    ]
    with lines.appending(chosen.out) as stream:
        have = {identity(row) for row in lines.read(chosen.out)}
        missing = [search for search in dict.fromkeys(wanted) if search not in have]
        for i, search in enumerate(missing, start=1):
            row = searched(ladders.make(search.problem, chosen.tables), search)
            lines.append(stream, {**row, "code": simulate.code()})
            print(f"{i}/{len(missing)} {search}: {row['curve'][-1]}", file=sys.stderr, flush=True)


def searched(ladder: Ladder, wanted: Search) -> dict[str, Any]:
    """Run one search.

    Returns:
        Its line of the results. curve: (full runs spent, hypervolume) after every told segment.
    """
    landscape, stops = ladder.landscape, ladder.stops
    rungs = None if wanted.rule == "none" else Rungs("steps", stops[:-1], wanted.eta)
    # A step takes a second, on the one core of a trial: so the product's own budget counts steps.
    hours = wanted.full * stops[-1] / 3600 if wanted.full else None
    spec = simulate.spec_of(
        landscape, wanted.seed, Budget(wanted.trials or None, gpu_hours=hours), rungs
    )
    now, spent = 0.0, 0
    session = StudySession(
        spec,
        problem=landscape.problem,
        store=simulate.NoStore(StudyRecord(spec.name, {}, "", 0.0, "running")),
        sampler=_ruled(wanted),
        clock=lambda: now,
    )
    running: list[tuple[float, int, int, int, Segment]] = []
    curve: list[tuple[float, float]] = []
    while True:
        while len(running) < wanted.workers and (segment := session.ask()) is not None:
            rung = len(stops) - 1 if segment.last else segment.rung
            steps = stops[rung] - (stops[segment.rung - 1] if segment.resume else 0)
            heapq.heappush(running, (now + steps, segment.trial, rung, steps, segment))
        if not running:
            break
        now, _, rung, steps, segment = heapq.heappop(running)
        metrics, stderr = ladder.told(segment.configuration, wanted.seed, rung)
        session.tell(segment, Result(stops[rung], metrics, stderr, seconds=float(steps), ended=now))
        spent += steps
        chosen = front(spec.objectives, spec.constraints, session.trials)
        share = landscape.share(landscape.scores(chosen)) if chosen else 0.0
        curve.append((round(spent / stops[-1], 4), round(share, 4)))
    ended = sum(trial.state is State.COMPLETED for trial in session.trials)
    return {**wanted._asdict(), "told": len(session.trials), "ended": ended, "curve": curve}


def _ruled(wanted: Search) -> Sampler:
    sampler = simulate.sampler_of(wanted.sampler, wanted.trials or wanted.full)
    if wanted.rule != "forecast":
        return _Silent(sampler)
    if isinstance(sampler, Forecaster):
        return sampler
    other = simulate.sampler_of("autopeft", _TOLD)
    assert isinstance(other, Forecaster)
    return _Advised(sampler, other)


@dataclass(frozen=True)
class _Silent:
    """A sampler that forecasts nothing."""

    sampler: Sampler

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        return self.sampler.suggest(problem, history, seed=seed)


@dataclass(frozen=True)
class _Advised(_Silent):
    """A sampler, with another one's forecasts."""

    other: Forecaster

    def forecasts(self, problem: Problem) -> bool:
        return self.other.forecasts(problem)

    def promises(
        self, problem: Problem, history: Sequence[Trial], paused: Sequence[Trial]
    ) -> Sequence[float]:
        return self.other.promises(problem, history, paused)


def report(rows: Sequence[Row]) -> str:
    """Markdown: a table for every problem, sampler, budget and number of workers.

    Raises:
        AutopeftError: there are no results, or none without rungs to compare with.
    """
    groups: dict[tuple[Any, ...], dict[tuple[str, float], dict[int, Row]]] = {}
    for row in rows:
        search = identity(row)
        group = groups.setdefault(search[:5], {})
        group.setdefault((search.rule, search.eta), {})[search.seed] = row
    if not groups or any(("none", 0.0) not in group for group in groups.values()):
        raise AutopeftError("report compares with rule none, got no result of it: run it too")
    return "\n\n".join("\n".join(_table(*key, group)) for key, group in groups.items())


def _table(
    problem: str,
    sampler: str,
    workers: int,
    trials: int,
    full: int,
    group: Mapping[tuple[str, float], Mapping[int, Row]],
) -> Iterator[str]:
    """A line a rule, on the seeds that all of them have."""
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in group.values())))
    budget = f"{trials} trials" if trials else f"the steps of {full} full runs"
    yield f"### {problem}, {sampler}: {budget}, {workers} workers, {len(seeds)} seeds"
    yield ""
    shares = " | ".join(f"{share:.0%}" for share in _SHARES)
    yield f"| rule | started, ended | at {shares} of its steps | in the end | over none, paired | steps | {_ENOUGH:.0%} of none at |"
    yield "|---" * (len(_SHARES) + 6) + "|"
    plain = [group["none", 0.0][seed]["curve"] for seed in seeds]
    whole = float(np.mean([curve[-1][0] for curve in plain]))
    target = _ENOUGH * float(np.mean([curve[-1][1] for curve in plain]))
    for (rule, eta), by_seed in sorted(group.items(), key=lambda item: RULES.index(item[0][0])):
        found = [by_seed[seed] for seed in seeds]
        curves = [row["curve"] for row in found]
        at = " | ".join(f"{np.mean(_at(curves, share * whole)):.3f}" for share in _SHARES)
        end = np.array([curve[-1][1] for curve in curves])
        lead = end - [curve[-1][1] for curve in plain]
        counts = ", ".join(f"{np.mean([row[key] for row in found]):.1f}" for key in _COUNTS)
        steps = float(np.mean([curve[-1][0] for curve in curves])) / whole
        name = rule if rule == "none" else f"{rule}, eta {eta:g}"
        yield (
            f"| {name} | {counts} | {at} | {_with_error(end, '.3f')} | {_with_error(lead, '+.3f')} "
            f"| {steps:.3f} | {_reached(curves, target, whole)} |"
        )


_COUNTS = ("told", "ended")


def _at(curves: Sequence[Sequence[tuple[float, float]]], spent: float) -> list[float]:
    """Of every search, the hypervolume when so many full runs were spent."""
    told = ([0.0, *(y for x, y in curve if x <= spent + _ROUNDED)] for curve in curves)
    return [values[-1] for values in told]


def _reached(curves: Sequence[Sequence[tuple[float, float]]], target: float, whole: float) -> str:
    """The share of the steps from which on the mean curve stays at the target."""
    spent = sorted({x for curve in curves for x, _ in curve})
    below = [x for x in spent if np.mean(_at(curves, x)) < target]
    after = [x for x in spent if not below or x > below[-1]]
    return f"{after[0] / whole:.2f}" if after else "-"


def _with_error(values: np.ndarray, form: str) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():{form}} ± {error:.3f}"


if __name__ == "__main__":
    sys.exit(main())
