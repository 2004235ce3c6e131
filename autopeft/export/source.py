"""Values as Python source, laid out as ruff and black do: on one line where it fits."""

import json
from collections.abc import Iterable, Mapping, Sequence

from autopeft.domain.model import ModelShape
from autopeft.domain.space import Json

WIDTH = 100


def literal(value: Json, *, indent: int = 0, used: int = 0) -> str:
    """A JSON value as a Python literal.

    Args:
        indent: columns before the line that the value starts on.
        used: other columns of that line, after the indent or after the value.
    """
    flat = _flat(value)
    if indent + used + len(flat) <= WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    inner = indent + 4
    if isinstance(value, dict):
        keys = [f"{_flat(key)}: " for key in value]
        items = [
            key + literal(item, indent=inner, used=len(key) + 1)
            for key, item in zip(keys, value.values(), strict=True)
        ]
    else:
        items = [literal(item, indent=inner, used=1) for item in value]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return _lines(opening, items, closing, indent)


def remark(text: str) -> str:
    """A text as it can stand in a comment or a docstring, and end neither: on one line, without
    double quotes and backslashes."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain.replace("\\", "/").replace('"', "'")


def constant(name: str, value: Json) -> str:
    """`NAME = value`."""
    return f"{name} = {literal(value, used=len(name) + 3)}"


def call(name: str, arguments: Iterable[tuple[str, str]]) -> str:
    """`name(key=source, ...)`, an argument a line; the sources are given."""
    return _lines(f"{name}(", [f"{key}={source}" for key, source in arguments], ")", 0)


def further(arguments: Mapping[str, Json]) -> str:
    """Arguments behind the first of a call."""
    return "".join(f", {name}={literal(value)}" for name, value in arguments.items())


def module_names(constant_name: str, names: Sequence[str], shape: ModelShape) -> str:
    """`NAME = [...]` for full module names: layers times kinds where they are just that."""
    parts = _layers_and_kinds(names, shape)
    if parts is None:
        return constant(constant_name, list(names))
    stem, layers, kinds = parts
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        where = f"range({layers[0]}, {layers[-1] + 1})"
    else:
        where = _flat(list(layers))
    clauses = [
        f'f"{stem}.{{layer}}.{{kind}}"',
        f"for layer in {where}",
        f"for kind in {literal(list(kinds), indent=4, used=len('for kind in '))}",
    ]
    inside = " ".join(clauses)
    if "\n" not in inside:
        flat = f"{constant_name} = [{inside}]"
        if len(flat) <= WIDTH:
            return flat
        if 4 + len(inside) <= WIDTH:
            return f"{constant_name} = [\n    {inside}\n]"
    return f"{constant_name} = [\n" + "".join(f"    {clause}\n" for clause in clauses) + "]"


def _layers_and_kinds(
    names: Sequence[str], shape: ModelShape
) -> tuple[str, tuple[int, ...], tuple[str, ...]] | None:
    """The stem, layers and kinds whose product the names are; None where they are not."""
    wanted = set(names)
    chosen = [module for module in shape.everything if module.name in wanted]
    stems = {module.name.removesuffix(f".{module.layer}.{module.kind}") for module in chosen}
    layers = tuple(sorted({module.layer for module in chosen}))
    kinds = tuple(dict.fromkeys(module.kind for module in chosen))
    whole = len(chosen) == len(names) == len(layers) * len(kinds)
    if len(names) < 2 or len(stems) != 1 or not whole:
        return None
    (stem,) = stems
    return stem, layers, kinds


def _lines(opening: str, items: Sequence[str], closing: str, indent: int) -> str:
    inner = " " * (indent + 4)
    return "\n".join([opening, *(f"{inner}{item}," for item in items), " " * indent + closing])


def _flat(value: Json) -> str:
    match value:
        case str() if '"' in value:
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)  # Python has the same escapes
        case dict():
            return "{" + ", ".join(f"{_flat(k)}: {_flat(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_flat(item) for item in value) + "]"
        case _:
            return repr(value)
