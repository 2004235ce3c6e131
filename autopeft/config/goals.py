"""The checks of `objectives:` and `constraints:`."""

from collections.abc import Mapping, Sequence
from typing import Any

from autopeft.config.names import check_names
from autopeft.config.tree import Complain, told
from autopeft.config.values import is_number
from autopeft.domain.nearest import nearest
from autopeft.domain.objective import METRICS, SERVED_BY, Constraint, Metric, Objective
from autopeft.domain.tasks import KINDS, TaskKind

_OF_TASKS = {metric for kind in KINDS.values() for metric in kind.metrics}
OBJECTIVE = ("metric", "goal", "scale", "reference")


def check_objectives(
    given: Any, task: TaskKind | None, complain: Complain, metrics: Mapping[str, Metric] = METRICS
) -> tuple[Objective, ...]:
    """The objectives that are sound; metrics: those that the study has."""
    if not isinstance(given, list) or not given:
        complain("objectives", f"takes a list of at least one {{metric, goal}}, got {told(given)}")
        return ()
    found: list[Objective] = []
    for i, item in enumerate(given):
        objective = _objective(item, f"objectives[{i}]", task, metrics, complain)
        if objective is None:
            continue
        if objective.metric in {other.metric for other in found}:
            complain(f"objectives[{i}]", f"each metric counts once, got {objective.metric} twice")
        found.append(objective)
    return tuple(found)


def _objective(
    item: Any, path: str, task: TaskKind | None, metrics: Mapping[str, Metric], complain: Complain
) -> Objective | None:
    if isinstance(item, str):
        item = {"metric": item}
    if not isinstance(item, Mapping):
        complain(path, f"takes {{metric, goal}}, got {told(item)}")
        return None
    check_names(path, item, OBJECTIVE, "an objective", complain)
    metric = item.get("metric")
    if not _metric(f"{path}.metric", metric, task, metrics, complain):
        return None
    said = metrics[str(metric)]
    own = said is not METRICS.get(said.name)
    goal, scale = item.get("goal", said.goal), item.get("scale", "linear")
    reference = item.get("reference")
    if goal not in ("maximize", "minimize"):
        complain(f"{path}.goal", f"takes maximize or minimize, got {told(goal)}")
    elif scale not in ("linear", "log"):
        complain(f"{path}.scale", f"takes linear or log, got {told(scale)}")
    elif scale == "log" and said.low < 0 and not own:
        complain(f"{path}.scale", f"log needs values above 0, {metric} can be below", "linear")
    elif reference is not None and not is_number(reference):
        complain(f"{path}.reference", f"takes a number, got {told(reference)}")
    elif reference is not None and scale == "log" and reference <= 0:
        complain(f"{path}.reference", f"log needs a reference above 0, got {reference}")
    else:
        worst = None if reference is None else float(reference)
        return Objective(said.name, goal, scale, worst, said.unit if own else "", own)
    return None


def _metric(
    path: str, metric: Any, task: TaskKind | None, metrics: Mapping[str, Metric], complain: Complain
) -> bool:
    if not isinstance(metric, str) or metric not in metrics:
        hint = nearest(metric, metrics, f"one of {', '.join(metrics)}")
        complain(path, f"there is no metric {told(metric)}", hint)
        return False
    if task and metric in _OF_TASKS and metric not in task.metrics:
        rule = f"{task.name} measures no {metric}"
        complain(path, rule, f"it measures {', '.join(task.metrics)}")
        return False
    return True


def check_constraints(
    given: Any,
    baselines: Sequence[str],
    task: TaskKind | None,
    complain: Complain,
    metrics: Mapping[str, Metric] = METRICS,
) -> tuple[Constraint, ...]:
    """The constraints that are sound."""
    if not isinstance(given, list):
        complain("constraints", f"takes a list, got {told(given)}", "put it in [ ]")
        return ()
    found = []
    for i, text in enumerate(given):
        path = f"constraints[{i}]"
        if isinstance(text, Mapping):
            if (servable := _servable(path, text, task, complain)) is not None:
                found.append(servable)
            continue
        try:
            constraint = Constraint.parse(str(text))
        except ValueError as error:
            complain(path, str(error))
            continue
        _metric(path, constraint.metric, task, metrics, complain)
        if constraint.baseline is not None:
            _metric(path, constraint.baseline_metric, task, metrics, complain)
            if constraint.baseline not in baselines:
                hint = nearest(constraint.baseline, baselines, f"one of {', '.join(baselines)}")
                complain(path, f"there is no baseline {constraint.baseline!r}", hint)
        found.append(constraint)
    return tuple(found)


def _servable(
    path: str, given: Mapping[str, Any], task: TaskKind | None, complain: Complain
) -> Constraint | None:
    by = given.get("servable")
    if set(given) != {"servable"} or by not in SERVED_BY:
        rule = f"as a mapping, a constraint is {{servable: {' or '.join(SERVED_BY)}}}"
        complain(path, f"{rule}, got {told(given)}")
    elif by == "vllm" and task is not None and task.task_type != "CAUSAL_LM":
        rule = "vLLM serves adapters of language models, without a trained head"
        complain(path, f"{rule}, got task_type {task.task_type}", "servable: merged")
    else:
        return Constraint.servable(by)
    return None


def check_asked(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    *,
    price: float | None,
    general: bool,
    complain: Complain,
) -> None:
    """Whether what is asked for can be measured: a price, a general corpus."""
    wanted = {objective.metric: f"objectives[{i}]" for i, objective in enumerate(objectives)}
    for i, constraint in enumerate(constraints):
        for metric in (constraint.metric, constraint.baseline_metric):
            wanted.setdefault(str(metric), f"constraints[{i}]")
    if "cost" in wanted and not price:
        rule = "cost needs the price of a device's hour, got none"
        complain(wanted["cost"], rule, "resources: {price_per_hour: 2.5}")
    if "forgetting" in wanted and not general:
        rule = "forgetting is measured on a general corpus, got none"
        complain(wanted["forgetting"], rule, "data: {general: {path: ..., data_files: ...}}")
