"""A front of a measured score over a known cost: a staircase, its volume, what is gained on it.

K: steps; S: draws of the scores; N: candidates; m: members. Costs are scores, larger is cheaper;
the reference is 0 on both axes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autopeft.search.model.encoding import Array

LEAST = 1e-300  # a gain of nothing still has a logarithm
_HOPELESS = -38.0  # deviations from which on an expected improvement is below that


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


def volume(cost: Array, drawn: Array) -> float:
    """The hypervolume under the staircase of these, the mean over the draws; see `staircase`."""
    order = np.argsort(-cost, kind="stable")
    best = np.maximum.accumulate(drawn[:, order], axis=1)
    reach = np.maximum(cost[order], 0.0)
    widths = reach - np.append(reach[1:], 0.0)
    return float((np.maximum(best, 0.0) @ widths).mean())


def gain_over(mean: Array, deviation: Array, reach: Array, edges: Array, heights: Array) -> Array:
    """(N,) EHVI, the mean over the draws.

    mean: (S, N). deviation, reach: (N,).
    """
    overlap = np.minimum(reach[:, None], edges[None, 1:]) - edges[None, :-1]
    candidate, step = np.nonzero(overlap > 0)
    width, deviations = overlap[candidate, step], deviation[candidate]
    gain = np.zeros(len(deviation))
    for here, drawn in zip(mean, heights, strict=True):
        z = (here[candidate] - drawn[step]) / deviations
        (near,) = np.nonzero(z > _HOPELESS)  # of a late search less than half
        over = deviations[near] * _improvement(z[near])
        gain += np.bincount(candidate[near], width[near] * over, minlength=len(gain))
    return gain / len(heights)


def rising(cost: Array, drawn: Array) -> NDArray[np.bool_]:
    """(m,) who makes a step of the staircase in any of the draws; see `staircase`."""
    order = np.argsort(-cost, kind="stable")
    values = drawn[:, order]
    cheaper = np.maximum.accumulate(np.maximum(values, 0.0), axis=1)
    before = np.hstack([np.zeros((len(values), 1)), cheaper[:, :-1]])
    found = np.zeros(len(cost), dtype=bool)
    found[order] = (values > before).any(axis=0) & (cost[order] > 0)
    return found


def improvement(mean: Array, deviation: Array, height: Array) -> Array:
    """Expected improvement of normal values over a height; the shapes are broadcast."""
    return np.asarray(deviation * _improvement((mean - height) / deviation))


def _improvement(z: Array) -> Array:
    """Of a standard normal over -z."""
    return np.asarray(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) + z * ndtr(z))
