"""A front of a measured score over a known cost: a staircase, its volume, what is gained on it.

K: steps; S: draws of the scores; N: candidates; m: members. Costs are scores, larger is cheaper;
the reference is 0 on both axes.
"""

import numpy as np
from scipy.special import ndtr

from autopeft.search.encoding import Array

LEAST = 1e-300  # a gain of nothing still has a logarithm


def staircase(cost: Array, drawn: Array) -> tuple[Array, Array]:
    """(K + 1,) edges on the cost axis, from 0 to infinity; (S, K) best value at each cost or more.

    cost: (m,) scores, larger is cheaper. drawn: (S, m).
    """
    order = np.argsort(cost, kind="stable")
    best = np.maximum.accumulate(drawn[:, order][:, ::-1], axis=1)[:, ::-1]
    heights = np.maximum(np.hstack([best, np.zeros((len(drawn), 1))]), 0.0)
    edges = np.concatenate([[0.0], np.maximum(cost[order], 0.0), [np.inf]])
    wide = np.diff(edges) > 0
    heights, ends = heights[:, wide], edges[1:][wide]
    # Of neighbouring steps of one height, the last: the others end inside it.
    last = np.append(np.any(heights[:, 1:] != heights[:, :-1], axis=0), True)
    return np.concatenate([[0.0], ends[last]]), heights[:, last]


def volume(edges: Array, heights: Array) -> float:
    """The hypervolume under the staircase, the mean over the draws."""
    ends = np.isfinite(edges[1:])  # the last step has no end and no height
    return float((heights[:, ends] @ np.diff(edges)[ends]).mean())


def gain_over(mean: Array, deviation: Array, reach: Array, edges: Array, heights: Array) -> Array:
    """(N,) EHVI, the mean over the draws.

    mean: (S, N). deviation, reach: (N,).
    """
    overlap = np.clip(np.minimum(reach[:, None], edges[None, 1:]) - edges[None, :-1], 0.0, None)
    gain = np.zeros(len(deviation))
    for here, drawn in zip(mean, heights, strict=True):
        gain += (overlap * improvement(here[:, None], deviation[:, None], drawn[None, :])).sum(
            axis=1
        )
    return gain / len(heights)


def improvement(mean: Array, deviation: Array, height: Array) -> Array:
    """Expected improvement of normal values over a height; the shapes are broadcast."""
    z = (mean - height) / deviation
    return np.asarray(deviation * (np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) + z * ndtr(z)))
