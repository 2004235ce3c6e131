"""The checks of one branch: its modules, where they live, and how the budget is spread."""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np

from autopeft.config.allocations import check_allocation
from autopeft.config.evaluator import bare
from autopeft.config.modules import check_module
from autopeft.config.names import check_names, join
from autopeft.config.placement import check_layers
from autopeft.config.tree import Complain, told
from autopeft.domain.expression import Expr, check_expression
from autopeft.domain.nearest import nearest
from autopeft.domain.space import Branch, Choice, Json, Space

KEYS = ("modules", "layers", "allocation", "training", "full_fine_tuning", "parameters")
_DRAWS = 24  # points at which expressions are tried
_MOST_TRIED = 20  # of them by itself, to tell which one fails


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
        for key in ("modules", "layers"):
            if tree.get(key):
                complain(join(path, key), "full_fine_tuning trains the whole model", "remove one")
        check_allocation(tree, join(path, "allocation"), complain)
    elif bare(tree):
        return  # nothing but parameters, which `check_parameters` has looked at
    else:
        _check_modules(tree, join(path, "modules"), complain)
        check_layers(tree.get("layers", "all"), join(path, "layers"), complain)
        check_allocation(tree, join(path, "allocation"), complain)


def _check_modules(tree: Mapping[str, Json], path: str, complain: Complain) -> None:
    modules = tree.get("modules")
    if not isinstance(modules, list) or not modules:
        complain(path, f"takes a list of modules with a peft_type, got {told(modules)}")
        return
    for i, module in enumerate(modules):
        check_module(module, f"{path}[{i}]", complain)


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
    several = islice(_expressions(tree, path), _MOST_TRIED)
    found = [(at, e, _fails(_alone(tree, e))) for at, e in several]
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
