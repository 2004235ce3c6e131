"""The last stretch: a point's continuous fields along the gradient of a score.

A climb over neighbours changes one field at a time, by steps of its own sizes. Where several
numbers have to be right at once, or lie on an edge of their ranges, it stops short of a maximum.
"""

from collections.abc import Callable, Sequence

import numpy as np

from autopeft.domain.pareto import Array
from autopeft.domain.space import Branch, Point, Range

_ITERATIONS = 30  # of L-BFGS-B
_STEP = 1e-6  # of a range's width, for the differences


def ascended(branch: Branch, point: Point, score: Callable[[Sequence[Point]], Array]) -> Point:
    """The best of what L-BFGS-B sees from the point on; options and whole numbers stay.

    score: points -> (n,), larger is better. It may be any function (see `plain_gain`), so
    a gradient is by differences, all of them one call.
    """
    from scipy.optimize import minimize

    variables = {p.name: p.variable for p in branch.parameters if p.name in point}
    free = {n: v for n, v in variables.items() if isinstance(v, Range) and v.continuous}
    if not free:
        return point
    seen: list[tuple[float, Point]] = []

    def placed(units: Array) -> Point:
        moved = {name: r.at(float(u)) for (name, r), u in zip(free.items(), units, strict=True)}
        return {**point, **moved}

    def loss(units: Array) -> tuple[float, Array]:
        steps = np.where(units + _STEP <= 1.0, _STEP, -_STEP)
        points = [placed(each) for each in (units, *(units + np.diag(steps)))]
        here, *beside = score(points)
        seen.append((float(here), points[0]))
        return -float(here), (here - np.array(beside)) / steps

    start = np.clip([r.unit(point[name]) for name, r in free.items()], 0.0, 1.0)
    bounds, options = [(0.0, 1.0)] * len(free), {"maxiter": _ITERATIONS}
    minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return max(seen, key=lambda each: each[0])[1]
