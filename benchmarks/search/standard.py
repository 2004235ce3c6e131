"""BoTorch's test functions of two objectives, for plain correctness of the engine's general part.

    python benchmarks/search/standard.py run --seeds 3 --trials 60 --out standard.jsonl
    python benchmarks/search/compare.py report standard.jsonl

They have no adapters, so the engine searches them as Optuna's sampler class (`as_optuna`), against
Optuna's own. A line of the results is one of `compare`'s; hypervolume is that of the feasible
values, of which there is no noise, from BoTorch's reference point, over BoTorch's maximum.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import lines
import numpy as np
import optuna
import simulate
from summary import CHECKPOINTS, Search, at, identity
from verbs import obey

from autopeft.domain.errors import AutopeftError
from autopeft.domain.pareto import Array, hypervolume
from autopeft.search.as_optuna import AutoPEFTSampler

# name: (BoTorch's class, inputs)
PROBLEMS = {
    "BraninCurrin": ("BraninCurrin", None),
    "ZDT1": ("ZDT1", 6),
    "ZDT2": ("ZDT2", 6),
    "DTLZ2": ("DTLZ2", 6),
    "C2DTLZ2": ("C2DTLZ2", 6),
}
_OBJECTIVES = 2
_OPTIONS = {"TPESampler": {"multivariate": True}, "NSGAIISampler": {"population_size": 16}}
SAMPLERS = (
    "autopeft.AutoPEFTSampler",
    "optuna.RandomSampler",
    "optuna.TPESampler",
    "optuna.GPSampler",
)
_END = 5


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    running = parser.add_subparsers(dest="verb", required=True).add_parser("run")
    running.add_argument("--problems", nargs="+", default=tuple(PROBLEMS), choices=PROBLEMS)
    running.add_argument("--samplers", nargs="+", default=SAMPLERS, metavar="NAME")
    running.add_argument("--seeds", type=int, default=3)
    running.add_argument("--trials", type=int, default=60)
    running.add_argument("--out", type=Path, required=True)
    return obey(parser.parse_args(arguments), run, lambda rows: "")


def run(chosen: argparse.Namespace) -> None:
    """Search what the results lack."""
    for name in chosen.samplers:
        sampler_of(name, 0)
    simulate.start()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with lines.appending(chosen.out) as stream:
        have = {identity(row) for row in lines.read(chosen.out)}
        for problem, seed, name in product(chosen.problems, range(chosen.seeds), chosen.samplers):
            search = Search(problem, name, seed, 1, chosen.trials)
            if search not in have:
                row = searched(search)
                lines.append(stream, {**row, "code": simulate.code()})
                told = f"{row['curve'][-1]:.3f}, {row['cpu_s']:.3f} s a suggestion"
                print(f"{problem} {name} seed {seed}: {told}", file=sys.stderr, flush=True)


def searched(search: Search) -> dict[str, Any]:
    """Run one search; its line of the results."""
    function = function_of(search.problem)
    study = optuna.create_study(
        directions=["maximize"] * _OBJECTIVES, sampler=sampler_of(search.sampler, search.seed)
    )
    best = float(function._max_hv)
    reference = function.ref_point.numpy()
    feasible: list[Array] = []
    curve: list[float] = []
    cpu_s: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(search.trials):
            began = time.process_time()
            trial = study.ask()
            x = [
                trial.suggest_float(f"x{i}", low, high)
                for i, (low, high) in enumerate(function.bounds.T.tolist())
            ]
            cpu_s.append(time.process_time() - began)
            scores, broken = evaluated(function, x)
            if broken is not None:
                trial.set_constraint("slack", broken)
            study.tell(trial, scores.tolist())
            if broken is None or broken <= 0:
                feasible.append(scores)
            known = np.array(feasible).reshape(-1, _OBJECTIVES)
            curve.append(hypervolume(known, reference) / best)
    return {
        **search._asdict(),
        "told": len(curve),
        "hypervolume": {n: round(at(curve, n), 6) for n in CHECKPOINTS if n <= search.trials},
        "curve": [round(value, 6) for value in curve],
        "found": [round(value, 6) for value in curve],
        "cpu_s": round(float(np.mean(cpu_s)), 6),
        "cpu_s_end": round(float(np.mean(cpu_s[-_END:])), 6),
    }


def function_of(name: str) -> Any:
    """BoTorch's test function, negated: every objective is maximised."""
    from botorch.test_functions import multi_objective

    kind, inputs = PROBLEMS[name]
    made = getattr(multi_objective, kind)
    if inputs is None:
        return made(negate=True)
    return made(dim=inputs, num_objectives=_OBJECTIVES, negate=True)


def evaluated(function: Any, x: Sequence[float]) -> tuple[Array, float | None]:
    """(2,) scores, and by how much the constraint is broken; None: there is no constraint."""
    import torch

    X = torch.tensor([x], dtype=torch.float64)
    scores = function(X)[0].numpy()
    if not hasattr(function, "evaluate_slack"):
        return scores, None
    return scores, -float(function.evaluate_slack(X).min())


def sampler_of(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """A sampler of Optuna at its best options, or the engine as one.

    Raises:
        AutopeftError: no such sampler.
    """
    if name == SAMPLERS[0]:
        return AutoPEFTSampler(seed=seed)
    kind = name.removeprefix("optuna.")
    if kind == name or not hasattr(optuna.samplers, kind):
        raise AutopeftError(f"--samplers takes {', '.join(SAMPLERS)}, got {name!r}: correct it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(optuna.samplers, kind)(seed=seed, **_OPTIONS.get(kind, {}))


if __name__ == "__main__":
    sys.exit(main())
