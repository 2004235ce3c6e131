"""The checks of `model:`, `trainer:` and `data:`."""

from collections.abc import Mapping
from typing import Any

from autopeft.config.names import check_names
from autopeft.config.quantization import SHORT
from autopeft.config.tree import Complain, told
from autopeft.config.values import is_whole
from autopeft.domain.methods.peft_fields import TRAINER_DEFAULTS
from autopeft.domain.nearest import nearest
from autopeft.domain.tasks import KINDS, PROBLEM_TYPES, SINGLE_LABEL, TaskKind, task_kind

MODEL = (
    *("model_name_or_path", "task_type", "problem_type", "revision", "dtype", "torch_dtype"),
    "trust_remote_code",
    *("attn_implementation", "quantization_config", "device_map", "subfolder", "variant"),
    *("cache_dir", "token", "local_files_only", "code_revision", "low_cpu_mem_usage"),
    *SHORT,
)
_MODEL_OWNED = {
    "num_labels": "the data's labels decide it",
    "use_safetensors": "weights are read as safetensors only",
    "max_length": "it belongs under data:",
}
DATA = (
    *("train", "validation", "test", "general", "columns", "max_length", "max_target_length"),
    "limit",
)
SPLITS = ("train", "validation", "test")
LIMITS = (*SPLITS, "general")
CARVED = ("carve", "from", "seed")
SEEDS = 2**32  # of numpy's generator, which carves
SOURCE = ("path", "name", "data_dir", "data_files", "split", "revision", "token", "packages")
_FILES = ("json", "csv", "parquet", "text")


def check_model(model: Mapping[str, Any], complain: Complain) -> TaskKind | None:
    """The kind of task; None where there is no such one."""
    for key, why in _MODEL_OWNED.items():
        if key in model:
            complain(f"model.{key}", f"autopeft sets {key} itself: {why}", "remove it")
    rest = [key for key in model if key not in _MODEL_OWNED]
    check_names("model", rest, MODEL, "model", complain)
    name = model.get("model_name_or_path")
    if not (isinstance(name, str) and name and name.isprintable()):
        complain("model.model_name_or_path", f"takes a folder or a hub name, got {told(name)}")
    kind = _kind(model, complain)
    if not isinstance(model.get("trust_remote_code", False), bool):
        got = told(model["trust_remote_code"])
        complain("model.trust_remote_code", f"takes true or false, got {got}")
    return kind


def _kind(model: Mapping[str, Any], complain: Complain) -> TaskKind | None:
    task, problem = model.get("task_type"), model.get("problem_type", SINGLE_LABEL)
    types = dict.fromkeys(kind.task_type for kind in KINDS.values())
    if not isinstance(task, str) or task not in types:
        hint = nearest(task, types, f"this version has {', '.join(types)}")
        complain("model.task_type", f"takes a task type, got {told(task)}", hint)
        return None
    if "problem_type" in model and task != "SEQ_CLS":
        complain("model.problem_type", f"belongs to SEQ_CLS, got it with {task}", "remove it")
        return KINDS[task]
    if not isinstance(problem, str) or problem not in PROBLEM_TYPES:
        known = f"one of {', '.join(PROBLEM_TYPES)}"
        hint = nearest(problem, PROBLEM_TYPES, known)
        complain("model.problem_type", f"there is no problem_type {told(problem)}", hint)
        return KINDS[task]
    return task_kind(model)


def check_trainer(trainer: Any, task: TaskKind | None, complain: Complain) -> str:
    """The trainer's name; the task's own where the file's makes no sense, or names none."""
    wanted = task.trainer if task else "transformers.Trainer"
    if trainer is None:
        return wanted
    if not isinstance(trainer, str) or trainer not in TRAINER_DEFAULTS:
        known = sorted(TRAINER_DEFAULTS)
        otherwise = f"one of {', '.join(known)}"
        complain(
            "trainer", f"there is no trainer {told(trainer)}", nearest(trainer, known, otherwise)
        )
        return wanted
    if task and trainer != wanted:
        rule = f"task_type {task.task_type} trains with {wanted}, got {trainer}"
        complain("trainer", rule, wanted)
    return trainer


def check_data(data: Mapping[str, Any], task: TaskKind | None, complain: Complain) -> None:
    check_names("data", data, DATA, "data", complain)
    if "train" not in data:
        complain("data.train", "is needed, got nothing", "train: {path: json, data_files: ...}")
    if "validation" not in data:
        hint = "validation: {carve: 0.1, from: train, seed: 0} takes it from train"
        complain("data.validation", "is needed, got nothing", hint)
    for split in SPLITS:
        if split in data:
            _check_split(split, data[split], data, complain)
    if "general" in data:
        _check_general(data["general"], data, task, complain)
    _check_columns(data.get("columns", {}), task, complain)
    if "max_target_length" in data:
        if task and task.max_target_length is None:
            complain("data.max_target_length", f"{task.name} has no target", "remove it")
        else:
            _check_count("data.max_target_length", data["max_target_length"], complain)
    if "max_length" in data:
        if task and "image" in task.columns:
            complain("data.max_length", f"{task.name} reads no tokens", "remove it")
        elif task and task.max_length is None:
            hint = "training: {max_length: ...}"
            complain("data.max_length", f"{task.trainer} truncates by its own argument", hint)
        else:
            _check_count("data.max_length", data["max_length"], complain)
    limit = data.get("limit", {})
    if not isinstance(limit, Mapping):
        complain("data.limit", f"takes a number of rows by split, got {told(limit)}")
        return
    check_names("data.limit", limit, LIMITS, "limit", complain)
    for split, rows in limit.items():
        _check_count(f"data.limit.{split}", rows, complain)
        if split in LIMITS and split not in data:
            rule = f"limits the rows of data.{split}, got no such split"
            complain(f"data.limit.{split}", rule, "remove it")


