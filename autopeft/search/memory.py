"""What a sampler need not compute again: encoded rows, admitted points, fitted hyperparameters.

All of it follows from the problem and the history alone, so a suggestion is the same with an empty
memory, only later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.architecture import Configuration
from autopeft.domain.ports import Problem
from autopeft.domain.space import Branch, Choice, Json, Point, Range
from autopeft.domain.trial import Trial
from autopeft.search.encoding import Array, Column, Encoding
from autopeft.search.points import LEARNING_RATE, draw_new

if TYPE_CHECKING:  # scipy is loaded when there is something to fit
    from autopeft.search.surrogate import Hyperparameters, Lengths, Rows

_EXAMPLES = 256  # random points that fix the encoding
_KEPT = 20_000  # entries of a cache, before it starts anew
_VIEWS = 8
_FITS = 64
_TIED = ("layer", "share", "kind", "method")
_SHARP = ("recipe:learning_rate",)
_UNKNOWN_EDGE = 0.3  # the mean over a range
_SMALL = 24  # up to so many observations every fit is new
_GROWTH = 1.15  # afterwards, one for every so much more of them
_LARGEST = 240  # observations in a fit


def _remembering(problem: Problem) -> Problem:
    """The problem, that builds every point and counts every architecture once."""

    @lru_cache(_KEPT)
    def built(items: tuple[tuple[str, Json], ...]) -> Configuration:
        return problem.configure(dict(items))

    def configure(point: Point) -> Configuration:
        # Numbers, names and bits; a store gives bits back as lists.
        hashable = {k: tuple(v) if isinstance(v, list) else v for k, v in point.items()}
        return built(tuple(sorted(hashable.items())))

    return replace(problem, known=lru_cache(_KEPT)(problem.known), configure=configure)


class View:
    """A problem as arrays.

    encoding: fixed by random points of the space and by what was tried outside it, so that one
    configuration is the same row in every call.
    """

    def __init__(self, problem: Problem, outside: Sequence[Configuration]) -> None:
        rng = np.random.default_rng(0)
        drawn = draw_new(problem, set(), rng, count=_EXAMPLES, tries=2 * _EXAMPLES)
        examples = [*(configuration for _, configuration in drawn), *outside]
        self.problem = problem
        self.encoding = Encoding.fit(problem, examples) if examples else None
        self._lengths = _lengths([] if self.encoding is None else self.encoding.columns)
        self._rates = {branch.name: _rates(branch) for branch in problem.space.branches}
        self._rows: dict[str, tuple[Array, float, float]] = {}

    @property
    def features(self) -> int:
        """Columns of a row, the fidelity among them."""
        return 1 + (0 if self.encoding is None else len(self.encoding.columns))

    def rows(
        self, configurations: Sequence[Configuration], fidelity: Array | None = None
    ) -> "Rows":
        """Encoded; the last feature is the fidelity, 1 unless told."""
        from autopeft.search.surrogate import Rows

        if len(self._rows) > _KEPT:
            self._rows.clear()
        keys = [configuration.key for configuration in configurations]
        new = {k: c for k, c in zip(keys, configurations, strict=True) if k not in self._rows}
        self._add(new)
        X = np.zeros((len(keys), self.features))
        X[:, -1] = 1.0 if fidelity is None else fidelity
        for i, key in enumerate(keys):
            X[i, :-1] = self._rows[key][0]
        size, edge = (np.array([self._rows[key][j] for key in keys]) for j in (1, 2))
        return Rows(X, self._lengths, size, edge)

    def _add(self, new: Mapping[str, Configuration]) -> None:
        encoded = np.zeros((len(new), 0))
        if self.encoding is not None and new:
            encoded = self.encoding.encode(list(new.values()))
        for (key, configuration), row in zip(new.items(), encoded, strict=True):
            known = self.problem.known(configuration.architecture)
            size = float(known.get("adapter_params", 0.0))
            self._rows[key] = row, size, self._edge(configuration)

    def _edge(self, configuration: Configuration) -> float:
        """How near the learning rate is to an end of its range: 0 in the middle, 1 there."""
        rate = configuration.recipe.get("learning_rate")
        rates = self._rates.get(configuration.branch)
        if rates is None or not isinstance(rate, int | float):
            return _UNKNOWN_EDGE
        low, high = rates
        place = (np.log(rate) - low) / (high - low)
        return float(np.clip(2 * place - 1, -1, 1) ** 2)


def _lengths(columns: Sequence[Column]) -> "Lengths":
    """Layers share a length scale, and so on; the fidelity has its own."""
    from autopeft.search.surrogate import Lengths

    numbers: dict[str, int] = {}
    shared = (name if (name := c.name.split(":")[0]) in _TIED else c.name for c in columns)
    own = [numbers.setdefault(name, len(numbers)) for name in shared]
    sharp = [number for name, number in numbers.items() if name in _SHARP]
    return Lengths.of(np.array([*own, len(numbers)]), sharp)


def _rates(branch: Branch) -> tuple[float, float] | None:
    """The logarithms of the lowest and the highest learning rate; None where there is one."""
    for parameter in branch.parameters:
        variable = parameter.variable
        if parameter.name == LEARNING_RATE:
            ends = [variable.low, variable.high] if isinstance(variable, Range) else []
            if isinstance(variable, Choice):
                ends = [o for o in variable.options if isinstance(o, int | float) and o > 0]
            if len(ends) > 1 and min(ends) > 0:
                return float(np.log(min(ends))), float(np.log(max(ends)))
    return None


class Memory:
    """The views and the fits of one sampler."""

    def __init__(self) -> None:
        self._told: Problem | None = None
        self._remembering: Problem
        self._views: dict[tuple[str, ...], View] = {}
        self._fits: dict[bytes, Hyperparameters] = {}

    def remembering(self, problem: Problem) -> Problem:
        """The problem, that builds every point and counts every architecture once."""
        told = self._told
        if (
            told is None
            or told.known is not problem.known
            or told.configure is not problem.configure
        ):
            self._told, self._remembering = problem, _remembering(problem)
            self._views.clear()
        kept = self._remembering
        return replace(problem, known=kept.known, configure=kept.configure)

    def view(self, problem: Problem, history: Sequence[Trial]) -> View:
        """problem: one that `remembering` gave."""
        names = tuple(branch.name for branch in problem.space.branches)
        outside = [t.configuration for t in history if t.configuration.branch not in names]
        key = (*names, *(configuration.key for configuration in outside))
        if key not in self._views:
            if len(self._views) > _VIEWS:
                self._views.clear()
            self._views[key] = View(problem, outside)
        return self._views[key]

    def hyperparameters(self, rows: "Rows", y: Array, noise: Array) -> "Hyperparameters":
        """The fit of the first observations: their number grows in steps, so that few calls fit."""
        from autopeft.search.surrogate import fit

        chosen = _subset(y)
        some = rows.at(chosen)
        parts = (some.X, some.size, some.edge, y[chosen], noise[chosen])
        key = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        if key not in self._fits:
            if len(self._fits) > _FITS:
                self._fits.clear()
            self._fits[key] = fit(some, y[chosen], noise[chosen])
        return self._fits[key]


def _subset(y: Array) -> NDArray[np.intp]:
    """Positions of the observations that a fit reads: of many, the best half and an even rest."""
    count = len(y)
    if count > _SMALL:
        steps = int(np.log(count / _SMALL) / np.log(_GROWTH))
        count = int(_SMALL * _GROWTH**steps)
    if count <= _LARGEST:
        return np.arange(count)
    order = np.argsort(-y[:count], kind="stable")
    rest = order[_LARGEST // 2 :]
    even = rest[np.linspace(0, len(rest) - 1, _LARGEST - _LARGEST // 2).astype(int)]
    return np.sort(np.concatenate([order[: _LARGEST // 2], even]))
