"""What a sampler need not compute again: encoded rows, admitted points, fitted hyperparameters.

All of it follows from the problem and the history alone, so a suggestion is the same with an empty
memory, only later.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.architecture import Configuration
from autopeft.domain.ports import Problem
from autopeft.domain.space import Json, Point
from autopeft.domain.trial import Trial
from autopeft.search.encoding import Array, Encoding
from autopeft.search.points import draw_new

if TYPE_CHECKING:  # scipy is loaded when there is something to fit
    from autopeft.search.surrogate import Hyperparameters

_EXAMPLES = 256  # random points that fix the encoding
_KEPT = 20_000  # entries of a cache, before it starts anew
_SMALL = 24  # up to so many observations every fit is new
_GROWTH = 1.15  # afterwards, one for every so much more of them
_LARGEST = 240  # observations in a fit


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
        self._rows: dict[str, tuple[Array, float]] = {}
        self._admitted: dict[tuple[tuple[str, Json], ...], Configuration | None] = {}

    @property
    def features(self) -> int:
        """Columns of a row, the fidelity among them."""
        return 1 + (0 if self.encoding is None else len(self.encoding.columns))

    def rows(
        self, configurations: Sequence[Configuration], fidelity: Array | None = None
    ) -> tuple[Array, Array]:
        """(n, d) encoded, the last column the fidelity (1 unless told); (n,) parameters."""
        if len(self._rows) > _KEPT:
            self._rows.clear()
        keys = [configuration.key for configuration in configurations]
        new = {k: c for k, c in zip(keys, configurations, strict=True) if k not in self._rows}
        if new:
            encoded = (
                np.zeros((len(new), 0))
                if self.encoding is None
                else self.encoding.encode(list(new.values()))
            )
            for (key, configuration), row in zip(new.items(), encoded, strict=True):
                known = self.problem.known(configuration.architecture)
                self._rows[key] = row, float(known.get("adapter_params", 0.0))
        X = np.zeros((len(keys), self.features))
        X[:, -1] = 1.0 if fidelity is None else fidelity
        for i, key in enumerate(keys):
            X[i, :-1] = self._rows[key][0]
        return X, np.array([self._rows[key][1] for key in keys])

    def admissible(self, point: Point) -> Configuration | None:
        """`Problem.admissible`, once for every point."""
        if len(self._admitted) > _KEPT:
            self._admitted.clear()
        try:
            key = tuple(sorted(point.items()))
            if key not in self._admitted:
                self._admitted[key] = self.problem.admissible(point)
            return self._admitted[key]
        except TypeError:  # a value that cannot be hashed
            return self.problem.admissible(point)


class Memory:
    """The views and the fits of one sampler."""

    def __init__(self) -> None:
        self._view: tuple[Problem, tuple[str, ...], View] | None = None
        self._fits: dict[bytes, Hyperparameters] = {}

    def view(self, problem: Problem, history: Sequence[Trial]) -> View:
        names = {branch.name for branch in problem.space.branches}
        outside = [t.configuration for t in history if t.configuration.branch not in names]
        keys = tuple(configuration.key for configuration in outside)
        kept = self._view
        if kept is None or kept[0] is not problem or kept[1] != keys:
            self._view = kept = (problem, keys, View(problem, outside))
        return kept[2]

    def hyperparameters(self, X: Array, size: Array, y: Array, noise: Array) -> "Hyperparameters":
        """The fit of the first observations: their number grows in steps, so that few calls fit."""
        from autopeft.search.surrogate import fit

        chosen = _subset(y)
        parts = (X[chosen], size[chosen], y[chosen], noise[chosen])
        key = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        if key not in self._fits:
            if len(self._fits) > 64:
                self._fits.clear()
            self._fits[key] = fit(*parts)
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
