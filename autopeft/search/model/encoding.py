"""Configurations as vectors: one encoding across branches.

It reads the canonical configuration, never the point, so two spellings of the same network are
one vector. A configuration has named features in groups (`method:LORA`, `layer:3`,
`recipe:learning_rate`); a fitted `Encoding` puts each on [0, 1] and drops the columns that say
nothing: constant ones and copies. A feature that a configuration lacks is 0.

d: columns of the encoding; n: configurations.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import log, log1p, log2
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.ports import Problem
from autopeft.domain.space import Json, Range

if TYPE_CHECKING:
    from autopeft.search.model.prior import Lengths

Array = NDArray[np.float64]

_TIED = ("layer", "share", "kind", "method")  # groups of one length scale
_SHARP = ("recipe:learning_rate",)  # features that are expected to matter
_GROUPS = {"training": "recipe", "parameters": "parameter"}
_LOG_SPREAD = 10.0  # positive values that differ by this factor are compared as ratios


@dataclass(frozen=True)
class Column:
    """A feature's place on [0, 1]: (value - low) / (high - low), of its logarithm if `log`."""

    name: str
    low: float
    high: float
    log: bool

    def place(self, value: float) -> float:
        value = log(max(value, 1e-300)) if self.log else value
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Encoding:
    """A fitted encoding.

    columns: (d,) kept features. weights: (d,) 1 / sqrt(columns in the group), so that many layer
    columns do not drown one learning rate in a distance.
    """

    problem: Problem
    columns: tuple[Column, ...]
    weights: Array

    @classmethod
    def fit(cls, problem: Problem, configurations: Sequence[Configuration]) -> "Encoding":
        """Learn names and ranges from example configurations, at least one."""
        return cls.of_rows(problem, [named(problem, each) for each in configurations])

    @classmethod
    def of_rows(cls, problem: Problem, rows: Sequence[Mapping[str, float]]) -> "Encoding":
        """The same from named features, whatever they come from."""
        names = dict.fromkeys(name for row in rows for name in row)
        logs = _log_recipe(problem)
        columns = [_column(name, [row.get(name) for row in rows], logs) for name in names]
        kept = _informative(columns, rows)
        groups = [column.name.split(":")[0] for column in kept]
        weights = np.array([groups.count(group) ** -0.5 for group in groups])
        return cls(problem, tuple(kept), weights)

    def encode(self, configurations: Sequence[Configuration]) -> Array:
        """(n, d) vectors; values outside the fitted range fall outside [0, 1]."""
        return self.place([named(self.problem, each) for each in configurations])

    def place(self, rows: Sequence[Mapping[str, float]]) -> Array:
        """(n, d) vectors of named features; a name that was not learned is left out."""
        return _matrix(self.columns, rows)


def features(
    configuration: Configuration, shape: ModelShape, known: Mapping[str, float]
) -> dict[str, float]:
    """The named features of a configuration; known: its exact metrics."""
    architecture = configuration.architecture
    row: dict[str, float] = {}
    for members in _families(architecture, shape):
        _add_family(row, members)
    _add_placement(row, architecture, shape)
    if architecture.full_fine_tuning:
        row["method:full"] = 1.0
    name, options = architecture.allocation
    row[f"allocation:{name}"] = 1.0
    for option, value in options.items():
        _add(row, f"allocation:{name}.{option}", value)
    for argument, value in configuration.recipe.items():
        _add(row, f"recipe:{argument}", value)
    for name, value in configuration.parameters.items():
        if isinstance(value, list):  # a subset: each in or out
            row |= {f"parameter:{name}={json.dumps(each, default=str)}": 1.0 for each in value}
        else:
            _add(row, f"parameter:{name}", value)
    if "adapter_params" in known:
        row["cost:parameters"] = log1p(known["adapter_params"])
    return row


