"""What a sampler need not compute again: drawn points, what they build, encoded rows, fits.

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
from autopeft.domain.space import Json, Point, Space
from autopeft.domain.trial import Trial
from autopeft.search.model.earlier import Earlier
from autopeft.search.model.encoding import Array, Encoding, lengths_of, named
from autopeft.search.model.outcomes import Observations
from autopeft.search.points.drawing import block, draw_new, edge, rates

if TYPE_CHECKING:  # scipy is loaded when there is something to fit
    from autopeft.search.model.expectation import Expectation
    from autopeft.search.model.prior import Hyperparameters, Rows
    from autopeft.search.model.surrogate import Surrogate

_EXAMPLES = 256  # random points that fix the encoding
_KEPT = 20_000  # entries of a cache, before it starts anew
_BLOCKS = 256
_VIEWS = 8
_FITS = 64
_SMALL = 24  # up to so many observations every fit is new
_GROWTH = 1.15  # afterwards, one for every so much more of them
_LARGEST = 240  # observations in a fit
USUAL_NOISE = 0.02**2  # variance where no standard error is told, of the outcomes' range


def _remembering(problem: Problem) -> Problem:
    """The problem, that builds every point, counts and estimates every architecture once."""

    @lru_cache(_KEPT)
    def built(items: frozenset[tuple[str, Json]]) -> Configuration:
        return problem.configure(dict(items))

    def configure(point: Point) -> Configuration:
        try:
            return built(frozenset(point.items()))
        except TypeError:  # a store gives bits back as lists
            given = {k: tuple(v) if isinstance(v, list) else v for k, v in point.items()}
            return built(frozenset(given.items()))

    estimates = problem.estimates
    return replace(
        problem,
        known=lru_cache(_KEPT)(problem.known),
        configure=configure,
        estimates=None if estimates is None else lru_cache(_KEPT)(estimates),
    )


class View:
    """A problem as arrays.

    encoding: fixed by random points of the space and by what was tried outside it, so that one
    configuration is the same row in every call.
    """

    def __init__(
        self,
        problem: Problem,
        examples: Sequence[Configuration],
        expectation: "Expectation | None" = None,
    ) -> None:
        self.problem = problem
        self._expectation = expectation
        self.encoding = Encoding.fit(problem, examples) if examples else None
        self._lengths = lengths_of([] if self.encoding is None else self.encoding.columns)
        self._rates = {branch.name: rates(branch) for branch in problem.space.branches}
        self._places: dict[str, int] = {}  # of a configuration in the table below
        self._table = np.zeros((_EXAMPLES, self.features + 2 + self._studies))

    @property
    def features(self) -> int:
        """Columns of a row, the fidelity among them."""
        return 1 + (0 if self.encoding is None else len(self.encoding.columns))

    def rows(
        self, configurations: Sequence[Configuration], fidelity: Array | None = None
    ) -> "Rows":
        """Encoded, with what earlier studies expect; the last feature is the fidelity, 1 unless
        told."""
        from autopeft.search.model.prior import Rows

        if len(self._places) > _KEPT:
            self._places.clear()
        # Its place in the learning rate's range depends on the branch.
        keys = [f"{configuration.branch}/{configuration.key}" for configuration in configurations]
        known = zip(keys, configurations, strict=True)
        self._add({k: c for k, c in known if k not in self._places})
        found = self._table[[self._places[key] for key in keys]]
        X, (size, edge) = found[:, : self.features], found[:, self.features :].T[:2]
        if fidelity is not None:
            X[:, -1] = fidelity
        earlier = None if self._expectation is None else found[:, self.features + 2 :]
        return Rows(X, self._lengths, size, edge, earlier)

    @property
    def _studies(self) -> int:
        return 0 if self._expectation is None else self._expectation.studies

    def _add(self, new: Mapping[str, Configuration]) -> None:
        """Into the table: features, 1 as the fidelity, size, edge, what is expected."""
        if not new:
            return
        told = [named(self.problem, configuration) for configuration in new.values()]
        known = [self.problem.known(each.architecture) for each in new.values()]
        size = np.array([float(metrics.get("adapter_params", 0.0)) for metrics in known])
        ends = np.array([edge(self._rates.get(each.branch), each) for each in new.values()])
        encoded = expected = np.zeros((len(new), 0))
        if self.encoding is not None:
            encoded = self.encoding.place(told)
        if self._expectation is not None:
            expected = self._expectation(told, size, ends)
        first, last = len(self._places), len(self._places) + len(new)
        while last > len(self._table):
            self._table = np.vstack([self._table, np.zeros_like(self._table)])
        self._table[first:last] = np.column_stack(
            [encoded, np.ones(len(new)), size, ends, expected]
        )
        self._places.update(zip(new, range(first, last), strict=True))


def _examples(problem: Problem) -> list[Configuration]:
    """Random configurations of a problem, the same each time."""
    rng = np.random.default_rng(0)
    drawn = draw_new(problem, set(), rng, count=_EXAMPLES, tries=2 * _EXAMPLES)
    return [configuration for _, configuration in drawn]


class Memory:
    """The views and the fits of one sampler. sources: the earlier studies that it starts from."""

    def __init__(self, sources: Sequence[Earlier] = ()) -> None:
        self._sources = tuple(sources)
        self._expectations: dict[tuple[str, ...], Expectation] = {}
        self._told: Problem | None = None
        self._remembering: Problem
        self._views: dict[tuple[str, ...], View] = {}
        self._fits: dict[bytes, Hyperparameters] = {}
        self._blocks: dict[tuple[tuple[str, ...], tuple[int, int]], Sequence[Point]] = {}

    def remembering(self, problem: Problem) -> Problem:
        """The problem, that builds every point and counts every architecture once."""
        told = self._told
        parts = ("known", "configure", "estimates")
        if told is None or any(getattr(told, p) is not getattr(problem, p) for p in parts):
            self._told, self._remembering = problem, _remembering(problem)
            self._views.clear()
            self._expectations.clear()
            self._blocks.clear()
        kept = self._remembering
        return replace(
            problem, known=kept.known, configure=kept.configure, estimates=kept.estimates
        )

    def view(self, problem: Problem, history: Sequence[Trial]) -> View:
        """problem: one that `remembering` gave."""
        names = _names(problem.space)
        outside = [t.configuration for t in history if t.configuration.branch not in names]
        key = (*names, *(configuration.key for configuration in outside))
        if key not in self._views:
            if len(self._views) > _VIEWS:
                self._views.clear()
            examples = _examples(problem)
            expected = self._expectation(problem, names, examples)
            self._views[key] = View(problem, [*examples, *outside], expected)
        return self._views[key]

    def _expectation(
        self, problem: Problem, names: tuple[str, ...], examples: Sequence[Configuration]
    ) -> "Expectation | None":
        """Fitted once for the same branches, whatever the history."""
        if not self._sources:
            return None
        from autopeft.search.model.expectation import Expectation

        if names not in self._expectations:
            told = [named(problem, configuration) for configuration in examples]
            self._expectations[names] = Expectation(
                problem, self._sources, told, self.hyperparameters
            )
        return self._expectations[names]

    def block(self, space: Space, seed: tuple[int, int]) -> Sequence[Point]:
        """See `drawing.block`. space: of a problem that `remembering` gave."""
        key = (_names(space), seed)
        if key not in self._blocks:
            if len(self._blocks) > _BLOCKS:
                self._blocks.clear()
            self._blocks[key] = block(space, seed)
        return self._blocks[key]

    def hyperparameters(self, rows: "Rows", y: Array, noise: Array) -> "Hyperparameters":
        """The fit of the first observations: their number grows in steps, so that few calls fit."""
        from autopeft.search.model.fitting import fit

        chosen = _subset(y)
        some = rows.at(chosen)
        told = np.zeros(0) if some.earlier is None else some.earlier
        prior = (some.lengths.groups, some.lengths.centre, some.lengths.variance)
        parts = (some.X, some.size, some.edge, told, y[chosen], noise[chosen], *prior)
        key = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        if key not in self._fits:
            if len(self._fits) > _FITS:
                self._fits.clear()
            self._fits[key] = fit(some, y[chosen], noise[chosen])
        return self._fits[key]

    def conditioned(self, rows: "Rows", seen: Observations, values: Array) -> "Surrogate":
        """The process after observations. values: (n,) of them, transformed or not."""
        from autopeft.search.model.surrogate import condition

        noise = np.full(len(values), USUAL_NOISE) if seen.noise is None else seen.noise
        return condition(self.hyperparameters(rows, values, noise), rows, values, noise)


def _names(space: Space) -> tuple[str, ...]:
    return tuple(branch.name for branch in space.branches)


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
