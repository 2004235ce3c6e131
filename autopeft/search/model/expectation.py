"""What earlier studies expect of a configuration of this one.

Each study has a surrogate of its own, fitted once, over features that all of them and this problem
share. What it predicts is standardised there: 0 is a usual result of that study, 1 a good one.

n: configurations; k: earlier studies.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autopeft.domain.ports import Problem
from autopeft.search.model.earlier import Earlier, backbone, translated
from autopeft.search.model.encoding import Array, Encoding, lengths_of, shares_layers
from autopeft.search.model.outcomes import softened
from autopeft.search.model.prior import Hyperparameters, Rows
from autopeft.search.model.surrogate import Surrogate, condition

_USUAL_NOISE = 0.02  # where no standard error was told, of the outcomes' range


class Expectation:
    """The surrogates of earlier studies.

    Args:
        examples: named features of configurations of the problem.
        fit: (rows, outcomes, variances of their noise) -> hyperparameters.
    """

    def __init__(
        self,
        problem: Problem,
        sources: Sequence[Earlier],
        examples: Sequence[Mapping[str, float]],
        fit: Callable[[Rows, Array, Array], Hyperparameters],
    ) -> None:
        self._fit = fit
        by_method = shares_layers(problem)
        rows = [translated(each, problem.shape, by_method=by_method) for each in sources]
        self._encoding = Encoding.of_rows(problem, [*examples, *(r for own in rows for r in own)])
        self._lengths = lengths_of(self._encoding.columns)
        self._models = [
            self._fitted(each, own, backbone(problem.shape) / each.parameters)
            for each, own in zip(sources, rows, strict=True)
        ]

    @property
    def studies(self) -> int:
        """k."""
        return len(self._models)

    def __call__(self, rows: Sequence[Mapping[str, float]], size: Array, edge: Array) -> Array:
        """(n, k) expected outcomes at the end of training; rows: named features."""
        encoded = self._rows(rows, np.ones(len(rows)), size, edge)
        found = np.column_stack([_standard(model, encoded) for model in self._models])
        return np.round(found, 9)  # the last bits depend on how many rows are asked for at once

    def _rows(
        self, rows: Sequence[Mapping[str, float]], fidelity: Array, size: Array, edge: Array
    ) -> Rows:
        X = np.column_stack([self._encoding.place(rows), fidelity])
        return Rows(X, self._lengths, size, edge)

    def _fitted(
        self, source: Earlier, rows: Sequence[Mapping[str, float]], ratio: float
    ) -> Surrogate:
        size, edge, fidelity, score, deviation = np.array(
            [[s.size * ratio, s.edge, s.fidelity, s.score, s.deviation] for s in source.seen]
        ).T
        usual = float(np.median(score))
        span = (score.max() - usual) or 1.0
        values = softened((score - usual) / span)
        noise = np.where(deviation > 0, deviation / span, _USUAL_NOISE) ** 2
        encoded = self._rows(rows, fidelity, size, edge)
        return condition(self._fit(encoded, values, noise), encoded, values, noise)


def _standard(model: Surrogate, rows: Rows) -> Array:
    mean, _ = model.predict(rows)
    return (mean - model.shift) / model.spread
