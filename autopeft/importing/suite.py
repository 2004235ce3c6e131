"""Results of the PEFT project's method comparison.

As its own files: a folder of JSON files with `run_info`, `train_info` and `meta_info`, one a run;
or as one file of JSON lines, a run a line, with fields of their own names and units.

Runs of different months, devices and PEFT versions differ for reasons that are not the method's
(MetaMathQA from January to July 2026: 1.65 points on every method, where two runs of one method in
one month differ with a standard deviation of 0.93), so of all that are there one batch is taken:
the largest of one task, month, device and version.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.importing.found import Found, Wanted, in_bounds

WANTED = (
    Wanted("accuracy", "test_accuracy", "maximize"),
    Wanted("adapter_bytes", "adapter_bytes", "minimize"),
)
_TEST_ROWS = {"MetaMathQA": 1319}  # the test split of GSM8K
_GIB = 2**30
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Runs that can be compared. name: task, month, device and PEFT version.

    left_out: how many runs of other batches, and without a result, there were.
    """

    name: str
    runs: tuple[Run, ...]
    left_out: int


def read_suite(path: Path) -> Batch:
    """The largest batch of a folder of result files, or of a file of JSON lines.

    Raises:
        AutopeftError: there is nothing, or what there is has another layout.
    """
    runs = _runs(path)
    batches: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        if run.get("test_accuracy") is not None and run.get("adapter_bytes"):
            month = str(run["created_at"])[:7]
            place = (run["suite"], month, run["gpu"], run["peft_version"])
            batches[tuple(map(str, place))].append(run)
    if not batches:
        raise AutopeftError(
            f"{path} has {len(runs)} runs, none of them with a test accuracy and a file size: "
            "nothing to import"
        )
    key = max(batches, key=lambda k: len(batches[k]))
    return Batch(", ".join(key), tuple(batches[key]), len(runs) - len(batches[key]))


def found_of(batch: Batch) -> list[Found]:
    """The runs of a batch, in the order of their names."""
    found = []
    for run in sorted(batch.runs, key=lambda run: str(run["experiment"])):
        try:
            found.append(_found(run))
        except (
            ArithmeticError,
            AttributeError,
            AutopeftError,
            TypeError,
            ValueError,
        ) as error:
            raise AutopeftError(
                f"run {run['experiment']!r:.80} is no result of the comparison suite: {error}"
            ) from error
    return found


def model_of(batch: Batch) -> str | None:
    """The model that the batch trained, as its runs name it."""
    for run in batch.runs:
        name = run.get("model_id") or (run["peft_config"] or {}).get("base_model_name_or_path")
        if name:
            return str(name)
    return None


def _found(run: Run) -> Found:
    accuracy = in_bounds("accuracy", float(run["test_accuracy"]), "test_accuracy")
    rows = _TEST_ROWS.get(run["suite"])
    known = {"adapter_bytes": float(run["adapter_bytes"])}
    if run.get("trainable_params"):
        known["trainable_params"] = float(run["trainable_params"])
    metrics = {"accuracy": accuracy, "train_seconds": float(run["train_seconds"])}
    if run.get("peak_memory_bytes"):
        metrics["peak_memory_gib"] = run["peak_memory_bytes"] / _GIB
    return Found(
        name=str(run["experiment"]),
        fields=run["peft_config"],
        recipe=recipe(run),
        metrics=metrics,
        known=known,
        stderr={"accuracy": (accuracy * (1 - accuracy) / rows) ** 0.5} if rows else {},
        seconds=float(run["train_seconds"]),
        step=int(run.get("max_steps") or 0),
    )


def recipe(run: Run) -> dict[str, Any]:
    """Learning rate and weight decay; an optimiser with options of its own by its name."""
    optimizer = run.get("optimizer") or {}
    found = {"weight_decay": optimizer.get("weight_decay", 0.0)}
    if "lr" in optimizer:
        found["learning_rate"] = optimizer["lr"]
    if optimizer.keys() - {"lr", "weight_decay"}:
        found["optim"] = str(run["experiment"]).rpartition("-")[2]
    return found


def _runs(path: Path) -> list[Run]:
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if path.is_dir() and not files:
        raise AutopeftError(f"{path} holds no result files (*.json) of the comparison suite")
    runs: list[Run] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            parts = text.splitlines() if file.suffix == ".jsonl" else [text]
            documents = [json.loads(part) for part in parts if part.strip()]
        except (OSError, ValueError, RecursionError) as error:
            raise AutopeftError(f"import cannot read {file}: {error}") from error
        runs += [_run(document, file) for document in documents]
    return runs


def _run(document: Any, file: Path) -> Run:
    """One run with the names of the lines' file.

    Raises:
        AutopeftError: the document is of neither layout.
    """
    try:
        if "experiment" in document:
            needed = ("suite", "created_at", "gpu", "peft_version", "test_accuracy", "peft_config")
            return {**document, **{name: document[name] for name in needed}}
        told, trained, meta = (document[f"{n}_info"] for n in ("run", "train", "meta"))
        training = told["train_config"]
        last: Sequence[Mapping[str, Any]] = trained["metrics"] or [{}]
        return {
            "experiment": told["experiment_name"],
            "suite": "MetaMathQA" if "metamath" in meta["dataset_info"] else file.parent.name,
            "created_at": told["created_at"],
            "gpu": meta["system_info"]["gpu"],
            "peft_version": meta["package_info"]["peft-version"],
            "model_id": training["model_id"],
            "test_accuracy": last[-1].get("test accuracy"),
            "peak_memory_bytes": _memory(trained),
            "train_seconds": trained["train_time"],
            "trainable_params": trained.get("num_trainable_params"),
            "adapter_bytes": trained["file_size"],
            "peft_config": told["peft_config"],
            "optimizer": training["optimizer_kwargs"],
            "max_steps": training["max_steps"],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise AutopeftError(
            f"{file.name} is no result of the comparison suite (run_info, train_info, meta_info): "
            f"{type(error).__name__}: {error}"
        ) from error


def _memory(trained: Mapping[str, Any]) -> Any:
    """Named after CUDA in the older files."""
    return trained.get("accelerator_memory_max", trained.get("cuda_memory_max"))
