"""The JSON schema of a branch: modules with PEFT's fields, layers, allocation, recipes."""

from autopeft.config import branches, modules, recipe
from autopeft.config.schema_values import (
    ANY,
    COUNT,
    TRUTH,
    Schema,
    either,
    field,
    listed,
    mapping,
    one_of,
    ref,
    varying,
)
from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS, TRAINER_DEFAULTS, TRAINER_VALUES
from autopeft.domain.methods.strategies import STRATEGIES
from autopeft.domain.networks.capabilities import SEARCHABLE
from autopeft.domain.tasks import KINDS, TRAINER


def definitions() -> dict[str, Schema]:
    """What branches are made of, by name."""
    peft = {f"modules.{peft_type}": _module(peft_type) for peft_type in sorted(SEARCHABLE)}
    recipes = {f"training.{trainer}": _recipe(trainer) for trainer in TRAINER_DEFAULTS}
    return {
        "branch": mapping(
            branches.KEYS,
            {**placed(), "training": ANY, "parameters": {"type": ["object", "null"]}},
            type="object",
        ),
        "modules": _modules(),
        "layers": _layers(),
        "allocation": _allocation(),
        **peft,
        **recipes,
    }


def placed() -> dict[str, Schema]:
    """What a branch has, and a file of one branch at its top."""
    return {
        "modules": ref("modules"),
        "layers": ref("layers"),
        "allocation": ref("allocation"),
        "full_fine_tuning": TRUTH,
    }


def recipes_of(trainer: str) -> Schema:
    """`training:`, everywhere in the file, has the fields of the trainer that the file gets."""
    types = [kind.task_type for kind in KINDS.values() if kind.trainer == trainer]
    named = {"properties": {"trainer": {"const": trainer}}, "required": ["trainer"]}
    of_task = {
        "properties": {"model": {"properties": {"task_type": one_of(dict.fromkeys(types))}}},
        "required": ["model"],
    }
    unnamed: Schema = {"not": {"required": ["trainer"]}}
    usual = either(of_task, {"not": {"required": ["model"]}}) if trainer == TRAINER else of_task
    recipe = {"properties": {"training": ref(f"training.{trainer}")}}
    inside = {"additionalProperties": recipe}
    return {
        "if": either(named, {"allOf": [unnamed, usual]}),
        "then": {"properties": {**recipe["properties"], "space": inside, "baselines": inside}},
    }


def _recipe(trainer: str) -> Schema:
    fields = {
        name: field(name, default, TRAINER_VALUES.get(name, ()))
        for name, default in recipe.fields_of(trainer).items()
    }
    owned = {
        name: {"description": f"autopeft sets it itself: {why}", "deprecated": True}
        for name, why in recipe.OWNED.items()
        if name in fields
    }
    silent: dict[str, Schema] = dict.fromkeys(recipe.SILENT, ANY)
    return mapping(
        dict.fromkeys((*fields, *silent)),
        {**fields, **owned, **silent},
        patternProperties={"_token$": ANY},
    )


def _modules() -> Schema:
    each = [
        {
            "if": {"properties": {"peft_type": {"const": name}}, "required": ["peft_type"]},
            "then": ref(f"modules.{name}"),
        }
        for name in sorted(SEARCHABLE)
    ]
    module = {
        "type": "object",
        "properties": {"peft_type": one_of(sorted(SEARCHABLE))},
        "required": ["peft_type"],
        "allOf": each,
    }
    return listed(module)


def _module(peft_type: str) -> Schema:
    defaults = PEFT_DEFAULTS[peft_type]
    size = size_field(peft_type)
    dropped: dict[str, Schema] = dict.fromkeys(modules.DROPPED, ANY)
    dropped |= dict.fromkeys(modules.OUTCOMES.get(peft_type, ()), ANY)
    details = {name: field(name, default) for name, default in defaults.items()}
    if size in details:
        whole = varying({"type": "integer", "minimum": 0})
        by_layer = [
            mapping(("per_layer",), {"per_layer": whole}, type="object"),
            mapping(("per_group", "groups"), {"per_group": whole, "groups": COUNT}, type="object"),
        ]
        options = listed(either(whole, *by_layer, ref("varies")), least=1)
        chosen = mapping(("choice",), {"choice": options}, type="object")
        details[size] = either(whole, *by_layer, chosen)
    details |= {"peft_type": {"const": peft_type}, "layers": ref("layers"), **dropped}
    return mapping(details, details, type="object")


def _layers() -> Schema:
    count, index = varying(COUNT), {"type": "integer", "minimum": 0}
    return either(
        one_of(("all",)),
        *(mapping((key,), {key: count}, type="object") for key in ("first", "last")),
        mapping(("range",), {"range": listed(index, least=2)}, type="object"),
        mapping(("bits",), {"bits": one_of(("shared", "own"))}, type="object"),
        listed(index, least=1),
        mapping(("choice",), {"choice": listed(ref("layers"), least=1)}, type="object"),
    )


def _allocation() -> Schema:
    options = {
        name: mapping(
            strategy.options,
            {option: field(option, default) for option, default in strategy.options.items()},
        )
        for name, strategy in STRATEGIES.items()
    }
    one = {"minProperties": 1, "maxProperties": 1, "type": "object"}
    return either(
        one_of(STRATEGIES),
        mapping(options, options, **one),
        mapping(("choice",), {"choice": listed(ref("allocation"), least=1)}, **one),
    )
