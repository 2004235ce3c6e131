"""The checks of `evaluator:`, `metrics:` and `parameters:`: studies of the user's own code."""

import math
import re
from collections.abc import Mapping
from typing import Any

from autopeft.config.names import check_names, join
from autopeft.config.tree import Complain, told
from autopeft.domain.objective import METRICS, Metric
from autopeft.domain.own_code import OwnCode, computed
from autopeft.domain.space import Json

FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_METRIC = re.compile(r"[A-Za-z_]\w*")
_PARAMETER = re.compile(r"[A-Za-z_][\w-]*")
EVALUATOR = ("function", "working_dir", "options")
METRIC = ("goal", "unit")
_HINT = "evaluator: my_package.train:evaluate"


def check_evaluator(given: Any, complain: Complain) -> OwnCode | None:
    """None where the file has none, or one that makes no sense.

    Whether the code is there is looked at when it is needed: an old study can be shown without.
    """
    if given is None:
        return None
    at = "evaluator"
    if isinstance(given, Mapping):
        check_names("evaluator", given, EVALUATOR, "an evaluator", complain)
        function, at = given.get("function"), "evaluator.function"
        where, options = given.get("working_dir", "."), given.get("options") or {}
    else:
        function, where, options = given, ".", {}
    if not is_function(function):
        complain(at, f"takes the import path of a function, got {told(function)}", _HINT)
        return None
    if not isinstance(where, str) or not where:
        complain("evaluator.working_dir", f"takes a folder, got {told(where)}", "working_dir: .")
        return None
    if not isinstance(options, Mapping):
        complain("evaluator.options", f"takes a mapping, got {told(options)}")
        return None
    return OwnCode(str(function), where, dict(options))


def check_metrics(given: Any, complain: Complain) -> dict[str, Metric]:
    """The metrics that an evaluator returns."""
    if given in (None, {}):
        hint = "metrics: {rouge: {goal: maximize}}"
        complain("metrics", "an evaluator needs the metrics that it returns, got none", hint)
        return {}
    if not isinstance(given, Mapping):
        rule = f"takes {{name: {{goal: maximize}}}}, got {told(given)}"
        complain("metrics", rule)
        return {}
    found = {}
    for name, said in given.items():
        if (metric := _metric(name, said, f"metrics.{name}", complain)) is not None:
            found[metric.name] = metric
    return found


def _metric(name: Any, said: Any, path: str, complain: Complain) -> Metric | None:
    if not is_metric_name(name, path, complain):
        return None
    if computed(name):
        rule = f"autopeft computes {name} from the modules itself"
        complain(path, rule, "give what your code measures another name")
        return None
    if not isinstance(said, Mapping):
        complain(path, f"takes {{goal: maximize}} or {{goal: minimize}}, got {told(said)}")
        return None
    if "function" in said:
        rule = "comes from the evaluator, which returns its metrics itself: got a function"
        complain(f"{path}.function", rule, "remove it, or the evaluator")
        return None
    check_names(path, said, METRIC, "a metric", complain)
    return declared(name, said, path, "returned by the evaluator", complain)


def is_metric_name(name: Any, path: str, complain: Complain) -> bool:
    """Whether objectives and constraints can name it."""
    if isinstance(name, str) and _METRIC.fullmatch(name):
        return True
    complain(path, f"a metric's name takes letters, digits and _, got {told(name)}")
    return False


def is_function(given: Any) -> bool:
    """Whether it is `package.module:name`."""
    return isinstance(given, str) and FUNCTION.fullmatch(given) is not None


def declared(
    name: str, said: Mapping[str, Any], path: str, meaning: str, complain: Complain
) -> Metric | None:
    """A metric of the user's, from its goal and unit."""
    goal, unit = said.get("goal"), said.get("unit", "")
    if goal not in ("maximize", "minimize"):
        complain(f"{path}.goal", f"takes maximize or minimize, got {told(goal)}")
    elif not isinstance(unit, str):
        complain(f"{path}.unit", f"takes a text, got {told(unit)}")
    else:
        return Metric(name, unit, goal, False, meaning, low=-math.inf)
    return None


def measurable(declared: Mapping[str, Metric], *, model: bool) -> dict[str, Metric]:
    """The metrics that objectives and constraints of an evaluator's study may name."""
    exact = {name: metric for name, metric in METRICS.items() if model and metric.known}
    return {**declared, **exact}


def check_parameters(given: Any, path: str, own: bool, complain: Complain) -> dict[str, Json]:
    """The free parameters of a grown tree; {} where they make no sense."""
    if given in (None, {}):
        return {}
    if not own:
        rule = "are read by an evaluator of your own, and there is none"
        complain(path, rule, f"add {_HINT}; what a trainer takes belongs under training:")
        return {}
    if not isinstance(given, Mapping):
        complain(path, f"takes a mapping (`name: value`), got {told(given)}")
        return {}
    for name in given:
        if not _PARAMETER.fullmatch(str(name)):
            complain(join(path, str(name)), "a parameter takes letters, digits, _ and -")
    return dict(given)


def check_own_branch(tree: Mapping[str, Json], path: str, model: bool, complain: Complain) -> None:
    """What a branch of an evaluator's study may hold.

    tree: grown, with the study's own parameters. model: whether the file names one.
    """
    built = [key for key in ("modules", "full_fine_tuning") if tree.get(key)]
    if built and not model:
        rule = f"{built[0]} are placed in a model, and the file names none"
        hint = "model: {model_name_or_path: ..., task_type: CAUSAL_LM}"
        complain(join(path, built[0]), rule, hint)
    if not built and "layers" in tree:
        complain(join(path, "layers"), "says where modules live, and there are none", "remove it")
    if not built and not tree.get("parameters") and "modules" not in tree:
        rule = "an evaluator's branch needs modules or parameters, got neither"
        complain(path or "parameters", rule, "parameters: {rank: {choice: [4, 8]}}")
    if tree.get("allocation", "uniform") != "uniform":
        rule = "only autopeft's own training spreads a budget, an evaluator trains by itself"
        complain(join(path, "allocation"), rule, "remove it, or the evaluator")


def bare(tree: Mapping[str, Json]) -> bool:
    """Whether a grown branch offers parameters alone."""
    return bool(tree.get("parameters")) and not (
        "modules" in tree or tree.get("full_fine_tuning", False)
    )