def module_size(module: Module) -> float:
    """Rank or the like, PEFT's default included; 1 for methods without a size."""
    return 1.0 if module.size is None else float(module.size)


def _sizes(module: Module) -> list[float]:
    """The size at every target, or in every layer of what takes none."""
    if module.sizes:
        return [float(size) for size in module.sizes.values()]
    return [module_size(module)] * len(module.targets or module.layers)


def named(problem: Problem, configuration: Configuration) -> dict[str, float]:
    """The named features of a configuration, as the problem's space calls for them."""
    architecture = configuration.architecture
    row = features(configuration, problem.shape, problem.known(architecture))
    if shares_layers(problem):
        row |= shares(problem, architecture)
    return row


def shares_layers(problem: Problem) -> bool:
    """Whether several methods can share a layer."""
    return any(len(branch.tree.get("modules", ())) > 1 for branch in problem.space.branches)


def _families(architecture: Architecture, shape: ModelShape) -> list[list[Module]]:
    """The modules, together those that differ in their sizes and layers alone."""
    if len(architecture.modules) == 1:
        return [list(architecture.modules)]
    found: dict[str, list[Module]] = {}
    for module in architecture.modules:
        fields = {k: v for k, v in module.fields.items() if k != module.size_field}
        wrapped = sorted({target.kind for target in shape.named(module.targets)})
        same = json.dumps([module.peft_type, fields, wrapped], sort_keys=True, default=str)
        found.setdefault(same, []).append(module)
    return list(found.values())


def _add_family(row: dict[str, float], members: list[Module]) -> None:
    module = members[0]
    method = module.peft_type
    row[f"method:{method}"] = row.get(f"method:{method}", 0.0) + 1.0
    sizes = [size for member in members for size in _sizes(member)]
    size_name = f"size:{method}"
    row[size_name] = row.get(size_name, 0.0) + log2(1.0 + sum(sizes) / len(sizes))
    # Canonical modules leave defaults out, and a number that is missing is not a small one.
    defaults = {k: v for k, v in _numbers_of(method).items() if k not in module.fields}
    told = (module.size_field, "feedforward_modules")  # by size, and by kind and layer
    fields = {**defaults, **module.fields}
    for name, value in (_levelled(module, fields) if module.sizes else fields).items():
        if name not in told:
            _add(row, f"field:{method}.{name}", value)


@cache
def _numbers_of(method: str) -> Mapping[str, Json]:
    """PEFT's defaults that are numbers."""
    return {k: v for k, v in PEFT_DEFAULTS.get(method, {}).items() if _is_number(v)}


