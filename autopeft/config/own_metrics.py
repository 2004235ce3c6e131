"""The checks of `metrics:`: without an evaluator functions of the user's, by import path."""

from collections.abc import Mapping
from typing import Any

from autopeft.config.evaluator import check_metrics, declared, is_function, is_metric_name
from autopeft.config.names import check_names
from autopeft.config.tree import Complain, told
from autopeft.domain.objective import METRICS, Metric
from autopeft.domain.own_code import OwnMetric

METRIC = ("function", "goal", "unit", "key")
_HINT = "{function: my_metrics:score, goal: maximize}"


def check_declared(
    given: Any, complain: Complain, *, evaluator: bool
) -> tuple[dict[str, Metric], dict[str, OwnMetric]]:
    """The metrics that the file declares, and the functions that compute them, by name.

    evaluator: whether the file names one, which returns them all itself.

    Whether a function is there is looked at when it is needed: an old study is shown without.
    """
    if evaluator:
        return check_metrics(given, complain), {}
    if given in (None, {}):
        return {}, {}
    if not isinstance(given, Mapping):
        complain("metrics", f"takes {{name: {_HINT}}}, got {told(given)}")
        return {}, {}
    metrics: dict[str, Metric] = {}
    functions: dict[str, OwnMetric] = {}
    for name, said in given.items():
        path = f"metrics.{name}"
        if not is_metric_name(name, path, complain):
            continue
        if name in METRICS:
            rule = f"autopeft measures {name} itself"
            hint = f"take it as an objective, or give yours another name (and key: {name})"
            complain(path, rule, hint)
        elif not isinstance(said, Mapping) or "function" not in said:
            rule = f"needs a function that computes it, got {told(said)}"
            complain(path, rule, f"{name}: {_HINT}, or an evaluator that returns it")
        elif (metric := _metric(name, said, path, complain)) is not None:
            metrics[name] = metric
            functions[name] = OwnMetric(name, said["function"], said.get("key", name))
    return metrics, functions


def _metric(name: str, said: Mapping[str, Any], path: str, complain: Complain) -> Metric | None:
    check_names(path, said, METRIC, "a metric", complain)
    function, key = said["function"], said.get("key", name)
    if not is_function(function):
        rule = f"takes the import path of a function, got {told(function)}"
        complain(f"{path}.function", rule, "function: my_metrics:score")
    elif not isinstance(key, str) or not key:
        complain(f"{path}.key", f"takes the name of a value that it returns, got {told(key)}")
    else:
        return declared(name, said, path, f"computed by {function}", complain)
    return None
