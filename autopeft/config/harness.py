"""The checks of `evaluation.lm_eval:` and of the metrics that it brings."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from autopeft.config.names import check_names
from autopeft.config.tree import Complain, told
from autopeft.domain.harness import Harness, harness_metric, is_of_harness
from autopeft.domain.objective import Metric
from autopeft.domain.tasks import TaskKind

_PATH = "evaluation.lm_eval"
LEAST = {"limit": 1, "num_fewshot": 0, "batch_size": 1}
KEYS = ("tasks", *LEAST, "include_path", "apply_chat_template")
_IN_TEXT = re.compile(r"lm_eval/[\w./-]+")
_HINT = "lm_eval: {tasks: [arc_easy], limit: 100}"


def check_harness(
    document: Mapping[str, Any], task: TaskKind | None, complain: Complain
) -> tuple[Harness | None, dict[str, Metric]]:
    """What is asked of the harness, and the metrics of it that objectives and constraints read."""
    evaluation = document.get("evaluation")
    given = evaluation.get("lm_eval") if isinstance(evaluation, Mapping) else None
    names = [name for name in dict.fromkeys(_asked(document)) if is_of_harness(name)]
    metrics = {name: harness_metric(name) for name in names}
    if given is None:
        if names:
            complain(_PATH, f"is needed to measure {names[0]}, got nothing", _HINT)
        return None, metrics
    if not isinstance(given, Mapping):
        complain(_PATH, f"takes {{tasks: [...], limit: 100, ...}}, got {told(given)}")
        return None, metrics
    if task is None or task.task_type != "CAUSAL_LM":
        what = "an evaluator's study" if task is None else f"task_type {task.task_type}"
        complain(_PATH, f"measures models of task_type CAUSAL_LM, got {what}", "remove it")
        return None, metrics
    check_names(_PATH, given, KEYS, "lm_eval", complain)
    tasks = given.get("tasks")
    if not (isinstance(tasks, list) and tasks and all(isinstance(t, str) and t for t in tasks)):
        rule = f"takes a list of the harness's tasks, got {told(tasks)}"
        complain(f"{_PATH}.tasks", rule, "tasks: [arc_easy]")
        return None, metrics
    if not names:
        rule = "measures tasks that no objective and no constraint reads"
        complain(_PATH, rule, f"an objective on lm_eval/{tasks[0]}/acc, or remove it")
    sound: dict[str, Any] = {}
    for name in (name for name in LEAST if given.get(name) is not None):
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < LEAST[name]:
            rule = f"takes a whole number from {LEAST[name]}, got {told(value)}"
            complain(f"{_PATH}.{name}", rule)
        else:
            sound[name] = value
    path, chat = given.get("include_path"), given.get("apply_chat_template", False)
    if path is not None and not (isinstance(path, str) and path):
        complain(f"{_PATH}.include_path", f"takes a folder, got {told(path)}")
    elif not isinstance(chat, bool):
        complain(f"{_PATH}.apply_chat_template", f"takes true or false, got {told(chat)}")
    else:
        sound |= {"include_path": path, "apply_chat_template": chat}
    return Harness(tuple(tasks), **sound), metrics


def _asked(document: Mapping[str, Any]) -> Iterator[str]:
    """Names that objectives and constraints may mean; their own mistakes are told elsewhere."""
    objectives, constraints = document.get("objectives"), document.get("constraints")
    for item in objectives if isinstance(objectives, list) else []:
        yield str(item.get("metric") if isinstance(item, Mapping) else item)
    for text in constraints if isinstance(constraints, list) else []:
        # A baseline's metric stands behind its name: `baselines.house.lm_eval/arc_easy/acc`.
        yield from _IN_TEXT.findall(str(text))
