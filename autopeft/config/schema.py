"""The JSON schema of a space file, for editors: made of what its checks are made of.

Keys, bounds, PEFT's fields, metrics and strategies are those that the checks look at, so a key that
they learn is one that the schema has; what it takes can be added below. The schema takes every file
that the checks take. It lets pass what only they can see: names of modules, expressions, rules
between two keys.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from autopeft.config import (
    confirm,
    effort,
    evaluation,
    evaluator,
    goals,
    harness,
    own_metrics,
    parts,
)
from autopeft.config.branching import BRANCH_NAMES
from autopeft.config.quantization import SHORT
from autopeft.config.schema_branches import definitions, placed, recipes_of
from autopeft.config.schema_values import (
    ANY,
    COUNT,
    NULL,
    NUMBER,
    TEXT,
    TRUTH,
    Schema,
    either,
    forms,
    listed,
    mapping,
    one_of,
    ref,
)
from autopeft.config.spec import KEYS
from autopeft.domain.benchmarks import BENCHMARKS
from autopeft.domain.methods.peft_fields import TRAINER_DEFAULTS
from autopeft.domain.objective import METRICS, SERVED_BY
from autopeft.domain.tasks import KINDS, PROBLEM_TYPES
from autopeft.namespaces import STUDY

DESCRIPTIONS: Mapping[str, str] = {
    "autopeft": "The format version.",
    "study": "The name of the study.",
    "model": "The pretrained model: what `from_pretrained` takes, and its task.",
    "trainer": "The trainer of the kind of task: need not be said.",
    "data": "Training, validation and test rows: arguments of `datasets.load_dataset`.",
    "training": "Fields of TrainingArguments, or of SFTConfig, for all branches; they may vary.",
    "space": "Branches by name: a trial takes one.",
    "objectives": "What is traded off: a metric each, and its goal.",
    "constraints": "Limits: `peak_memory_gib <= 8`, or {servable: vllm}.",
    "baselines": "Branches that the front is compared with; false: none.",
    "budget": "Whichever is spent first ends the search.",
    "resources": "Of one trial; price_per_hour of one device. It ends after minutes_per_trial.",
    "search": "How to choose: sampler, trials at a time, rungs, seed.",
    "evaluation": "What bounds the cost of generated texts.",
    "confirm": "Train the front and the baselines again on fresh seeds, inside the budget.",
    "evaluator": "Training code of your own: my_package.train:evaluate.",
    "metrics": "What that code returns: {rouge: {goal: maximize}}; or functions by import path.",
    "parameters": "Free parameters of that code.",
    "modules": "PEFT modules, trained together where there are several.",
    "layers": "Where they live: all, {first: k}, {last: k}, {range: [a, b]}, {bits: shared}.",
    "allocation": "How the parameter budget is spread: uniform, adalora, ist, ...",
    "full_fine_tuning": "Train the whole model instead of modules.",
}


def space_schema() -> dict[str, Any]:
    """The schema as a JSON document, draft 7."""
    root = _root()
    if unknown := set(root) - set(KEYS):
        raise KeyError(f"no such keys: {', '.join(sorted(unknown))}")
    properties = {key: {**root.get(key, ANY), **_described(key)} for key in KEYS}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "autopeft space file",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": ["autopeft", "study", "budget"],
        "anyOf": [{"required": ["evaluator"]}, {"required": ["model", "data"]}],
        "allOf": [recipes_of(trainer) for trainer in TRAINER_DEFAULTS],
        "definitions": {**forms(), **definitions(), "data": _data(), "split": _split()},
    }


def _described(key: str) -> dict[str, str]:
    return {"description": DESCRIPTIONS[key]} if key in DESCRIPTIONS else {}


def _root() -> dict[str, Schema]:
    objective = either(one_of(METRICS), TEXT)
    said = {"function": _FUNCTION, "goal": _GOAL, "unit": TEXT, "key": TEXT}
    metric = mapping(own_metrics.METRIC, said, type="object")
    own = mapping(evaluator.EVALUATOR, {"function": _FUNCTION, "working_dir": TEXT}, type="object")
    named = mapping(
        goals.OBJECTIVE,
        {
            "metric": objective,
            "goal": _GOAL,
            "scale": one_of(("linear", "log")),
            "reference": either(NUMBER, NULL),
        },
        type="object",
        required=["metric"],
    )
    servable = mapping(("servable",), {"servable": one_of(SERVED_BY)}, type="object")
    return {
        "autopeft": {"const": 1},
        "study": {**TEXT, "pattern": f"^{STUDY.pattern}$"},
        "model": _model(),
        "trainer": one_of((*TRAINER_DEFAULTS, None)),
        "data": ref("data"),
        "training": ANY,
        "space": _branches("space"),
        "objectives": listed(either(objective, named), least=1),
        "constraints": either(listed(either(TEXT, servable)), NULL),
        "baselines": either(_branches("baselines"), {"const": False}),
        "budget": {**_numbers(effort.BUDGET), "minProperties": 1},
        "resources": mapping(
            (*effort.RESOURCES, "processes_per_trial"),
            {**_least(effort.RESOURCES), "processes_per_trial": COUNT},
        ),
        "search": _search(),
        "evaluation": mapping(
            evaluation.EVALUATION,
            {
                "generate": mapping(evaluation.GENERATE, dict.fromkeys(evaluation.COUNTS, COUNT)),
                "lm_eval": _harness(),
            },
        ),
        "confirm": either(
            mapping(
                confirm.CONFIRM,
                {
                    "seeds": {"type": "integer", "minimum": confirm.FEWEST},
                    "trials": {"type": ["integer", "null"], "minimum": 1},
                },
            ),
            {"const": False},
        ),
        "evaluator": either(_FUNCTION, own, NULL),
        "metrics": {"type": ["object", "null"], "additionalProperties": metric},
        "parameters": {"type": ["object", "null"]},
        **placed(),
    }


_GOAL = one_of(("maximize", "minimize"))
_FUNCTION: Schema = {**TEXT, "pattern": f"^{evaluator.FUNCTION.pattern}$"}


def _numbers(least: Mapping[str, float]) -> Schema:
    """Numbers by name, with the least that each can be."""
    return mapping(least, _least(least))


def _least(least: Mapping[str, float]) -> dict[str, Schema]:
    whole = {"trials": "integer"}
    return {name: {"type": whole.get(name, "number"), "minimum": at} for name, at in least.items()}


def _harness() -> Schema:
    counts = {
        name: {"type": ["integer", "null"], "minimum": at} for name, at in harness.LEAST.items()
    }
    some: Schema = {**TEXT, "minLength": 1}
    told = {"tasks": listed(some, least=1), "include_path": either(some, NULL)}
    return mapping(harness.KEYS, {**counts, **told, "apply_chat_template": TRUTH})


def _model() -> Schema:
    types = dict.fromkeys(kind.task_type for kind in KINDS.values())
    own = ("num_labels",)  # of an evaluator's study
    return mapping(
        (*parts.MODEL, *own),
        {
            "model_name_or_path": {**TEXT, "minLength": 1},
            "task_type": one_of(types),
            "problem_type": one_of(PROBLEM_TYPES),
            "trust_remote_code": TRUTH,
            **dict.fromkeys(SHORT, TRUTH),
        },
        required=["model_name_or_path", "task_type"],
    )


def _search() -> Schema:
    samplers = either(one_of(effort.SAMPLERS), {**TEXT, "pattern": f"^{effort.OPTUNA.pattern}$"})
    sampler = mapping(effort.SAMPLER, {"name": samplers}, type="object", required=["name"])
    above, at = {"type": ["number"], "exclusiveMinimum": 0}, listed(NUMBER, least=1)
    stop = mapping(effort.STOP, {"min_gain": above, "patience": COUNT})
    rungs = mapping(effort.RUNGS, {"epochs": at, "steps": at, "eta": NUMBER})
    return mapping(
        effort.SEARCH,
        {
            "sampler": either(samplers, sampler),
            "parallel": COUNT,
            "seed": {"type": "integer", "minimum": 0},
            "seeds": COUNT,
            "rungs": rungs,
            "stop": stop,
            "warm_start": either(TEXT, listed(TEXT), NULL),
        },
    )


def _branches(group: str) -> Schema:
    return {
        "type": ["object", "null"],
        "propertyNames": {"pattern": f"^{BRANCH_NAMES[group].pattern}$"},
        "additionalProperties": ref("branch"),
    }


def _data() -> Schema:
    columns: Iterable[str] = dict.fromkeys(c for kind in KINDS.values() for c in kind.columns)
    column = either(TEXT, listed(TEXT, least=2))
    return mapping(
        (*parts.DATA, *BENCHMARKS, "path"),
        {
            **dict.fromkeys((*parts.SPLITS, "general"), ref("split")),
            **{key: one_of(benchmark.tasks) for key, benchmark in BENCHMARKS.items()},
            "path": TEXT,
            "columns": mapping(columns, dict.fromkeys(columns, column)),
            "max_length": COUNT,
            "max_target_length": COUNT,
            "limit": mapping(parts.LIMITS, dict.fromkeys(parts.LIMITS, COUNT)),
        },
    )


def _split() -> Schema:
    """The arguments of `load_dataset`, of which a builder may have its own; or a carved share."""
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    seed = {"type": "integer", "minimum": 0, "maximum": parts.SEEDS - 1}
    carved = {"carve": share, "from": one_of(parts.SPLITS), "seed": seed}
    names = dict.fromkeys((*parts.SOURCE, *parts.CARVED), ANY)
    return {
        "type": "object",
        "properties": {**names, "path": TEXT, **carved},
        "oneOf": [{"required": ["path"]}, {"required": ["carve"]}],
    }
