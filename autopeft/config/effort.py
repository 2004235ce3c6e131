"""The checks of `budget:`, `resources:` and `search:`."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from autopeft.config.names import check_names
from autopeft.config.tree import Complain, told
from autopeft.config.values import is_number, is_whole
from autopeft.domain.nearest import nearest
from autopeft.domain.objective import Objective, one_quality
from autopeft.domain.study import Budget, Resources, Rungs, SearchSettings, StopRule

SAMPLERS = (
    "autopeft",
    "random",
    "optuna.TPESampler",
    "optuna.NSGAIISampler",
    "botorch.qLogNEHVI",
    "botorch.qLogNParEGO",
    "botorch.AutoPEFT",
)
BUDGET: Mapping[str, float] = {"trials": 1, "gpu_hours": 0, "wall_hours": 0}  # and their least
RESOURCES: Mapping[str, float] = {
    "cpus_per_trial": 0,
    "gpus_per_trial": 0,
    "memory_gib_per_trial": 0,
    "price_per_hour": 0,
    "minutes_per_trial": 0,
}
SEARCH = ("sampler", "parallel", "rungs", "seed", "seeds", "stop", "warm_start")
SAMPLER = ("name", "options")
STOP = ("min_gain", "min_gain_per_gpu_hour", "patience")
RUNGS = ("epochs", "steps", "eta")
_PROMISING = ("autopeft",)  # they tell `Suggestion.gain`
_MOST = 2**31 - 1  # of what seeds the random number generators
OPTUNA = re.compile(r"optuna\.\w+Sampler")


def check_budget(given: Mapping[str, Any], complain: Complain) -> Budget | None:
    """None where it makes no sense."""
    sound = _numbers("budget", given, BUDGET, complain)
    if not is_number(given.get("trials", 1)) or isinstance(given.get("trials"), float):
        complain("budget.trials", f"takes a whole number, got {told(given['trials'])}")
    for name in ("gpu_hours", "wall_hours"):
        if given.get(name) == 0:
            complain(f"budget.{name}", "takes hours above 0, got 0")
    if not given:
        rule = "a budget needs trials, gpu_hours or wall_hours, got none: add one"
        complain("budget", rule, "budget: {trials: 50}")
    if not sound:
        return None
    return Budget(**sound)


def check_resources(given: Mapping[str, Any], complain: Complain) -> Resources:
    check_names("resources", given, (*RESOURCES, "processes_per_trial"), "resources", complain)
    rest = {key: given[key] for key in RESOURCES if key in given}
    if given.get("minutes_per_trial") == 0:
        complain("resources.minutes_per_trial", "takes minutes above 0, got 0", "remove it")
    return Resources(**_numbers("resources", rest, RESOURCES, complain))


def _numbers(
    key: str, given: Mapping[str, Any], least: Mapping[str, float], complain: Complain
) -> dict[str, Any]:
    check_names(key, given, least, key, complain)
    sound = {}
    for name in [name for name in given if name in least]:
        value = given[name]
        if is_number(value) and value >= least[name]:
            sound[name] = value
        else:
            complain(f"{key}.{name}", f"takes a number from {least[name]}, got {told(value)}")
    return sound


def check_search(
    given: Mapping[str, Any],
    recipe: Mapping[str, Any],
    objectives: Sequence[Objective],
    complain: Complain,
    estimated: Set[str],
) -> SearchSettings:
    """estimated: the measured metrics that a formula estimates."""
    check_names("search", given, SEARCH, "search", complain)
    sampler: Any = given.get("sampler", "autopeft")
    options: Any = {}
    if isinstance(sampler, Mapping):
        check_names("search.sampler", sampler, SAMPLER, "a sampler", complain)
        options, sampler = sampler.get("options"), sampler.get("name")
        options = {} if options is None else options
    if not isinstance(options, Mapping):
        complain("search.sampler.options", f"takes a mapping, got {told(options)}")
        options = {}
    if sampler not in SAMPLERS and not (isinstance(sampler, str) and OPTUNA.fullmatch(sampler)):
        hint = nearest(sampler, SAMPLERS, f"one of {', '.join(SAMPLERS)}")
        complain("search.sampler", f"there is no sampler {told(sampler)}", hint)
    whole = {}
    for key, least, otherwise in (("parallel", 1, 1), ("seed", 0, 0), ("seeds", 1, 1)):
        value = given.get(key, otherwise)
        if not is_whole(value, least) or value > _MOST:
            rule = f"takes a whole number from {least} to {_MOST}, got {told(value)}"
            complain(f"search.{key}", rule)
            value = otherwise
        whole[key] = value
    if "seeds" in options:
        complain("search.sampler.options.seeds", "is not the sampler's to say", "search.seeds")
    if whole["seeds"] > 1:
        _check_seeds(whole["seeds"], sampler, objectives, estimated, complain)
    return SearchSettings(
        sampler=str(sampler),
        options=dict(options),
        rungs=_rungs(given.get("rungs"), recipe, complain),
        stop=_stop(given.get("stop"), sampler, complain),
        parallel=whole["parallel"],
        seed=whole["seed"],
        seeds=whole["seeds"],
    )


def _check_seeds(
    seeds: int,
    sampler: Any,
    objectives: Sequence[Objective],
    estimated: Set[str],
    complain: Complain,
) -> None:
    """Who is to decide on replicates has to be able to."""
    if sampler != "autopeft":
        rule = f"only sampler autopeft asks for another seed, got {told(sampler)} and seeds {seeds}"
        complain("search.seeds", rule, "remove seeds, or take sampler: autopeft")
    if objectives and not one_quality(objectives, estimated):
        names = ", ".join(objective.metric for objective in objectives)
        rule = (
            "another seed is asked for with one measured quality, alone or beside one known cost, "
            f"got {names} and seeds {seeds}"
        )
        complain("search.seeds", rule, "remove seeds")


def _stop(given: Any, sampler: Any, complain: Complain) -> StopRule | None:
    if given is None:
        return None
    path, limits = "search.stop", STOP[:2]
    if not isinstance(given, Mapping) or not set(limits) & set(given):
        rule = f"takes {{min_gain: share}} or {{min_gain_per_gpu_hour: share}}, got {told(given)}"
        complain(path, rule, "stop: {min_gain: 0.001}")
        return None
    check_names(path, given, STOP, "stop", complain)
    sound: dict[str, Any] = {}
    for name in (name for name in limits if name in given):
        value, most = given[name], 1 if name == "min_gain" else float("inf")
        if is_number(value) and 0 < value <= most:
            sound[name] = float(value)
        else:
            top = " up to 1" if name == "min_gain" else ""
            rule = f"takes a share of the hypervolume above 0{top}, got {told(value)}"
            complain(f"{path}.{name}", rule, "0.001 is 0.1 %")
    patience = given.get("patience", StopRule.patience)
    if not is_whole(patience, 1):
        complain(f"{path}.patience", f"takes a whole number from 1, got {told(patience)}")
        return None
    if sampler not in _PROMISING:
        rule = f"needs a sampler that says what a trial is to gain, {told(sampler)} does not"
        complain(path, rule, f"sampler: {_PROMISING[0]}, or remove stop")
        return None
    return StopRule(patience=patience, **sound) if sound else None


def _rungs(given: Any, recipe: Mapping[str, Any], complain: Complain) -> Rungs | None:
    if given is None:
        return None
    path, units = "search.rungs", RUNGS[:2]
    if not isinstance(given, Mapping) or len(set(units) & set(given)) != 1:
        complain(path, f"takes {{epochs: [...]}} or {{steps: [...]}}, got {told(given)}")
        return None
    check_names(path, given, RUNGS, "rungs", complain)
    unit = "epochs" if "epochs" in given else "steps"
    at, eta = given[unit], given.get("eta", 3)
    sound = isinstance(at, list) and bool(at) and all(is_number(v) and v > 0 for v in at)
    if not sound or sorted(set(at)) != at:
        complain(f"{path}.{unit}", f"takes increasing numbers above 0, got {told(at)}")
        return None
    if unit == "steps" and not all(float(v).is_integer() for v in at):
        complain(f"{path}.steps", f"takes whole numbers, got {told(at)}")
        return None
    if not is_number(eta) or eta <= 1:
        complain(f"{path}.eta", f"takes a number above 1, got {told(eta)}")
        return None
    full: Any = recipe.get("num_train_epochs", 3.0)
    steps: Any = recipe.get("max_steps", -1)
    if unit == "steps" or not is_number(steps) or steps > 0:  # which overrule epochs
        full = steps if unit == "steps" else None
    if is_number(full) and 0 < full < at[-1]:
        complain(f"{path}.{unit}", f"training ends at {full:g}, before the rung at {at[-1]:g}")
        return None
    return Rungs("epochs" if unit == "epochs" else "steps", tuple(at), float(eta))
