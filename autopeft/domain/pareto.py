"""Pareto dominance and hypervolume.

Y: (n, m) outcomes of n trials on m objectives, every column maximised.
   Only `Objective.score` flips a sign, so nothing below asks for a direction.
"""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from autopeft.domain.errors import OutcomeError

Array = NDArray[np.float64]


def non_dominated(Y: Array) -> NDArray[np.bool_]:
    """Mark the rows of Y that no other row dominates.

    Equal rows do not dominate each other: all copies stay.

    Args:
        Y: (n, m) outcomes; n may be 0.

    Returns:
        (n,) mask.

    Raises:
        OutcomeError: Y holds a NaN. A failed trial has no outcome: leave it out.
    """
    _refuse_nan(Y)
    # What dominates a row stands before it: it is larger in the first column that differs.
    order = np.lexsort(-Y.T[::-1])
    mask = np.zeros(len(Y), dtype=bool)
    found = _of_pairs(Y[order]) if Y.shape[1] == 2 else _culled(Y[order])
    mask[order] = found
    return mask


def _of_pairs(Y: Array) -> NDArray[np.bool_]:
    """`non_dominated` of rows with two columns that fall lexicographically: one sweep."""
    highest = np.maximum.accumulate(Y[:, 1]) if len(Y) else Y[:, 1]
    first = np.searchsorted(-Y[:, 0], -Y[:, 0], side="left")  # of the rows that tie in column 0
    before = np.concatenate([[-np.inf], highest])[first]
    return np.asarray((Y[:, 1] == Y[first, 1]) & ((Y[:, 1] > before) | (first == 0)))


def _culled(Y: Array) -> NDArray[np.bool_]:
    """`non_dominated` of rows that fall lexicographically: each that is left rules out others."""
    mask = np.ones(len(Y), dtype=bool)
    for i, row in enumerate(Y):
        if mask[i]:
            rest = Y[i + 1 :]
            mask[i + 1 :] &= np.any(rest > row, axis=1) | np.all(rest == row, axis=1)
    return mask


def non_domination_rank(Y: Array) -> NDArray[np.int64]:
    """(n,) 0 for the front, 1 for the front without those, and so on (NSGA-II, Deb 2002)."""
    _refuse_nan(Y)
    if Y.shape[1] == 2:
        return _ranks_of_pairs(Y)
    ranks = np.full(len(Y), -1, dtype=np.int64)
    rank = 0
    while (left := np.flatnonzero(ranks < 0)).size:
        ranks[left[non_dominated(Y[left])]] = rank
        rank += 1
    return ranks


def _ranks_of_pairs(Y: Array) -> NDArray[np.int64]:
    """The same for two columns in n log n: each row joins the first front that lets it in.

    Jensen 2003, "Reducing the run-time complexity of multiobjective EAs", section II.
    """
    ranks = np.zeros(len(Y), dtype=np.int64)
    lowest: list[float] = []  # minus the highest second value of each front so far: it rises
    before = None
    for i in np.lexsort(-Y.T[::-1]).tolist():
        if before is not None and np.array_equal(Y[i], Y[before]):
            ranks[i] = ranks[before]
        else:
            rank = bisect_right(lowest, -Y[i, 1])
            ranks[i] = rank
            lowest[rank : rank + 1] = [-Y[i, 1]]
        before = i
    return ranks


def hypervolume(Y: Array, reference: Array) -> float:
    """Volume that Y dominates above the reference point; exact for any m.

    Args:
        Y: (n, m) outcomes; rows not above the reference add nothing.
        reference: (m,).
    """
    _refuse_nan(Y)
    gains = Y[np.all(reference < Y, axis=1)] - reference if len(Y) else Y
    return _volume(gains) if len(gains) else 0.0


def epsilon_net(Y: Array, first: int) -> list[int]:
    """The rows in an order whose every beginning is spread as widely as can be.

    After `first` comes, again and again, the row farthest from all before it (Schmucker et al.
    2021, Multi-objective Asynchronous Successive Halving, arXiv 2106.12639, "EpsNet").

    Args:
        Y: (n, m) outcomes; distances are as large as the scales of its columns make them.
        first: the row to begin with.
    """
    order, nearest = [first], np.linalg.norm(Y - Y[first], axis=1)
    while len(order) < len(Y):
        nearest[order] = -1.0
        order.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(Y - Y[order[-1]], axis=1))
    return order


def _volume(gains: Array) -> float:
    # Sweep over the last objective from the top; each slab is an (m-1)-dimensional volume.
    gains = gains[non_dominated(gains)]
    if gains.shape[1] == 1:
        return float(gains.max())
    order = np.argsort(-gains[:, -1], kind="stable")
    gains = gains[order]
    floors = np.append(gains[1:, -1], 0.0)
    if gains.shape[1] == 2:
        widths = np.maximum.accumulate(gains[:, 0])
        return float(np.sum(widths * (gains[:, 1] - floors)))
    slabs = gains[:, -1] - floors
    return float(
        sum(_volume(gains[: i + 1, :-1]) * slab for i, slab in enumerate(slabs) if slab > 0)
    )


def _refuse_nan(Y: Array) -> None:
    if np.isnan(Y).any():
        raise OutcomeError("an outcome needs numbers, got NaN: leave failed trials out")
