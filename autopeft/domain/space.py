"""What may vary: trees of literal values with variables at some leaves.

Values are literal, as PEFT and the trainers read them; only `Choice`, `Range`, `Subset`, `Bits`
and `Expr` vary. A *point* assigns every active variable of one branch, by path:

    {"branch": "lora", "modules[0].r": 2, "training.learning_rate": 3e-4}

A Choice is assigned by the position of its option, a Subset and Bits by a tuple of 0 and 1, a
Range by its number. Variables inside an option exist only where that option is chosen.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autopeft.domain.expression import LEAVES, evaluated

Json = Any
Point = Mapping[str, Json]


@dataclass(frozen=True)
class Choice:
    """One of several options; an option may itself be a tree with variables."""

    options: tuple[Json, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("choice needs at least one option, got none: list the options")

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.options)))


@dataclass(frozen=True)
class Range:
    """A number in [low, high]; integer when low, high and step all are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                f"a range needs low < high, got low={self.low}, high={self.high}: swap them"
            )
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low > 0, got low={self.low}: raise low or drop log")
        if self.step is not None and (self.step <= 0 or self.log):
            raise ValueError(
                f"step needs step > 0 and no log, got step={self.step}, log={self.log}: drop one"
            )

    @property
    def integer(self) -> bool:
        parts = (self.low, self.high, 1 if self.step is None else self.step)
        return all(isinstance(part, int) for part in parts)

    @property
    def continuous(self) -> bool:
        return self.step is None and not self.integer

    def at(self, unit: float) -> float | int:
        """Map unit in [0, 1] to a value of the range."""
        if self.log:
            low, high = self._logs
            value = float(np.exp(low + unit * (high - low)))
        else:
            value = self.low + unit * (self.high - self.low)
        if self.step is not None:
            # Counted, so that one value has one spelling in floating point.
            most = int((self.high - self.low) / self.step + 1e-9)
            value = self.low + self.step * min(most, round((value - self.low) / self.step))
        if self.integer:
            return min(int(self.high), max(int(self.low), round(value)))
        return min(float(self.high), max(float(self.low), float(value)))

    def unit(self, value: float) -> float:
        """Map a value of the range to [0, 1]: the inverse of `at`."""
        if self.log:
            low, high = self._logs
            return float((np.log(value) - low) / (high - low))
        return float((value - self.low) / (self.high - self.low))

    @cached_property
    def _logs(self) -> tuple[np.float64, np.float64]:
        return np.log(self.low), np.log(self.high)

    def draw(self, rng: np.random.Generator) -> float | int:
        return self.at(float(rng.random()))


@dataclass(frozen=True)
class Subset:
    """At least `min` of the options, each in or out."""

    options: tuple[Json, ...]
    min: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.min <= len(self.options) or not self.options:
            raise ValueError(
                f"subset needs 0 <= min <= number of options, got min={self.min} of "
                f"{len(self.options)}: lower min or add options"
            )

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        return draw_bits(len(self.options), self.min, rng)


@dataclass(frozen=True)
class Bits:
    """One on/off bit for each of the model's transformer layers."""

    length: int

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        return draw_bits(self.length, 1, rng)


Variable = Choice | Range | Subset | Bits