def _check_split(split: str, source: Any, data: Mapping[str, Any], complain: Complain) -> None:
    path = f"data.{split}"
    if not isinstance(source, Mapping) or ("path" in source) == ("carve" in source):
        complain(path, f"takes {{path: ...}} or {{carve: ...}}, got {told(source)}")
        return
    if "carve" in source:
        _check_carved(path, split, source, data, complain)
        return
    if not isinstance(source["path"], str) or not source["path"]:
        complain(f"{path}.path", f"takes a file type, folder or name, got {told(source['path'])}")
    elif source["path"] in _FILES and not source.get("data_files"):
        hint = f"data_files: {split}.{source['path']}"
        complain(path, f"path: {source['path']} needs data_files, got nothing", hint)
    elif source["path"] in _FILES and not _are_names(source["data_files"]):
        rule = f"takes the name of a file, or a list of them, got {told(source['data_files'])}"
        complain(f"{path}.data_files", rule)
    if not isinstance(source.get("name"), str | None):
        rule = f"takes the name of a configuration, got {told(source['name'])}"
        complain(f"{path}.name", rule, "put it in quotes")
    if source.get("streaming"):
        rule = f"rows are counted and drawn, not streamed, got {told(source['streaming'])}"
        complain(f"{path}.streaming", rule, "remove it")
    for key in source:
        # A builder of datasets has options of its own: only what looks misspelt is one.
        if key not in SOURCE and (hint := nearest(key, SOURCE)) and _close(key):
            complain(f"{path}.{key}", f"load_dataset has no {key!r}", hint)


def _are_names(given: Any) -> bool:
    names = given if isinstance(given, list) else [given]
    return all(isinstance(name, str) and name for name in names)


def _check_general(
    source: Any, data: Mapping[str, Any], task: TaskKind | None, complain: Complain
) -> None:
    if task is not None and "forgetting" not in task.metrics:
        rule = f"is what a language model may forget, {task.task_type} measures none of it"
        complain("data.general", rule, "remove it")
    elif isinstance(source, Mapping) and "carve" in source:
        complain("data.general", "is another corpus, it cannot be carved", "general: {path: ...}")
    else:
        _check_split("general", source, data, complain)


def _close(key: str) -> bool:
    return any(
        known != key and (known.rstrip("s") == key.rstrip("s") or sorted(known) == sorted(key))
        for known in SOURCE
    )


def _check_carved(
    path: str, split: str, source: Mapping[str, Any], data: Mapping[str, Any], complain: Complain
) -> None:
    check_names(path, source, CARVED, "a carved split", complain)
    share, origin, seed = source["carve"], source.get("from", "train"), source.get("seed", 0)
    if split == "train":
        complain(f"{path}.carve", "train is what the other splits are carved from")
    if not isinstance(share, float) or not 0 < share < 1:
        complain(f"{path}.carve", f"takes a share between 0 and 1, got {told(share)}")
    elsewhere = data.get(origin) if isinstance(origin, str) else None
    if not isinstance(elsewhere, Mapping) or "path" not in elsewhere:
        complain(
            f"{path}.from", f"takes a split that has a path, got {told(origin)}", "from: train"
        )
    if not is_whole(seed, 0) or seed >= SEEDS:
        rule = f"takes a whole number from 0 to {SEEDS - 1:,}, got {told(seed)}"
        complain(f"{path}.seed", rule)


def _check_columns(columns: Any, task: TaskKind | None, complain: Complain) -> None:
    if not isinstance(columns, Mapping):
        complain("data.columns", f"takes a mapping, got {told(columns)}")
        return
    if task is None:
        return
    check_names("data.columns", columns, task.columns, f"columns of {task.name}", complain)
    for key, column in columns.items():
        path, names = f"data.columns.{key}", column if isinstance(column, list) else [column]
        if not all(isinstance(name, str) and name for name in names):
            complain(path, f"takes the name of a column, got {told(column)}")
        elif any("{" in name for name in names) and key not in task.written:
            complain(path, f"takes the name of a column, no text with columns, got {told(column)}")
        elif isinstance(column, list) and (key not in task.several or len(set(column)) < 2):
            least = ", or a list of two or more" if key in task.several else ""
            complain(path, f"takes the name of one column{least}, got {told(column)}")


def _check_count(path: str, value: Any, complain: Complain) -> None:
    if not is_whole(value, 1):
        complain(path, f"takes a whole number from 1, got {told(value)}")
