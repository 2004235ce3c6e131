"""Plain data to a tree with variables: the five forms that vary."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from autopeft.domain.space import Choice, Expr, Json, Range, Subset

Complain = Callable[..., None]
"""complain(path, message, suggestion="")"""

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
        if keys & {"low", "high"}:
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
    if not isinstance(node["subset"], list):
        raise ValueError(f"subset takes a list of options, got {node['subset']!r}")
    return Subset(tuple(node["subset"]), node.get("min", 1))


def _range(node: Mapping[str, Json]) -> Range:
    keys = set(node)
    _only(keys, "range")
    if missing := {"low", "high"} - keys:
        raise ValueError(f"a range needs low and high, {missing.pop()} is missing")
    for name in keys - {"log"}:
        if isinstance(node[name], bool) or not isinstance(node[name], int | float):
            hint = " (write 1e-5 as 1.0e-5)" if re.match(r"^[\d.]+e", str(node[name])) else ""
            raise ValueError(f"{name} takes a number, got {node[name]!r}{hint}")
    if not isinstance(node.get("log", False), bool):
        raise ValueError(f"log takes true or false, got {node['log']!r}")
    return Range(**node)


def options_of(node: Any) -> list[tuple[str, Any]]:
    """Every value that a node can take with the suffix of its path: each option, or itself."""
    if isinstance(node, Choice):
        return [
            (f".choice[{i}]{suffix}", value)
            for i, option in enumerate(node.options)
            for suffix, value in options_of(option)
        ]
    return [("", node)]
