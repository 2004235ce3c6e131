"""The checks of early stopping in a recipe: the study's and a branch's fields together."""

from collections.abc import Callable, Collection, Mapping

from autopeft.config.tree import Complain, options_of, told
from autopeft.config.values import is_number
from autopeft.domain.expression import Expr
from autopeft.domain.objective import METRICS, Metric
from autopeft.domain.recipes.stopping import ARGUMENTS, CALLBACK, JUDGED_BY, metric_name
from autopeft.domain.space import Json, Range
from autopeft.domain.tasks import TaskKind

_REASONS = {
    "load_best_model_at_end": "the end of training is what is measured",
    "metric_for_best_model": "objectives say what is best",
}
_LITERAL = ("eval_strategy", "load_best_model_at_end", "metric_for_best_model", "greater_is_better")
_STRATEGIES = ("epoch", "steps")


def check_stopping(
    recipe: Mapping[str, Json],
    at: Callable[[str], str],
    task: TaskKind | None,
    own: Mapping[str, Metric],
    complain: Complain,
    *,
    evaluator: bool,
) -> None:
    """Complain of early stopping that makes no sense.

    at: the path of a field. own: the study's own metrics. evaluator: whether the user's own code
    trains.
    """
    recipe = {k: v for k, v in recipe.items() if v is not None}
    if recipe.get("load_best_model_at_end") is False:
        del recipe["load_best_model_at_end"]
    given = [name for name in (*CALLBACK, *ARGUMENTS) if name in recipe]
    if evaluator:
        for name in given:
            rule = f"autopeft's own training stops early, an evaluator trains by itself: got {name}"
            complain(at(name), rule, "put it under parameters, or into the evaluator's options")
        return
    if not {"early_stopping_patience", "load_best_model_at_end"} & set(given):
        for name in given:
            if name in CALLBACK:
                rule = "is that of early stopping, which needs a patience"
                complain(at(name), rule, "early_stopping_patience: 3")
            else:
                reason = _REASONS.get(name, "autopeft evaluates at rungs")
                rule = f"autopeft sets {name} itself ({reason}), got {told(recipe[name])}"
                complain(at(name), rule, "remove it, or add early_stopping_patience")
        return
    for name in (name for name in _LITERAL if name in recipe):
        if not isinstance(recipe[name], str | bool):
            complain(at(name), f"takes one value in a branch, got {told(recipe[name])}")
            return
    if "early_stopping_patience" not in given and "early_stopping_threshold" in given:
        rule = "is that of early stopping, which needs a patience"
        complain(at("early_stopping_threshold"), rule, "early_stopping_patience: 3")
    _check_numbers(recipe, at, complain)
    _check_when(recipe, at, complain)
    _check_metric(recipe, at, task, own, complain)


def _check_numbers(
    recipe: Mapping[str, Json], at: Callable[[str], str], complain: Complain
) -> None:
    bounds = {"early_stopping_patience": (1, True), "early_stopping_threshold": (0, False)}
    for name, (least, whole) in bounds.items():
        for suffix, value in options_of(recipe[name]) if name in recipe else ():
            if isinstance(value, Expr):
                continue
            low = value.low if isinstance(value, Range) else value
            is_whole = value.integer if isinstance(value, Range) else isinstance(value, int)
            if not is_number(low) or low < least or (whole and not is_whole):
                kind = "a whole number" if whole else "a number"
                complain(at(name) + suffix, f"takes {kind} from {least}, got {told(value)}")


def _check_when(recipe: Mapping[str, Json], at: Callable[[str], str], complain: Complain) -> None:
    strategy = recipe.get("eval_strategy", "epoch")
    if strategy not in _STRATEGIES:
        rule = f"early stopping evaluates by epoch or steps, got {told(strategy)}"
        complain(at("eval_strategy"), rule)
    elif strategy == "epoch" and "eval_steps" in recipe:
        rule = "counts with eval_strategy: steps, got epoch"
        complain(at("eval_steps"), rule, "add eval_strategy: steps")
    elif strategy == "steps" and "eval_steps" not in recipe:
        rule = "steps needs eval_steps, got none"
        complain(at("eval_strategy"), rule, "eval_steps: 100")
    for suffix, value in options_of(recipe.get("eval_steps", 1)):
        low = value.low if isinstance(value, Range) else value
        if not isinstance(value, Expr) and not _is_interval(low):
            rule = f"takes steps from 1, or a share of the run below 1, got {told(value)}"
            complain(at("eval_steps") + suffix, rule)


def _is_interval(value: Json) -> bool:
    return is_number(value) and value > 0 and (value < 1 or float(value).is_integer())


def _check_metric(
    recipe: Mapping[str, Json],
    at: Callable[[str], str],
    task: TaskKind | None,
    own: Mapping[str, Metric],
    complain: Complain,
) -> None:
    metric = metric_name(recipe.get("metric_for_best_model"))
    if task is not None and metric not in (known := judges(task, own)):
        rule = f"early stopping is judged by {', '.join(known)}, got {told(metric)}"
        hint = "" if task.writes else "a metric of your own: metrics: {name: {function: ...}}"
        complain(at("metric_for_best_model"), rule, hint)
        return
    goal = {**METRICS, **own}[metric].goal if metric in {**METRICS, **own} else "maximize"
    greater = recipe.get("greater_is_better")
    if greater is not None and greater != (goal == "maximize"):
        rule = f"{metric} is one to {goal}, got {told(greater)}"
        complain(at("greater_is_better"), rule, "remove it")


def judges(task: TaskKind, own: Collection[str]) -> tuple[str, ...]:
    """What early stopping may be judged by."""
    if task.writes:
        return ("eval_loss",)  # texts are generated at rungs and at the end alone
    return (*(name for name in JUDGED_BY if name in task.metrics), *own)


def with_goal(recipe: dict[str, Json], own: Mapping[str, Metric]) -> dict[str, Json]:
    """The recipe with the direction of a metric that only the file knows."""
    given = recipe.get("metric_for_best_model")
    metric = metric_name(given) if isinstance(given, str) else ""
    if metric not in own:
        return recipe
    return {**recipe, "greater_is_better": own[metric].goal == "maximize"}
