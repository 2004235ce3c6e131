"""The checks of one branch: its modules, where they live, and how the budget is spread."""

from collections.abc import Iterator, Mapping

import numpy as np

from autopeft.config.modules import check_module
from autopeft.config.names import check_names, join, nearest
from autopeft.config.placement import check_layers
from autopeft.config.tree import Complain, options_of, told
from autopeft.config.values import check_value
from autopeft.domain.allocation import ALLOCATIONS
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.space import (
    Branch,
    Choice,
    Expr,
    Json,
    Space,
    check_expression,
)

KEYS = ("modules", "layers", "allocation", "training", "full_fine_tuning")
_DRAWS = 24  # points at which expressions are tried


def check_branch(tree: dict[str, Json], path: str, complain: Complain) -> None:
    """Check a grown branch, its training apart; drops in place what says nothing."""
    heard = []

    def tell(at: str, message: str, suggestion: str = "") -> None:
        heard.append(at)
        complain(at, message, suggestion)

    _check_parts(tree, path, tell)
    # Tried only where every field makes sense: its mistakes would follow from theirs.
    _check_expressions(tree, path, complain, attempt=not heard)


def _check_parts(tree: dict[str, Json], path: str, complain: Complain) -> None:
    check_names(path, tree, KEYS, "a branch", complain)
    full = tree.get("full_fine_tuning", False)
    if not isinstance(full, bool):
        complain(join(path, "full_fine_tuning"), f"takes true or false, got {told(full)}")
    elif full:
        for key in ("modules", "layers", "allocation"):
            if tree.get(key):
                complain(join(path, key), "full_fine_tuning trains the whole model", "remove one")
    else:
        _check_modules(tree, join(path, "modules"), complain)
        check_layers(tree.get("layers", "all"), join(path, "layers"), complain)
        _check_allocation(tree, join(path, "allocation"), complain)


def _check_modules(tree: Mapping[str, Json], path: str, complain: Complain) -> None:
    modules = tree.get("modules")
    if not isinstance(modules, list) or not modules:
        complain(path, f"takes a list of modules with a peft_type, got {told(modules)}")
        return
    for i, module in enumerate(modules):
        check_module(module, f"{path}[{i}]", complain)


def _check_allocation(tree: Mapping[str, Json], path: str, complain: Complain) -> None:
    modules = tree.get("modules")
    listed = modules if isinstance(modules, list) else []
    types = {str(m.get("peft_type")) for m in listed if isinstance(m, Mapping)}
    for suffix, value in options_of(tree.get("allocation", "uniform")):
        at, name, options = path + suffix, value, None
        if isinstance(value, Mapping) and len(value) == 1:
            ((name, options),) = value.items()
        if not isinstance(name, str) or name not in ALLOCATIONS:
            known = f"this version has {' and '.join(ALLOCATIONS)}"
            what = f"allocation {told(name)}" if isinstance(name, str) else told(name)
            complain(at, f"{what} is not supported yet", known)
        elif name == "adalora":
            if types - {"LORA"}:
                got = ", ".join(sorted(types))
                complain(at, f"adalora allocates LORA modules, got {got}", "peft_type: LORA")
            _check_options(options, f"{at}.adalora", complain)
        elif options:
            complain(at, f"uniform has no fields, got {told(options)}", "allocation: uniform")


def _check_options(options: Json, path: str, complain: Complain) -> None:
    known = PEFT_DEFAULTS["ADALORA"]
    if options is not None and not isinstance(options, Mapping):
        complain(path, f"takes a mapping of AdaLoraConfig's fields, got {told(options)}")
        return
    for field, value in (options or {}).items():
        at = f"{path}.{field}"
        if field not in known:
            complain(at, f"AdaLoraConfig has no field {field!r}", nearest(field, known))
        else:
            check_value(at, field, value, known[field], complain)


def _check_expressions(
    tree: Mapping[str, Json], path: str, complain: Complain, *, attempt: bool
) -> None:
    """Every expression names fields of the branch and, on attempt, has a value at every draw."""
    fields = set(_field_names(tree))
    sound = attempt
    for at, expression in _expressions(tree, path):
        for name in sorted(check_expression(expression.text) - fields):
            sound = False
            complain(
                at,
                f"the expression {expression.text!r} names {name!r}, which is no field here",
                nearest(name, sorted(fields)),
            )
    if not sound or not (together := _fails(tree)):
        return
    found = [(at, e, _fails(_alone(tree, e))) for at, e in _expressions(tree, path)]
    failing = [entry for entry in found if entry[2]]
    # Each has a value by itself: they follow each other in a circle.
    for at, expression, error in failing or [(*found[0][:2], together)] if found else ():
        complain(at, f"the expression {expression.text!r} has no value: {error}")


def _fails(tree: Json) -> str:
    space, rng = Space((Branch("branch", tree),)), np.random.default_rng(0)
    try:
        for _ in range(_DRAWS):
            space.realise(space.draw(rng))
    except (ArithmeticError, TypeError, ValueError) as error:
        return str(error)
    return ""


def _alone(tree: Json, expression: Expr) -> Json:
    """The tree with every other expression replaced by a number, to tell which one fails."""
    match tree:
        case Expr():
            return tree if tree == expression else 1
        case Mapping():
            return {key: _alone(value, expression) for key, value in tree.items()}
        case list():
            return [_alone(value, expression) for value in tree]
        case Choice():
            return Choice(tuple(_alone(option, expression) for option in tree.options))
        case _:
            return tree


def _field_names(tree: Json) -> Iterator[str]:
    match tree:
        case Mapping():
            for key, value in tree.items():
                yield str(key)
                yield from _field_names(value)
        case list():
            for value in tree:
                yield from _field_names(value)
        case Choice():
            for value in tree.options:
                yield from _field_names(value)


def _expressions(tree: Json, path: str) -> Iterator[tuple[str, Expr]]:
    match tree:
        case Expr():
            yield path, tree
        case Mapping():
            for key, value in tree.items():
                yield from _expressions(value, join(path, str(key)))
        case list():
            for i, value in enumerate(tree):
                yield from _expressions(value, f"{path}[{i}]")
        case Choice():
            for i, value in enumerate(tree.options):
                yield from _expressions(value, f"{path}.choice[{i}]")
