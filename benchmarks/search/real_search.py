"""A real search, nothing replayed, against other samplers at the same budget.

    python benchmarks/search/real_search.py run --samplers autopeft optuna.TPESampler --seeds 2
    python benchmarks/search/real_search.py confirm --seeds 3
    python benchmarks/search/real_search.py report

`run` calls `autopeft search` on real/intents.yaml, a study a sampler and seed; what is finished is not run
again. `confirm` trains every member of their fronts at fresh seeds. `report` prints hypervolume as
a share of the box that the objectives' references and the best values of all studies span: of the
fronts as the searches saw them, and of the same configurations by their fresh means. Uses 4 cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lines
import numpy as np
import worker

from autopeft import build, config
from autopeft.domain.front import front, outcomes
from autopeft.domain.pareto import Array, hypervolume
from autopeft.domain.trial import Failure, Segment, State, Stop, Trial
from autopeft.home import Home

SPACE = Path(__file__).parent / "real" / "intents.yaml"
CHECKPOINTS = (12, 20, 30, 45, 60)
FRESH = 1000  # the first fresh seed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=("run", "confirm", "report"))
    parser.add_argument("--samplers", nargs="+", default=["autopeft", "optuna.TPESampler"])
    parser.add_argument("--seeds", type=int, default=1, help="of searches, or fresh ones")
    parser.add_argument("--home", type=Path, default=Path("real-search"), help="for the studies")
    parser.add_argument("--workers", type=int, default=4)
    chosen = parser.parse_args()
    home = Home(chosen.home.resolve())
    if chosen.verb == "run":
        return max(
            _search(home, sampler, seed, chosen.workers)
            for seed in range(chosen.seeds)
            for sampler in chosen.samplers
        )
    studies = dict(_studies(home))
    if not studies:
        print(f"error: no finished study in {home.folder}: run first", file=sys.stderr)
        return 2
    if chosen.verb == "confirm":
        _confirm(home, studies, range(FRESH, FRESH + chosen.seeds), chosen.workers)
    else:
        print("\n".join(_report(home, studies)))
    return 0


def _search(home: Home, sampler: str, seed: int, workers: int) -> int:
    settings = {
        "study": f"{sampler.replace('.', '-')}-s{seed}",
        "search.sampler": sampler,
        "search.seed": seed,
        "search.parallel": workers,
    }
    command = [str(Path(sys.executable).with_name("autopeft")), "search", str(SPACE)]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    environment = {**os.environ, "AUTOPEFT_HOME": str(home.folder)}
    return subprocess.run(command, env=environment, check=False).returncode


def _studies(home: Home) -> Iterator[tuple[str, tuple[Trial, ...]]]:
    store = build.open_store(home)
    for record in store.studies():
        if record.state == "finished":
            yield record.name, store.history(record.name)


def _confirm(home: Home, studies: dict[str, tuple[Trial, ...]], seeds: range, workers: int) -> None:
    spec, _ = build.bound(config.load(SPACE))
    members = {
        trial.configuration.key: trial
        for trials in studies.values()
        for trial in front(spec.objectives, spec.constraints, trials)
    }
    file = home.folder / "confirmed.jsonl"
    have = {(row["key"], row["seed"]) for row in lines.read(file)}
    jobs = [(t, seed) for t in members.values() for seed in seeds]
    missing = [(t, seed) for t, seed in jobs if (t.configuration.key, seed) not in have]
    worker.one_thread()
    with lines.appending(file) as stream, ProcessPoolExecutor(workers) as pool:
        for row in pool.map(_train, *zip(*missing, strict=True)) if missing else ():
            lines.append(stream, row)


def _train(trial: Trial, seed: int) -> dict[str, object]:
    spec, _ = build.bound(config.load(SPACE))
    segment = Segment("fresh", 0, trial.configuration, seed, 0, Stop(), resume=False, last=True)
    with tempfile.TemporaryDirectory() as folder:
        result = build.make_evaluator(spec, Path(folder)).run(segment, lambda step, metrics: None)
    if isinstance(result, Failure):
        raise RuntimeError(f"trial {trial.number} failed at a fresh seed: {result.message}")
    return {"key": trial.configuration.key, "seed": seed, "metrics": dict(result.metrics)}


def _report(home: Home, studies: dict[str, tuple[Trial, ...]]) -> Iterator[str]:
    spec, _ = build.bound(config.load(SPACE))
    objectives = spec.objectives
    reference = np.array([o.transform(o.reference or 0.0) for o in objectives])
    done = {
        name: [t for t in trials if t.state is State.COMPLETED] for name, trials in studies.items()
    }
    best = np.max([outcomes(objectives, trials).max(axis=0) for trials in done.values()], axis=0)

    def share(Y: Array) -> float:
        return hypervolume((Y - reference) / (best - reference), np.zeros(len(best)))

    file = home.folder / "confirmed.jsonl"
    fresh: dict[str, list[float]] = {}
    for row in lines.read(file):
        fresh.setdefault(row["key"], []).append(row["metrics"][objectives[0].metric])

    yield f"| study | {' | '.join(map(str, CHECKPOINTS))} | front, fresh seeds | best, fresh mean |"
    yield "|---" * (len(CHECKPOINTS) + 3) + "|"
    for name, trials in sorted(done.items()):
        seen = [share(outcomes(objectives, trials[:n])) for n in CHECKPOINTS]
        members = front(objectives, spec.constraints, trials)
        again, top = "-", "-"
        if all(t.configuration.key in fresh for t in members):
            means = [float(np.mean(fresh[t.configuration.key])) for t in members]
            Y = outcomes(objectives, members)
            Y[:, 0] = means
            again, top = f"{share(Y):.3f}", f"{max(means):.3f}"
        yield f"| {name} | {' | '.join(f'{v:.3f}' for v in seen)} | {again} | {top} |"


if __name__ == "__main__":
    sys.exit(main())
