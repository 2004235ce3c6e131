"""Hypervolume of the search against random search on the quickstart's space.

    python benchmarks/search_vs_random.py record --configurations 150 --workers 4
    python benchmarks/search_vs_random.py replay --trials 18 --seeds 5

`record` trains random configurations of the space in full, and the baselines beside them, into a
table (JSON lines; what is there already is not trained again). `replay` lets both samplers choose
from that table, without replacement, so that five paired seeds cost minutes instead of hours. The
table is finite: random search cannot miss a good region by much, so the difference is a lower
bound on that of real searches.

Both searches of a pair start with the same baseline trials, counted in the budget. Hypervolume has
one reference for all: the worst recorded baseline of a measured objective, the worst recorded
configuration of a known one; it is divided by that of the whole table. The interval is a paired
bootstrap over seeds (95 %, 10,000 draws).
"""

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autopeft import build
from autopeft.config import load
from autopeft.domain.architecture import Configuration
from autopeft.domain.pareto import hypervolume
from autopeft.domain.ports import Evaluator, Problem
from autopeft.domain.results.front import outcomes, reference_point
from autopeft.domain.space import Branch, Choice, Point, Space
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, Rung, Segment, Stop, Trial
from autopeft.search import make_sampler

SPACE = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"
TABLE = Path(__file__).with_name("quickstart_table.jsonl")
_BASELINE_ROWS = 6

_evaluator: Evaluator | None = None  # one per worker process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", type=Path, default=SPACE)
    parser.add_argument("--table", type=Path, default=TABLE)
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record")
    recording.add_argument("--configurations", type=int, default=150)
    recording.add_argument("--workers", type=int, default=4)
    replaying = verbs.add_parser("replay")
    replaying.add_argument("--trials", type=int, default=18)
    replaying.add_argument("--seeds", type=int, default=5)
    replaying.add_argument("--sampler", default="autopeft")
    arguments = parser.parse_args()
    spec, shape = build.bound(load(arguments.space))
    problem = build.problem(spec, shape)
    if arguments.verb == "record":
        record(arguments.space, spec, problem, arguments.table, arguments)
    else:
        replay(problem, _read(arguments.table), arguments)


def record(
    space: Path, spec: StudySpec, problem: Problem, table: Path, arguments: argparse.Namespace
) -> None:
    """Train what the table lacks; every result is written when it is there."""
    have = {_trial(problem, row, 0).configuration.key for row in _read(table)}
    wanted = list(_draws(problem, arguments.configurations))
    missing = [(p, c) for p, c in wanted if c.key not in have]
    segments = [
        (dict(point), Segment("benchmark", i, c, spec.search.seed, 0, Stop(), False, True))
        for i, (point, c) in enumerate(missing)
    ]
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        context.Pool(arguments.workers, initializer=_start, initargs=(space, Path(folder))) as pool,
        table.open("a") as file,
    ):
        for i, row in enumerate(pool.imap_unordered(_train, segments)):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{i + 1}/{len(segments)} {row['metrics'] or row['failure']}", flush=True)


def _draws(problem: Problem, count: int) -> Iterator[tuple[Point, Configuration]]:
    """Baselines first, then different random configurations of the branches to search."""
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    for space, rows in (
        (Space(problem.space.baselines), _BASELINE_ROWS * len(problem.space.baselines)),
        (Space(problem.space.searched), count),
    ):
        offered, found, tries = replace(problem, space=space), 0, 0
        while found < rows and tries < 100 * rows:
            tries += 1
            point = space.draw(rng)
            configuration = offered.admissible(point)
            if configuration is not None and configuration.key not in seen:
                seen.add(configuration.key)
                found += 1
                yield point, configuration


def _start(space: Path, folder: Path) -> None:
    global _evaluator
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    spec, _ = build.bound(load(space))
    _evaluator = build.make_evaluator(spec, folder)


def _train(task: tuple[Mapping[str, Any], Segment]) -> dict[str, Any]:
    point, segment = task
    assert _evaluator is not None
    result = _evaluator.run(segment, lambda step, metrics: None)
    failed = isinstance(result, Failure)
    return {
        "point": point,
        "configuration": segment.configuration.document(),
        "step": 0 if failed else result.step,
        "metrics": {} if failed else dict(result.metrics),
        "stderr": {} if failed else dict(result.stderr),
        "failure": result.message if failed else None,
    }


def _read(table: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []


def _trial(problem: Problem, row: Mapping[str, Any], number: int) -> Trial:
    configuration = Configuration.from_document(row["configuration"])
    known = problem.known(configuration.architecture)
    baseline = problem.space[configuration.branch].baseline
    return Trial(number, configuration, 0, row["point"], known, baseline=baseline)


def _told(trial: Trial, row: Mapping[str, Any]) -> Trial:
    return trial.advanced(Rung(0, row["step"], row["metrics"], row["stderr"]), last=True)


def replay(
    problem: Problem, table: Sequence[Mapping[str, Any]], arguments: argparse.Namespace
) -> None:
    """Run both samplers over the table at each seed and print the difference."""
    rows = [row for row in table if not row["failure"]]
    trials = [_told(_trial(problem, row, i), row) for i, row in enumerate(rows)]
    reference = reference_point(problem.objectives, trials)
    whole = hypervolume(outcomes(problem.objectives, trials), reference)
    pairs = []
    for seed in range(arguments.seeds):
        pair = []
        for name in (arguments.sampler, "random"):
            history = _search(problem, trials, name, arguments.trials, seed)
            pair.append(hypervolume(outcomes(problem.objectives, history), reference) / whole)
        pairs.append(pair)
        print(f"seed {seed}: {arguments.sampler} {pair[0]:.3f}, random {pair[1]:.3f}", flush=True)
    ours, chance = np.array(pairs).T
    low, high = _interval(ours - chance)
    print(
        f"{arguments.trials} trials of {len(trials)} recorded, {arguments.seeds} seeds: "
        f"{arguments.sampler} {ours.mean():.3f}, random {chance.mean():.3f}, "
        f"difference {np.mean(ours - chance):+.3f} [{low:+.3f}, {high:+.3f}]"
    )


def _search(
    problem: Problem, trials: Sequence[Trial], name: str, count: int, seed: int
) -> list[Trial]:
    by_branch: dict[str, list[Trial]] = {}
    for trial in trials:
        by_branch.setdefault(trial.configuration.branch, []).append(trial)
    baselines = [trial for trial in trials if trial.baseline]
    rng = np.random.default_rng(seed)
    first = rng.permutation(len(baselines))[: max(1, count // len(problem.space.branches))]
    history = [replace(baselines[i], number=n, point={}) for n, i in enumerate(first)]
    offered = _over_table(problem, by_branch)
    sampler = make_sampler(name, {"budget": count} if name == "autopeft" else {})
    while len(history) < count:
        point = sampler.suggest(offered, history, seed=1000 * seed + len(history)).point
        found = by_branch[point["branch"]][point["row"]]
        history.append(replace(found, number=len(history), point=point))
    return history


def _over_table(problem: Problem, by_branch: Mapping[str, Sequence[Trial]]) -> Problem:
    """The problem whose points are the rows of the table: the sampler still sees configurations."""
    branches = tuple(
        Branch(branch.name, {"row": Choice(tuple(range(len(by_branch[branch.name]))))})
        for branch in problem.space.searched
        if branch.name in by_branch
    )
    return replace(
        problem,
        space=Space(branches),
        configure=lambda point: by_branch[point["branch"]][point["row"]].configuration,
    )


def _interval(differences: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    draws = rng.choice(differences, (10_000, len(differences))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