def _levelled(module: Module, fields: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of a module whose sizes differ, with one alpha: the mean, as of its sizes."""
    alphas = fields.get("alpha_pattern", {})
    kept = {k: v for k, v in fields.items() if k not in ("alpha_pattern", "rank_pattern")}
    for name in {"alpha", "lora_alpha"} & set(kept):
        every = [alphas.get(target, kept[name]) for target in module.targets]
        kept[name] = sum(every) / len(every)
    return kept


def _add_placement(row: dict[str, float], architecture: Architecture, shape: ModelShape) -> None:
    capacity = [0.0] * shape.layers  # sizes of all that is in a layer
    placed = [place for module in architecture.modules for place in _placed(module, shape)]
    for _, layer, size in placed:
        capacity[layer] += size
    kinds = dict.fromkeys(kind for kind, _, _ in placed)  # in order
    row |= {f"kind:{kind}": 1.0 for kind in kinds if kind}
    active = [layer for layer, size in enumerate(capacity) if size > 0]
    for layer in active:
        row[f"layer:{layer}"] = log2(1.0 + capacity[layer])
    if not shape.layers:  # nothing is known of the model
        return
    row["depth:count"] = len(active) / shape.layers
    row["depth:centroid"] = (sum(active) / len(active) + 0.5) / shape.layers if active else 0.0


def shares(problem: Problem, architecture: Architecture) -> dict[str, float]:
    """How much of a layer is whose: features for where several modules can share one.

    Of a method that a branch has twice, by what it wraps: on the queries of the first layers and
    the values of the last is not the other way around.
    """
    row: defaultdict[str, float] = defaultdict(float)
    twice = _twice(problem)
    for module in architecture.modules:
        method = module.peft_type
        for kind, layer, size in _placed(module, problem.shape):
            where = f"{kind}.{layer}" if kind and method in twice else f"{layer}"
            row[f"share:{method}.{where}"] += size
    return {name: log2(1.0 + size) for name, size in row.items() if size > 0}


def _twice(problem: Problem) -> set[str]:
    """The methods that some branch has in several modules."""
    found: set[str] = set()
    for branch in problem.space.branches:
        methods = Counter(module["peft_type"] for module in branch.tree.get("modules", ()))
        found |= {method for method, count in methods.items() if count > 1}
    return found


def _placed(module: Module, shape: ModelShape) -> list[tuple[str, int, float]]:
    """Kind, layer and size at every target; of what wraps the model, "" and every layer."""
    homes = [shape.by_name[target] for target in module.targets]
    kinds = [home.kind for home in homes] or [""] * len(module.layers)
    layers = [home.layer for home in homes] or module.layers
    return list(zip(kinds, layers, _sizes(module), strict=True))


def _add(row: dict[str, float], name: str, value: Json) -> None:
    if _is_number(value):
        row[name] = float(value)
    else:
        row[f"{name}={json.dumps(value, sort_keys=True, default=str)}"] = 1.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _log_recipe(problem: Problem) -> dict[str, bool]:
    """Whether a Range of the space has this training argument or parameter on a log scale."""
    logs: dict[str, bool] = {}
    for branch in problem.space.branches:
        for parameter in branch.parameters:
            part, _, name = parameter.name.partition(".")
            if isinstance(parameter.variable, Range) and part in _GROUPS:
                logs[f"{_GROUPS[part]}:{name}"] = parameter.variable.log
    return logs


def _column(name: str, values: Iterable[float | None], logs: Mapping[str, bool]) -> Column:
    there = [value for value in values if value is not None]
    low, high = min(there), max(there)
    ratio = low > 0 and high / low >= _LOG_SPREAD
    on_log = ratio and name.split(":")[0] in ("field", "recipe", "allocation", "parameter")
    on_log = logs.get(name, on_log) and low > 0
    if on_log:
        low, high = log(low), log(high)
    if high <= low:  # present or absent is all that it says
        return Column(name, low - 1.0, low, on_log)
    return Column(name, low, high, on_log)


def _matrix(columns: Sequence[Column], rows: Sequence[Mapping[str, float]]) -> Array:
    placed = [[c.place(row[c.name]) if c.name in row else 0.0 for c in columns] for row in rows]
    return np.array(placed, dtype=np.float64).reshape(len(rows), len(columns))


def _informative(columns: Sequence[Column], rows: Sequence[Mapping[str, float]]) -> list[Column]:
    matrix = np.round(_matrix(columns, rows), 9)
    kept: dict[bytes, Column] = {}
    for j, column in enumerate(columns):
        if np.ptp(matrix[:, j]) > 0:
            kept.setdefault(matrix[:, j].tobytes(), column)
    return list(kept.values())


def lengths_of(columns: Sequence[Column]) -> "Lengths":
    """The prior of the length scales: layers share one, and so on; the fidelity has its own."""
    from autopeft.search.model.prior import Lengths

    numbers: dict[str, int] = {}
    shared = (name if (name := c.name.split(":")[0]) in _TIED else c.name for c in columns)
    own = [numbers.setdefault(name, len(numbers)) for name in shared]
    sharp = [number for name, number in numbers.items() if name in _SHARP]
    return Lengths.of(np.array([*own, len(numbers)]), sharp)
