"""A real search, nothing replayed, against other samplers at the same budget.

    python benchmarks/search/real_search.py run --samplers autopeft optuna.TPESampler --seeds 2
    python benchmarks/search/real_search.py confirm --seeds 3
    python benchmarks/search/real_search.py report

`run` calls `autopeft search` on real/intents.yaml, a study a sampler and seed, and appends its trials to
--out; what is there is not run again. `confirm` trains every member of their fronts at fresh seeds.
`report` prints hypervolume as a share of the box that the objectives' references and the best
values of all studies span: of the fronts as the searches saw them, and of the same configurations
by their fresh means. Uses 4 cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import lines
import numpy as np
import worker

from autopeft import build, config
from autopeft.domain.errors import AutopeftError
from autopeft.domain.objective import Objective
from autopeft.domain.pareto import Array, hypervolume
from autopeft.domain.results.front import front
from autopeft.domain.trial import Failure, Segment, State, Stop, Trial
from autopeft.home import Home

SPACE = Path(__file__).parent / "real" / "intents.yaml"
CHECKPOINTS = (12, 20, 30, 45, 60)
FRESH = 1000  # the first fresh seed
Row = Mapping[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=("run", "confirm", "report"))
    parser.add_argument("--samplers", nargs="+", default=["autopeft", "optuna.TPESampler"])
    parser.add_argument("--seeds", type=int, default=1, help="of searches, or fresh ones")
    parser.add_argument("--home", type=Path, default=Path("real-search"), help="for the studies")
    parser.add_argument("--out", type=Path, default=Path("real_search.jsonl"), help="the record")
    parser.add_argument("--workers", type=int, default=4)
    chosen = parser.parse_args()
    home = Home(chosen.home.resolve())
    try:
        match chosen.verb:
            case "run":
                for seed in range(chosen.seeds):
                    for sampler in chosen.samplers:
                        _search(home, chosen.out, sampler, seed, chosen.workers)
            case "confirm":
                seeds = range(FRESH, FRESH + chosen.seeds)
                _confirm(home, chosen.out, seeds, chosen.workers)
            case _:
                print("\n".join(_report(lines.read(chosen.out))))
    except AutopeftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _search(home: Home, out: Path, sampler: str, seed: int, workers: int) -> None:
    """One search, and its trials into the record."""
    study = f"{sampler.replace('.', '-')}-s{seed}"
    if any(row.get("study") == study for row in lines.read(out)):
        print(f"{study} is in {out} already", file=sys.stderr)
        return
    settings = {
        "study": study,
        "search.sampler": sampler,
        "search.seed": seed,
        "search.parallel": workers,
    }
    command = [str(Path(sys.executable).with_name("autopeft")), "search", str(SPACE)]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    environment = {**os.environ, "AUTOPEFT_HOME": str(home.folder)}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise AutopeftError(f"the search {study} did not end: the same command goes on with it")
    spec, _ = build.bound(config.load(SPACE))
    trials = build.open_store(home).history(study)
    members = {t.number for t in front(spec.objectives, spec.constraints, trials)}
    with lines.appending(out) as stream:
        for trial in trials:
            if trial.state is State.COMPLETED:
                values = {o.metric: trial.metrics[o.metric] for o in spec.objectives}
                row = {
                    "study": study,
                    "sampler": sampler,
                    "number": trial.number,
                    "branch": trial.configuration.branch,
                    "key": trial.configuration.key,
                    "front": trial.number in members,
                    "metrics": values,
                }
                lines.append(stream, row)


def _confirm(home: Home, out: Path, seeds: range, workers: int) -> None:
    """Train every member of the recorded fronts at these seeds, but what was already."""
    rows = lines.read(out)
    chosen = {(row["study"], row["number"]) for row in rows if row.get("front")}
    if not chosen:
        raise AutopeftError(f"{out} has no search: run first")
    store = build.open_store(home)
    members = {
        trial.configuration.key: trial
        for study in sorted({study for study, _ in chosen})
        for trial in store.history(study)
        if (study, trial.number) in chosen
    }
    have = {(row["key"], row["seed"]) for row in rows if "seed" in row}
    jobs = [(t, seed) for t in members.values() for seed in seeds]
    missing = [(t, seed) for t, seed in jobs if (t.configuration.key, seed) not in have]
    worker.one_thread()
    with lines.appending(out) as stream, ProcessPoolExecutor(workers) as pool:
        for row in pool.map(_train, *zip(*missing, strict=True)) if missing else ():
            lines.append(stream, row)


def _train(trial: Trial, seed: int) -> dict[str, object]:
    spec, _ = build.bound(config.load(SPACE))
    segment = Segment("fresh", 0, trial.configuration, seed, 0, Stop(), resume=False, last=True)
    with tempfile.TemporaryDirectory() as folder:
        result = build.make_evaluator(spec, Path(folder)).run(segment, lambda step, metrics: None)
    if isinstance(result, Failure):
        raise AutopeftError(f"trial {trial.number} failed at a fresh seed: {result.message}")
    metric = spec.objectives[0].metric
    return {"key": trial.configuration.key, "seed": seed, metric: result.metrics[metric]}


class _Told(NamedTuple):
    """Of one study: hypervolume at the checkpoints, of its front by fresh means, the best mean."""

    seen: Sequence[float]
    again: float
    best: float


def _report(rows: Sequence[Row]) -> Iterator[str]:
    """A line a sampler, of the means of its studies, and one a study."""
    objectives = config.load(SPACE).objectives
    studies: dict[str, list[Row]] = defaultdict(list)
    fresh: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if "study" in row:
            studies[row["study"]].append(row)
        else:
            fresh[row["key"]].append(row[objectives[0].metric])
    if not studies:
        raise AutopeftError("the record has no search: run first")
    best = np.max([_scores(objectives, rows).max(axis=0) for rows in studies.values()], axis=0)
    reference = np.array([o.transform(o.reference or 0.0) for o in objectives])
    if not (best > reference).all():
        raise AutopeftError("no run of the record is better than the objectives' references")
    told = {
        study: _told(objectives, rows, (reference, best), fresh) for study, rows in studies.items()
    }
    yield f"| study | {' | '.join(map(str, CHECKPOINTS))} | front, fresh seeds | best, fresh mean |"
    yield "|---" * (len(CHECKPOINTS) + 3) + "|"
    samplers = sorted({rows[0]["sampler"] for rows in studies.values()})
    for sampler in samplers:
        own = [told[s] for s, rows in sorted(studies.items()) if rows[0]["sampler"] == sampler]
        means = np.mean([[*t.seen, t.again, t.best] for t in own], axis=0)
        yield _line(f"**{sampler}** ({len(own)})", means)
    for study in sorted(told):
        yield _line(study, [*told[study].seen, told[study].again, told[study].best])


def _line(name: str, values: Sequence[float] | Array) -> str:
    return f"| {name} | {' | '.join('-' if np.isnan(v) else f'{v:.3f}' for v in values)} |"


def _told(
    objectives: Sequence[Objective],
    rows: Sequence[Row],
    box: tuple[Array, Array],
    fresh: Mapping[str, Sequence[float]],
) -> _Told:
    """box: the (m,) scores of its two corners."""
    reference, best = box

    def share(Y: Array) -> float:
        return hypervolume((Y - reference) / (best - reference), np.zeros(len(best)))

    Y = _scores(objectives, rows)
    seen = [share(Y[:n]) for n in CHECKPOINTS]
    members = [row for row in rows if row["front"]]
    if any(row["key"] not in fresh for row in members):
        return _Told(seen, np.nan, np.nan)
    Y = _scores(objectives, members)
    means = [float(np.mean(fresh[row["key"]])) for row in members]
    Y[:, 0] = means
    return _Told(seen, share(Y), max(means))


def _scores(objectives: Sequence[Objective], rows: Sequence[Row]) -> Array:
    """(n, m) on the objectives' declared scales, every column maximised."""
    return np.array([[o.score(row["metrics"]) for o in objectives] for row in rows])


if __name__ == "__main__":
    sys.exit(main())
