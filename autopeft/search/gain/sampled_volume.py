"""Hypervolumes by sampling, where there are too many of them to compute.

An exact volume takes a time that grows with a power of the number of objectives, and the expected
growth of a front asks for hundreds of them. Samples take the same time whatever they are of.

S: draws; n: outcomes of each, maximised, counted from a reference at 0; m: objectives.
"""

import numpy as np
from numpy.typing import NDArray

from autopeft.search.model.encoding import Array

_IN_A_BOX = 64  # samples for every draw of one outcome
_IN_ALL = 4096  # samples that all draws share


def added(Y: Array, y: Array, rng: np.random.Generator) -> Array:
    """(S,) what one more outcome, y (S, m), adds to the volume of Y (S, n, m).

    Samples lie in the box of the outcome itself, so a small gain is told as well as a large one.
    """
    corners = np.maximum(y, 0.0)
    own = np.ones(len(y))
    for i, (rows, corner) in enumerate(zip(Y, corners, strict=True)):
        own[i] = 1.0 - _covered(rng.random((_IN_A_BOX, len(corner))) * corner, rows).mean()
    return np.asarray(own * corners.prod(axis=1))


def volumes(Y: Array, more: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """(S,) the volume of Y (S, n, m), and (S,) that of it with `more` (S, k, m)."""
    top = np.maximum(np.concatenate([Y, more], axis=1).max(axis=(0, 1)), 0.0)
    points = rng.random((_IN_ALL, len(top))) * top
    before, after = np.zeros(len(Y)), np.zeros(len(Y))
    for i, (rows, others) in enumerate(zip(Y, more, strict=True)):
        inside = _covered(points, rows)
        before[i] = inside.mean()
        inside[~inside] = _covered(points[~inside], others)
        after[i] = inside.mean()
    return before * top.prod(), after * top.prod()


def _covered(points: Array, rows: Array) -> NDArray[np.bool_]:
    """(p,) whether a row is better than a point in everything."""
    rows = rows[(rows > 0).all(axis=1)]
    found = np.ones((len(points), len(rows)), dtype=bool)
    for j in range(points.shape[1]):
        found &= points[:, j, None] < rows[None, :, j]
    return np.asarray(found.any(axis=1))
