"""From a point to those next to it: another option, one bit, one step along a range.

A move is taken only when it is called for: of the hundred neighbours of a point most are never
looked at.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from autopeft.domain.space import (
    Bits,
    Branch,
    Choice,
    Json,
    Parameter,
    Point,
    Range,
    Subset,
    Variable,
)

Move = tuple[tuple[Parameter, ...], int]
"""The parameters that change, all to one value, and the step of the first of them that leads there;
-1: to what the first is."""

_JITTERS = (-0.3, -0.1, -0.03, 0.03, 0.1, 0.3)  # of a range's width: fine, middle, coarse steps


def neighbours(branch: Branch, point: Point, rng: np.random.Generator) -> Iterator[Point]:
    """Points that differ in one parameter, or in the sizes of one module, all alike then.

    A new option's own parameters are drawn at random.
    """
    for move in moves(branch, point):
        moved = taken(branch, point, move, rng)
        if moved != point:
            yield moved


def moves(branch: Branch, point: Point) -> list[Move]:
    """One move for every neighbour."""
    found: list[Move] = []
    families: dict[str, list[Parameter]] = {}
    for parameter in branch.parameters:
        if parameter.active(point):
            alone = (parameter,)
            found += [(alone, step) for step in range(_steps(parameter.variable))]
            if parameter.by_layer:
                families.setdefault(parameter.family, []).append(parameter)
    for members in families.values():
        alike = tuple(members)
        found += [(alike, step) for step in range(-1, _steps(members[0].variable))]
    return found


def stepped(branch: Branch, point: Point, rng: np.random.Generator) -> Point:
    """One move, whichever."""
    offered = moves(branch, point)
    if not offered:
        return point
    return taken(branch, point, offered[int(rng.integers(len(offered)))], rng)


def taken(branch: Branch, point: Point, move: Move, rng: np.random.Generator) -> Point:
    """The point after a move; itself where there is nothing to change."""
    members, step = move
    value = point[members[0].name]
    if step >= 0:
        value = _moved(members[0].variable, value, step, rng)
    return settled(branch, point, {member.name: value for member in members}, rng)


def settled(
    branch: Branch, point: Point, changes: dict[str, Json], rng: np.random.Generator
) -> Point:
    """The point with these values, and what they bring into being."""
    changed = {**point, **changes}
    if branch.deciding.isdisjoint(changes):
        return changed
    settled: dict[str, Json] = {"branch": point["branch"]}
    for parameter in branch.parameters:
        if parameter.active(settled):
            known = parameter.name in changed
            settled[parameter.name] = (
                changed[parameter.name] if known else parameter.variable.draw(rng)
            )
    return settled


def _steps(variable: Variable) -> int:
    match variable:
        case Choice():
            return len(variable.options) - 1
        case Range():
            return len(_JITTERS)
        case Subset():
            return len(variable.options)
        case Bits():
            return variable.length


def _moved(variable: Variable, value: Json, step: int, rng: np.random.Generator) -> Json:
    """The value after a step of its variable; itself where that leaves the range."""
    match variable:
        case Choice():
            return step if step < value else step + 1
        case Range():
            unit = variable.unit(value) + _JITTERS[step] * float(rng.uniform(0.5, 1.5))
            return variable.at(min(1.0, max(0.0, unit)))
        case Subset():
            return _flipped(value, step, variable.min)
        case Bits():
            return _flipped(value, step, 1)


def _flipped(bits: Sequence[int], position: int, at_least: int) -> tuple[int, ...]:
    if bits[position] and sum(bits) <= at_least:
        return tuple(bits)
    return (*bits[:position], 1 - bits[position], *bits[position + 1 :])
