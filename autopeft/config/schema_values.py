"""JSON schemas of single values: literal ones, the forms that vary, fields of PEFT and trainers."""

from collections.abc import Iterable, Mapping
from typing import Any

from autopeft.config.values import ABOVE, LEAST, MOST, wanted
from autopeft.domain.space import Json

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 1}
TRUTH: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
ANY: Schema = {}

_KINDS: Mapping[str, Schema] = {
    "true or false": TRUTH,
    "a whole number": {"type": "integer"},
    "a number": NUMBER,
    "a text": TEXT,
}
"""{what `values.wanted` calls it: schema}"""

_RANGE = {"low": NUMBER, "high": NUMBER, "log": TRUTH, "step": NUMBER}


def ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def either(*options: Schema) -> Schema:
    return {"anyOf": list(options)}


def one_of(values: Iterable[Json]) -> Schema:
    return {"enum": list(values)}


def listed(item: Schema, *, least: int = 0) -> Schema:
    return {"type": "array", "items": item, **({"minItems": least} if least else {})}


def mapping(keys: Iterable[str], details: Mapping[str, Schema], **more: Any) -> Schema:
    """A mapping that takes these keys and no other; null is one without any.

    details: schemas of some of them; a key without one takes anything.

    Raises:
        KeyError: details of a key that is not there.
    """
    keys = list(keys)
    if unknown := set(details) - set(keys):
        raise KeyError(f"no such keys: {', '.join(sorted(unknown))}")
    properties = {key: details.get(key, ANY) for key in keys}
    return {"type": ["object", "null"], "properties": properties} | {
        "additionalProperties": False,
        **more,
    }


def forms() -> dict[str, Schema]:
    """The definitions of what varies."""
    any_form = either(*map(ref, ("choice", "range", "subset", "expr")))
    return {
        "varies": any_form,
        **{_named(kind): varying(kind) for kind in _KINDS.values()},
        "choice": _form({"choice": listed(ANY, least=1)}, "one of the options"),
        "range": _form(_RANGE, "a number between; whole where low and high are", ("low", "high")),
        "subset": _form(
            {"subset": listed(ANY, least=1), "min": {"type": "integer", "minimum": 0}},
            "at least min of them",
            ("subset",),
        ),
        "expr": _form({"expr": ANY}, 'follows other fields: "2 * r"'),
    }


def _form(properties: Schema, description: str, required: Iterable[str] = ()) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(required) or list(properties),
        "additionalProperties": False,
    }


def varying(literal: Schema) -> Schema:
    """A literal value, or a form that varies: a choice of such values, a range of numbers."""
    if not literal:
        return ANY
    options = [literal, NULL, ref("expr")]
    options.append(
        {
            "type": "object",
            "properties": {"choice": listed(either(literal, NULL, ref("varies")), least=1)},
            "required": ["choice"],
            "additionalProperties": False,
        }
    )
    if literal.get("type") in ("integer", "number"):
        bounds = {"low": literal, "high": literal, "log": TRUTH, "step": NUMBER}
        options.append(_form(bounds, "a number between", ("low", "high")))
    return either(*options)


def field(name: str, default: Json, values: Iterable[str] = ()) -> Schema:
    """A field of a PEFT config or of a trainer's arguments, as `values.check_value` takes it.

    values: those that a text may have, where they are known.
    """
    kind = _KINDS.get(wanted(name, default), ANY)
    bounds = {
        key: limits[name]
        for key, limits in (("exclusiveMinimum", ABOVE), ("minimum", LEAST), ("maximum", MOST))
        if name in limits
    }
    shown = {} if default in (None, "", [], {}) else {"default": default}
    if values := list(values):
        return {**varying(one_of(values)), **shown}
    if kind is TRUTH and name.startswith("init"):
        return {**varying({"type": ["boolean", "string"]}), **shown}
    if bounds:
        return {**varying({**kind, **bounds}), **shown}
    # In draft 7 nothing beside a $ref counts.
    return {"allOf": [ref(_named(kind))], **shown} if kind else {**shown}


def _named(kind: Schema) -> str:
    return f"{kind['type']}, or what varies"
