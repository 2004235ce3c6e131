"""The lm-evaluation-harness on the model in memory."""

import copy
import logging
from contextlib import AbstractContextManager
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from autopeft.domain.errors import AutopeftError
from autopeft.domain.harness import Harness, harness_key, of_harness
from autopeft.domain.study import StudySpec
from autopeft.training.ranks import gathered, rank
from autopeft.training.tasks.task import Measures

_RESAMPLES = 200  # for the standard error of a metric that is no mean


def check_harness_tasks(spec: StudySpec) -> None:
    """Whether the harness is there and has what the study asks for; its data are loaded.

    Raises:
        AutopeftError: the package, a task or a metric is missing, or a goal is not the harness's.
    """
    if spec.harness is None:
        return
    loaded = _loaded(spec.harness, spec.folder)
    found = {**loaded["tasks"], **loaded["groups"]}
    goals = {objective.metric: objective.goal for objective in spec.objectives}
    for name in of_harness(spec.asked):
        task, key = harness_key(name)
        if task not in found:
            raise AutopeftError(
                f"{name}: evaluation.lm_eval.tasks has no {task}, it has {', '.join(found)}"
            )
        if task not in loaded["tasks"]:
            continue  # a group says what it aggregates only with its results
        better, metric = found[task].higher_is_better(), key.partition(",")[0]
        if metric not in better:
            raise AutopeftError(f"{name}: {task} has no {metric}, it has {', '.join(better)}")
        goal = "maximize" if better[metric] else "minimize"
        if goals.get(name, goal) != goal:
            raise AutopeftError(f"{name}: lm_eval says {goal}, got goal: {goals[name]}")


def harness_measures(
    spec: StudySpec,
    model: Any,
    processor: Any,
    *,
    batch_size: int,
    precision: AbstractContextManager[Any],
) -> Measures:
    """The asked metrics of the harness, with standard errors; measured by the first process.

    batch_size: where the file gives none.
    """
    if spec.harness is None:
        return {}, {}
    found = None
    if rank() == 0:
        with precision:
            found = _results(spec, spec.harness, model, processor, batch_size)
    results: dict[str, Any] = gathered(found)[0]
    metrics, errors = {}, {}
    for name in of_harness(spec.asked):
        task, key = harness_key(name)
        metric, _, filtered = key.partition(",")
        if key not in (told := results[task]):
            known = ", ".join(k.replace(",", "/") for k in told if "," in k and "_stderr" not in k)
            raise AutopeftError(f"{name}: lm_eval gave no such metric of {task}, it gave {known}")
        metrics[name] = float(told[key])
        error = told.get(f"{metric}_stderr,{filtered}")
        if isinstance(error, int | float):
            errors[name] = float(error)
    return metrics, errors


def _results(
    spec: StudySpec, harness: Harness, model: Any, processor: Any, batch_size: int
) -> dict[str, Any]:
    """{task: {"metric,filter": value}}."""
    manager = _manager(harness.tasks, _folder(harness, spec.folder))
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    was_training = model.training
    model.eval()
    adapter = HFLM(
        pretrained=model,
        tokenizer=copy.deepcopy(processor),  # it pads on the side that it likes
        batch_size=harness.batch_size or batch_size,
    )
    found = simple_evaluate(
        model=adapter,
        tasks=list(harness.tasks),
        num_fewshot=harness.num_fewshot,
        limit=harness.limit,
        apply_chat_template=harness.apply_chat_template,
        task_manager=manager,
        bootstrap_iters=_RESAMPLES,
        log_samples=False,
    )
    model.train(was_training)
    results: dict[str, Any] = found["results"]
    return results


def _folder(harness: Harness, folder: str) -> str | None:
    if harness.include_path is None:
        return None
    path = Path(folder) / harness.include_path
    if not path.is_dir():
        raise AutopeftError(f"evaluation.lm_eval.include_path names no folder: {path}")
    return str(path.resolve())


@lru_cache(maxsize=1)
def _manager(tasks: tuple[str, ...], include_path: str | None) -> Any:
    """The harness's index of tasks; it takes seconds to read, so a worker keeps it.

    That of its own tasks is left out where none of them is meant.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise AutopeftError(
            "evaluation.lm_eval needs the package lm_eval, it is not installed: "
            "pip install 'autopeft[lm-eval]'"
        ) from error
    # It warns of the model in memory at every trial.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if include_path is not None:
        own = TaskManager(include_path=include_path, include_defaults=False)
        if set(tasks) <= set(own.all_tasks):
            return own
    return TaskManager(include_path=include_path)


def _loaded(harness: Harness, folder: str) -> Any:
    """The harness's own tasks and groups, by name."""
    manager = _manager(harness.tasks, _folder(harness, folder))
    for name in harness.tasks:
        if name not in manager.all_tasks:
            close = get_close_matches(name, manager.all_tasks, n=3)
            hint = f"did you mean {', '.join(close)}?" if close else "`lm-eval ls tasks` lists them"
            raise AutopeftError(
                f"evaluation.lm_eval.tasks: lm_eval has no task {name!r}: {hint} "
                "(include_path names a folder with tasks of your own)"
            )
    try:
        return manager.load(list(harness.tasks))
    except Exception as error:  # of whatever a task's own code and data raise
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise AutopeftError(
            f"lm_eval cannot load {', '.join(harness.tasks)}: {said[0]} (a task's data come from "
            "the hub, or from its dataset_path)"
        ) from error
