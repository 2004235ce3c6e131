"""The study that the load benchmarks run, and the same search by plain Ray Tune with Optuna."""

import json
import os
import time
from pathlib import Path
from typing import Any

import objective

HERE = Path(__file__).parent
_LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
}


class Maker:
    """Makes an evaluator on a worker, where this folder is no place to import from by itself."""

    def __init__(self, kind: Any, *arguments: Any) -> None:
        self._kind, self._arguments = kind, arguments

    def __call__(self) -> Any:
        return self._kind(*self._arguments)


def write(folder: Path) -> Path:
    """space.yaml with its evaluator and its model's config in a folder of their own."""
    for name in ("space.yaml", "objective.py"):
        (folder / name).write_text((HERE / name).read_text())
    (folder / "llama").mkdir(exist_ok=True)
    (folder / "llama" / "config.json").write_text(json.dumps(_LLAMA))
    return folder / "space.yaml"


def opened(
    folder: Path, trials: int, sampler: str = "random", *, parallel: int = 1, url: str = ""
) -> tuple[Any, Any, Any]:
    """(bound spec, store, problem) of a new study."""
    from autopeft import build, entry
    from autopeft.config import load
    from autopeft.store import SqlStore

    changes = [
        f"budget.trials={trials}",
        f"search.sampler={sampler}",
        f"search.parallel={parallel}",
    ]
    spec = load(write(folder), changes)
    store = SqlStore(url or f"sqlite:///{folder / 'autopeft.db'}")
    entry.enter(spec, store)
    spec, shape = build.bound(spec)
    return spec, store, build.problem(spec, shape)


def plain_tune(folder: Path, trials: int, workers: int, seconds: float) -> list[Any]:
    """Ray Tune with OptunaSearch (TPE, two objectives), as its documentation has it."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def evaluate(config: dict[str, Any]) -> dict[str, Any]:
        began = time.time()
        time.sleep(seconds)
        size = config["layers"] * config["r"] * config["targets"]
        value, _ = measured(config["learning_rate"], config["epochs"], size, 0)
        return {
            "accuracy": value,
            "adapter_params": float(size),
            "worker": str(os.getpid()),
            "began": began,
            "ended": time.time(),
        }

    measured = objective.measured
    space = {
        "layers": tune.choice(list(objective.LAYERS)),
        "r": tune.choice(list(objective.RANKS)),
        "targets": tune.choice(list(objective.TARGETS)),
        "learning_rate": tune.loguniform(1e-5, 1e-2),
        "epochs": tune.quniform(1, 5, 0.5),
    }
    tuner = tune.Tuner(
        tune.with_resources(evaluate, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric=["accuracy", "adapter_params"], mode=["max", "min"]),
            num_samples=trials,
            max_concurrent_trials=workers,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(folder), verbose=0),
    )
    results = [result.metrics for result in tuner.fit()]
    return [(r["worker"], r["began"], r["ended"]) for r in results]


def fill(store: Any, spec: Any, problem: Any, trials: int) -> None:
    """Completed trials as a random search leaves them, 500 a commit."""
    import numpy as np

    from autopeft.domain.trial import Rung, State, Trial
    from autopeft.orchestrator import events

    rng, found, keys = np.random.default_rng(0), list[Any](), set()
    while len(found) < trials:
        point = problem.space.draw(rng)
        configuration = problem.configure(point)
        if configuration.key in keys:
            continue
        keys.add(configuration.key)
        size = sum(m.size * len(m.targets) for m in configuration.architecture.modules)
        recipe = configuration.recipe
        value, error = objective.measured(
            recipe["learning_rate"], recipe["num_train_epochs"], size, 0
        )
        at = 1e9 + len(found)
        found.append(
            Trial(
                number=len(found),
                configuration=configuration,
                seed=0,
                point=point,
                known=problem.known(configuration.architecture),
                why="branch lora: random",
                state=State.COMPLETED,
                rungs=(Rung(0, 1, {"accuracy": value}, {"accuracy": error}, 1.0, at, at + 1, "w"),),
                created=at,
                provenance={"seed": 0},
            )
        )
    for start in range(0, trials, 500):
        some = found[start : start + 500]
        store.commit(spec.name, some, [events.trial_started(trial) for trial in some])
