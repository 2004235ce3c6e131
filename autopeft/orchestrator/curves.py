"""The learning curve of a segment as it grows.

Code of the user's may report at every step, and a curve of a million points held up MLflow for
hours and the store's transaction with it: what is shown needs no more points than a screen has.
"""

from collections.abc import Mapping

LONGEST = 1000
"""Points of one segment that are kept."""
WIDEST = 100
"""Names of one point that are kept."""


class Curve:
    """Points at even distances: once there are too many, every second one goes.

    points: (step, name -> value), in the order in which they were reported.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, Mapping[str, float]]] = []
        self._seen, self._stride = 0, 1

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `autopeft.domain.ports.Report`."""
        if self._seen % self._stride == 0:
            names = list(metrics)[:WIDEST]
            self.points.append((int(step), {name: float(metrics[name]) for name in names}))
        self._seen += 1
        if len(self.points) > LONGEST:
            del self.points[1::2]
            self._stride *= 2
