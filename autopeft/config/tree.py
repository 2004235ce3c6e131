"""Plain data to a tree with variables: the five forms that vary."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from autopeft.domain.expression import Expr
from autopeft.domain.space import Choice, Json, Range, Subset

Complain = Callable[..., None]
"""complain(path, message, suggestion="")"""
STEP = re.compile(r"[^.\[\]]+|\[\d+\]")
"""One step of a path: a key, or `[position]`."""

_LONGEST = 100

_FORMS = {
    "choice": {"choice"},
    "range": {"low", "high", "log", "step"},
    "subset": {"subset", "min"},
    "expr": {"expr"},
}


def grow(node: Json, path: str, complain: Complain) -> Json:
    """The tree of a plain value; mistakes go to `complain` and leave the value as it is."""
    if isinstance(node, list):
        return [grow(item, f"{path}[{i}]", complain) for i, item in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    keys = set(node)
    try:
        if "choice" in keys:
            return _choice(node, path, complain)
        if "subset" in keys:
            return _subset(node)
        if "expr" in keys:
            _only(keys, "expr")
            return Expr(str(node["expr"]))
        if keys & {"low", "high"} or (keys and keys <= _FORMS["range"]):
            return _range(node)
    except ValueError as error:
        complain(path, str(error))
        return None
    return {
        str(key): grow(value, f"{path}.{key}" if path else str(key), complain)
        for key, value in node.items()
    }


def _only(keys: set[str], form: str) -> None:
    if extra := keys - _FORMS[form]:
        raise ValueError(
            f"a {form} takes {', '.join(sorted(_FORMS[form]))}, got also {', '.join(sorted(extra))}"
        )


def _choice(node: Mapping[str, Json], path: str, complain: Complain) -> Choice:
    _only(set(node), "choice")
    if not isinstance(node["choice"], list):
        raise ValueError(f"choice takes a list of options, got {node['choice']!r}: put it in [ ]")
    options = tuple(
        grow(option, f"{path}.choice[{i}]", complain) for i, option in enumerate(node["choice"])
    )
    plain = [repr(option) for option in options]
    if len(set(plain)) < len(plain):
        raise ValueError(f"choice has an option twice: {node['choice']!r}")
    return Choice(options)


def _subset(node: Mapping[str, Json]) -> Subset:
    _only(set(node), "subset")
    options, least = node["subset"], node.get("min", 1)
    if not isinstance(options, list):
        raise ValueError(f"subset takes a list of options, got {options!r}: put it in [ ]")
    if any(isinstance(option, Mapping | list) for option in options):
        raise ValueError(f"subset takes plain options, got {options!r}: use choice for the rest")
    if len({repr(option) for option in options}) < len(options):
        raise ValueError(f"subset has an option twice: {options!r}")
    if isinstance(least, bool) or not isinstance(least, int):
        raise ValueError(f"min takes a whole number, got {least!r}")
    return Subset(tuple(options), least)


def _range(node: Mapping[str, Json]) -> Range:
    keys = set(node)
    _only(keys, "range")
    if missing := {"low", "high"} - keys:
        raise ValueError(f"a range needs low and high, {' and '.join(sorted(missing))} is missing")
    for name in keys - {"log"}:
        if isinstance(node[name], bool) or not isinstance(node[name], int | float):
            raise ValueError(f"{name} takes a number, got {node[name]!r}")
    if not isinstance(node.get("log", False), bool):
        raise ValueError(f"log takes true or false, got {node['log']!r}")
    return Range(**node)


def section(
    document: Mapping[str, Any], key: str, complain: Complain, *, needed: bool = False
) -> dict[str, Any]:
    """What a file has at a key, a mapping; {} where there is nothing, or something else."""
    value = document.get(key)
    if needed and (value is None or value == {}):
        complain(key, "is needed, got nothing", "search_spaces/ has examples")
    elif value is not None and not isinstance(value, Mapping):
        complain(key, f"takes a mapping (`key: value`), got {told(value)}")
    return dict(value) if isinstance(value, Mapping) else {}


def fields(grown: Any, path: str, complain: Complain) -> dict[str, Any]:
    """A grown mapping; one that varies as a whole is none."""
    if grown is None or isinstance(grown, dict):
        return grown or {}
    complain(path, f"takes a mapping (`key: value`), got {told(grown)}")
    return {}


def options_of(node: Any) -> list[tuple[str, Any]]:
    """Every value that a node can take with the suffix of its path: each option, or itself."""
    if isinstance(node, Choice):
        return [
            (f".choice[{i}]{suffix}", value)
            for i, option in enumerate(node.options)
            for suffix, value in options_of(option)
        ]
    return [("", node)]


def told(node: Json) -> str:
    """A node as the file spells it, short enough for a message."""
    text = repr(_spelt(node))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _spelt(node: Json) -> Json:
    match node:
        case Choice():
            return {"choice": [_spelt(option) for option in node.options]}
        case Subset():
            return {"subset": list(node.options)}
        case Range():
            return {"low": node.low, "high": node.high}
        case Expr():
            return {"expr": node.text}
        case Mapping():
            return {key: _spelt(value) for key, value in node.items()}
        case list():
            return [_spelt(value) for value in node]
        case _:
            return node