def draw_bits(length: int, at_least: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw bits whose number of ones is uniform: plain coin flips leave only dense ones."""
    count = int(rng.integers(at_least, length + 1))
    on = set(rng.permutation(length)[:count].tolist())
    return tuple(int(i in on) for i in range(length))


_NUMBERED = re.compile(r"(\.per_(?:layer|group))\[\d+\]")


@dataclass(frozen=True)
class Parameter:
    """A variable of a tree and where it stands.

    given: ((path of a Choice, position of its option), ...) that make it exist.
    """

    name: str
    variable: Variable
    given: tuple[tuple[str, int], ...] = ()

    def active(self, point: Point) -> bool:
        return not self.given or all(point.get(name) == at for name, at in self.given)

    @cached_property
    def family(self) -> str:
        """The same for all sizes of one module by layer (or group): the name without the number."""
        return _NUMBERED.sub(r"\1", self.name)

    @property
    def by_layer(self) -> bool:
        """Whether it is one of several sizes of one module."""
        return self.family != self.name


@dataclass(frozen=True)
class Branch:
    """One alternative of the space; its tree has `modules`, `layers`, `allocation`, `training`.

    baseline: its trials are what the front is compared with, not part of the search.
    """

    name: str
    tree: Mapping[str, Json]
    baseline: bool = False

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameters(self.tree))

    @cached_property
    def deciding(self) -> frozenset[str]:
        """The parameters whose value decides which others exist."""
        return frozenset(name for parameter in self.parameters for name, _ in parameter.given)


@dataclass(frozen=True)
class Space:
    """All branches: those to search, and the baselines."""

    branches: tuple[Branch, ...]

    def __getitem__(self, name: str) -> Branch:
        for branch in self.branches:
            if branch.name == name:
                return branch
        raise KeyError(name)

    @property
    def searched(self) -> tuple[Branch, ...]:
        return tuple(branch for branch in self.branches if not branch.baseline)

    @property
    def baselines(self) -> tuple[Branch, ...]:
        return tuple(branch for branch in self.branches if branch.baseline)

    def only(self, *names: str) -> "Space":
        """The space of these branches alone."""
        return Space(tuple(self[name] for name in names))

    def draw(self, rng: np.random.Generator) -> dict[str, Json]:
        """A random point: a branch uniformly, then every active variable.

        Of the sizes of one module by layer, a share that is itself uniform is drawn for itself and
        the others are like the first: all drawn apart, every module would be of mean size.
        """
        branch = self.branches[int(rng.integers(len(self.branches)))]
        point: dict[str, Json] = {"branch": branch.name}
        like: dict[str, tuple[Json, float]] = {}
        for parameter in branch.parameters:
            if parameter.active(point):
                value, apart = like.get(parameter.family, (None, None))
                if apart is None or rng.random() < apart:
                    value = parameter.variable.draw(rng)
                point[parameter.name] = value
                if parameter.by_layer:
                    like.setdefault(parameter.family, (value, float(rng.random())))
        return point

    def realise(self, point: Point) -> dict[str, Json]:
        """The literal tree of a point: choices taken, expressions evaluated."""
        tree = realise(self[point["branch"]].tree, point)
        assert isinstance(tree, dict)
        return tree


def parameters(
    tree: Json, path: str = "", given: tuple[tuple[str, int], ...] = ()
) -> Iterator[Parameter]:
    """All variables of a tree, each after the choices that it depends on."""
    match tree:
        case Choice():
            yield Parameter(path, tree, given)
            for position, option in enumerate(tree.options):
                yield from parameters(option, f"{path}<{position}>", (*given, (path, position)))
        case Range() | Subset() | Bits():
            yield Parameter(path, tree, given)
        case Mapping():
            for key, value in tree.items():
                yield from parameters(value, f"{path}.{key}" if path else str(key), given)
        case list() | tuple():
            for position, value in enumerate(tree):
                yield from parameters(value, f"{path}[{position}]", given)


def realise(tree: Json, point: Point) -> Json:
    """Replace every variable by its value in the point, then every expression."""
    return evaluated(_take(tree, "", point))


def _take(tree: Json, path: str, point: Point) -> Json:
    match tree:
        case Choice():
            position = point[path]
            option = tree.options[position]
            whole = isinstance(option, LEAVES)
            return option if whole else _take(option, f"{path}<{position}>", point)
        case Range():
            return point[path]
        case Subset():
            return [o for o, on in zip(tree.options, point[path], strict=True) if on]
        case Bits():
            return [layer for layer, on in enumerate(point[path]) if on]
        case dict() | Mapping():  # most are a dict, which is quickly seen
            inside = f"{path}." if path else ""
            return {
                k: v if isinstance(v, LEAVES) else _take(v, f"{inside}{k}", point)
                for k, v in tree.items()
            }
        case list() | tuple():
            return [
                v if isinstance(v, LEAVES) else _take(v, f"{path}[{i}]", point)
                for i, v in enumerate(tree)
            ]
        case _:
            return tree
