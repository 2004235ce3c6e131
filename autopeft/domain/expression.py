"""Fields that follow others: `{expr: "2 * r"}`, read by a grammar of its own, never by `eval`."""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_CALLS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "round": round, "int": int}
_LONGEST_EXPRESSION = 200
_LARGEST = 2**63  # of every value on the way: `2 ** 64 ** 64 ** 64` would fill the memory
_LARGEST_EXPONENT = 64
_DEEPEST = 50  # expressions that follow each other
LEAVES = (str, int, float, type(None))
"""Most of a tree: what a search, which realises thousands of points, need not walk into."""


@dataclass(frozen=True)
class Expr:
    """A number that follows other fields: `2 * r`.

    Grammar: numbers, field names, + - * / // % **, parentheses, min, max, round, int.
    A name is looked up in the same mapping, then outwards, then in the branch's modules; a size
    per layer is the largest of them.
    """

    text: str

    def __post_init__(self) -> None:
        check_expression(self.text)

    def evaluate(self, names: Mapping[str, Any]) -> float | int:
        """
        Raises:
            ValueError: a name is no number, or there is no such number (`r / 0`, `1e308 * r`).
        """
        value = _evaluate(_parsed(self.text), names)
        return int(value) if float(value).is_integer() else value


@lru_cache
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@lru_cache
def check_expression(text: str) -> frozenset[str]:
    """Check an expression against the grammar and return the names it uses.

    Raises:
        ValueError: something else than the grammar of `Expr`.
    """
    rule = (
        "an expression takes numbers, field names, + - * / // % **, parentheses, "
        f"min, max, round and int, got {text!r}"
    )
    if len(text) > _LONGEST_EXPRESSION:
        raise ValueError(f"{rule[:120]}...: shorten it to {_LONGEST_EXPRESSION} characters")
    try:
        tree = ast.parse(text, mode="eval").body
        return frozenset(_expression_names(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(rule) from error


def _expression_names(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Name():
            yield node.id
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            yield from _expression_names(node.operand)
        case ast.BinOp() if type(node.op) in _BINARY:
            yield from _expression_names(node.left)
            yield from _expression_names(node.right)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _CALLS and node.args:
            for argument in node.args:
                yield from _expression_names(argument)
        case _:
            raise ValueError(ast.dump(node)[:80])


def _evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    try:
        value = _computed(node, names)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(str(error)) from error
    if isinstance(value, complex) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError(
            f"an expression stays within {_LARGEST:.3g} on the way, {ast.unparse(node)!r} does not"
        )
    return value


def _computed(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            value = names.get(node.id)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{node.id!r} is not a number here, got {value!r}")
            return value
        case ast.UnaryOp():
            value = _evaluate(node.operand, names)
            return -value if isinstance(node.op, ast.USub) else value
        case ast.BinOp():
            left, right = _evaluate(node.left, names), _evaluate(node.right, names)
            if isinstance(node.op, ast.Pow) and abs(right) > _LARGEST_EXPONENT:
                raise ValueError(f"an exponent stays within {_LARGEST_EXPONENT}, got {right}")
            return _BINARY[type(node.op)](left, right)
        case ast.Call(func=ast.Name(id=name)):
            arguments = [_evaluate(argument, names) for argument in node.args]
            if name == "round" and any(abs(digits) > _LARGEST_EXPONENT for digits in arguments[1:]):
                raise ValueError(f"round takes {_LARGEST_EXPONENT} digits or fewer")
            return _CALLS[name](*arguments)
        case _:
            raise ValueError(ast.dump(node)[:80])


def evaluated(tree: Any) -> Any:
    """A tree of literal values with every expression replaced by its number.

    Raises:
        ValueError: an expression follows no number, or itself.
    """
    return _follow(tree, ())


def _follow(tree: Any, scopes: tuple[Mapping[str, Any], ...]) -> Any:
    match tree:
        case Expr():
            return _resolve(tree, _names(scopes))
        case Mapping():
            inside = (*scopes, tree)
            return {k: v if isinstance(v, LEAVES) else _follow(v, inside) for k, v in tree.items()}
        case list():
            return [v if isinstance(v, LEAVES) else _follow(v, scopes) for v in tree]
        case _:
            return tree


def _names(scopes: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for scope in scopes:
        for module in scope.get("modules", ()):
            names |= module
        names |= scope
    return names


def largest(size: Any) -> Any:
    """The number of a literal field: of a size per layer or per group, the largest."""
    match size:
        case {"per_layer": sizes} | {"per_group": sizes}:
            return max(sizes) if isinstance(sizes, list) else sizes
        case _:
            return size


def _resolve(
    expression: Expr,
    names: Mapping[str, Any],
    behind: tuple[str, ...] = (),
    found: dict[str, float | int] | None = None,
) -> float | int:
    """
    behind: the names on the way here; a circle ends in one of them, which is missing then.
    found: the numbers of names so far: each is followed once.
    """
    if len(behind) > _DEEPEST:
        raise ValueError(f"at most {_DEEPEST} expressions follow each other, got more")
    found = {} if found is None else found
    values = {}
    for name in check_expression(expression.text):
        value = None if name in behind else largest(names.get(name))
        if isinstance(value, Expr):
            if name not in found:
                found[name] = _resolve(value, names, (*behind, name), found)
            value = found[name]
        values[name] = value
    return expression.evaluate(values)
