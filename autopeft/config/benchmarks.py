"""`data: {glue: rte}`: a task of GLUE or SuperGLUE, as the data that it stands for."""

from collections.abc import Mapping
from typing import Any

from autopeft.config.tree import Complain, told
from autopeft.domain.benchmarks import BENCHMARKS, BenchmarkTask
from autopeft.domain.nearest import nearest
from autopeft.domain.space import Json
from autopeft.domain.tasks import SINGLE_LABEL

_SET = ("train", "validation", "columns")


def expand_benchmark(
    data: Mapping[str, Any], model: Mapping[str, Any], complain: Complain
) -> dict[str, Any]:
    """The `data:` that `glue` or `super_glue` stands for; without them, as it is.

    `path` names a copy of the benchmark, a folder with a folder for each task.
    """
    key = next((key for key in BENCHMARKS if key in data), None)
    if key is None:
        return dict(data)
    task, rest = _task(key, data, complain), {k: v for k, v in data.items() if k != key}
    path = rest.pop("path", BENCHMARKS[key].path)
    for name in _SET:
        if name in rest:
            complain(f"data.{name}", f"{key} sets {name} itself", f"remove it, or {key}")
    if not isinstance(path, str) or not path:
        complain("data.path", f"takes a folder or a hub name, got {told(path)}", "remove it")
    if task is None or not isinstance(path, str):
        return {}  # what is wrong has been said
    _check_model(f"{key} {data[key]}", task, model, complain)
    source = {"path": path, "name": data[key]}
    return {
        **rest,
        "train": {**source, "split": "train"},
        "validation": {**source, "split": task.validation},
        "columns": {**task.columns, "label": "label"},
    }


def benchmark_objectives(data: Mapping[str, Any]) -> list[Json] | None:
    """What a file without objectives asks of a benchmark: its metric, and a small adapter."""
    for key, benchmark in BENCHMARKS.items():
        name = data.get(key)
        if isinstance(name, str) and name in benchmark.tasks:
            metric = benchmark.tasks[name].metrics[0]
            return [{"metric": metric}, {"metric": "adapter_params", "scale": "log"}]
    return None


def _task(key: str, data: Mapping[str, Any], complain: Complain) -> BenchmarkTask | None:
    benchmark, name = BENCHMARKS[key], data[key]
    found = benchmark.tasks.get(name) if isinstance(name, str) else None
    if found is not None:
        return found
    known = f"one of {', '.join(benchmark.tasks)}"
    why = benchmark.refused.get(name) if isinstance(name, str) else None
    if why is not None:
        complain(f"data.{key}", f"{name} of {benchmark.title} cannot be searched: {why}", known)
    else:
        hint = nearest(name, benchmark.tasks, known)
        complain(f"data.{key}", f"{benchmark.title} has no task {told(name)}", hint)
    return None


def _check_model(
    name: str, task: BenchmarkTask, model: Mapping[str, Any], complain: Complain
) -> None:
    if model.get("task_type") != "SEQ_CLS":
        got = told(model.get("task_type"))
        complain("model.task_type", f"{name} is a task of SEQ_CLS, got {got}", "SEQ_CLS")
    wanted = task.problem_type or SINGLE_LABEL
    got = model.get("problem_type", SINGLE_LABEL)
    if got != wanted:
        hint = f"problem_type: {wanted}" if task.problem_type else "remove it"
        complain("model.problem_type", f"{name} needs {wanted}, got {told(got)}", hint)
