"""The check of `resources.processes_per_trial`: how many processes train one trial."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from autopeft.config.tree import Complain, told
from autopeft.domain.study import Resources

_PATH = "resources.processes_per_trial"


def check_processes(
    resources: Resources,
    given: Mapping[str, Any],
    *,
    model: Mapping[str, Any],
    own: bool,
    complain: Complain,
) -> Resources:
    """The resources with the number of processes that they mean: where none is given, one a GPU.

    A file with a device_map spreads one model over the GPUs, in one process. An evaluator of the
    user's own starts its processes itself.

    given: the file's `resources:`; own: whether the file has an evaluator.
    """
    gpus = resources.gpus_per_trial
    if gpus > 1 and gpus != int(gpus):
        rule = f"takes a share of one GPU or whole ones, got {told(gpus)}"
        complain("resources.gpus_per_trial", rule, f"gpus_per_trial: {int(gpus)}")
        return resources
    spread = own or "device_map" in model
    processes = given.get("processes_per_trial", 1 if spread else max(1, int(gpus)))
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        complain(_PATH, f"takes a whole number from 1, got {told(processes)}")
        return resources
    if processes > 1 and own:
        rule = f"an evaluator starts its processes itself, got {processes}"
        complain(_PATH, rule, "remove it, and launch them in the evaluator")
    elif processes > 1 and "device_map" in model:
        rule = f"every process holds the whole model on its own GPU, got {processes} and device_map"
        complain(_PATH, rule, "remove model.device_map, or take one process")
    elif not spread and gpus and processes != max(1, gpus):
        rule = f"a process takes one GPU, got {processes} and gpus_per_trial: {told(gpus)}"
        complain(_PATH, rule, f"gpus_per_trial: {processes}")
    elif not gpus and resources.cpus_per_trial < processes > 1:
        rule = f"a process takes one CPU at least, got {processes} and cpus_per_trial: "
        hint = f"cpus_per_trial: {processes}"
        complain(_PATH, f"{rule}{told(resources.cpus_per_trial)}", hint)
    return replace(resources, processes_per_trial=processes)


def check_alone(
    resources: Resources,
    document: Mapping[str, Any],
    functions: Collection[str],
    complain: Complain,
) -> None:
    """Complain of what looks at all predictions at once, which no single process has.

    functions: names of metrics that functions of the user's own compute.
    """
    if resources.processes_per_trial == 1:
        return
    what = "one process looks at all predictions for it"
    if functions:
        rule = f"{what}, got {resources.processes_per_trial}"
        complain(f"metrics.{min(functions)}.function", rule, "take one process a trial")
    if _says(document, "early_stopping_patience"):
        rule = f"early stopping needs one process a trial, got {resources.processes_per_trial}"
        complain(_PATH, rule, "remove early_stopping_patience, or take one process")


def _says(tree: Any, key: str) -> bool:
    if isinstance(tree, Mapping):
        return key in tree or any(_says(value, key) for value in tree.values())
    return isinstance(tree, list) and any(_says(value, key) for value in tree)
