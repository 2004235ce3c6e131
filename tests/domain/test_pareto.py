import numpy as np
import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume
from botorch.utils.multi_objective.pareto import is_non_dominated
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autopeft.domain.errors import OutcomeError
from autopeft.domain.pareto import (
    epsilon_net,
    hypervolume,
    non_dominated,
    non_domination_rank,
)


@st.composite
def outcomes(draw, least=0, most=12):
    """Y: (n, m), with ties, so that equal rows and equal coordinates occur."""
    m = draw(st.integers(1, 4))
    n = draw(st.integers(least, most))
    values = st.one_of(st.integers(-2, 4).map(float), st.floats(-2, 4, allow_nan=False, width=16))
    return draw(arrays(np.float64, (n, m), elements=values))


@given(outcomes(least=1))
def test_the_mask_is_botorchs(Y):
    expected = is_non_dominated(torch.as_tensor(Y), deduplicate=False).numpy()
    np.testing.assert_array_equal(non_dominated(Y), expected)


@given(outcomes())
def test_a_rank_is_the_front_without_the_ranks_before(Y):
    ranks, left = non_domination_rank(Y), np.arange(len(Y))
    for rank in range(int(ranks.max(initial=-1)) + 1):
        on = non_dominated(Y[left])
        np.testing.assert_array_equal(left[on], np.flatnonzero(ranks == rank))
        left = left[~on]
    assert not len(left)


@settings(deadline=None)
@given(outcomes(least=1, most=8))
def test_the_hypervolume_is_botorchs(Y):
    m = Y.shape[1]
    reference = np.full(m, -0.5)
    if m == 1:
        expected = max(0.0, float(Y.max()) + 0.5)
    else:
        mask = non_dominated(Y)
        front = torch.as_tensor(np.unique(Y[mask], axis=0))
        expected = Hypervolume(torch.as_tensor(reference)).compute(front)
    assert hypervolume(Y, reference) == pytest.approx(expected, abs=1e-9)


@given(outcomes(least=1), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(Y, shuffler):
    order = list(range(len(Y)))
    shuffler.shuffle(order)
    reference = np.full(Y.shape[1], -1.0)
    assert hypervolume(Y[order], reference) == pytest.approx(hypervolume(Y, reference))
    np.testing.assert_array_equal(non_dominated(Y[order]), non_dominated(Y)[order])


@given(outcomes(least=2))
def test_a_further_row_never_lowers_the_hypervolume(Y):
    reference = np.full(Y.shape[1], -1.0)
    assert hypervolume(Y, reference) >= hypervolume(Y[:-1], reference) - 1e-12


@given(outcomes(least=1))
def test_dominated_rows_add_nothing(Y):
    reference = np.full(Y.shape[1], -3.0)
    front = Y[non_dominated(Y)]
    assert hypervolume(front, reference) == pytest.approx(hypervolume(Y, reference))


@given(outcomes())
def test_every_row_has_a_rank_and_a_dominator_of_a_lower_one(Y):
    ranks = non_domination_rank(Y)
    np.testing.assert_array_equal(ranks == 0, non_dominated(Y))
    for row, rank in zip(Y, ranks, strict=True):
        above = Y[ranks == rank - 1]
        beaten = np.all(row <= above, axis=1) & np.any(row < above, axis=1)
        assert rank == 0 or beaten.any()


@given(outcomes(least=1), st.data())
def test_every_beginning_of_an_epsilon_net_covers_the_rest_no_worse_than_it_is_spread(Y, data):
    first = data.draw(st.integers(0, len(Y) - 1))
    order = epsilon_net(Y, first)
    assert order[0] == first
    assert sorted(order) == list(range(len(Y)))
    distance = np.linalg.norm(Y[:, None] - Y[None], axis=2)
    for size in range(2, len(Y)):
        chosen = order[:size]
        spread = min(distance[i, j] for i in chosen for j in chosen if i != j)
        covered = max(distance[i, chosen].min() for i in order[size:])
        assert covered <= spread + 1e-9


def test_an_epsilon_net_takes_both_ends_before_the_middle():
    Y = np.array([[0.5, 0.6], [1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    assert epsilon_net(Y, 1) == [1, 2, 0, 3]


def test_no_row_has_no_volume():
    assert hypervolume(np.zeros((0, 2)), np.zeros(2)) == 0.0


def test_rows_below_the_reference_add_nothing():
    assert hypervolume(np.array([[1.0, -1.0], [0.0, 5.0]]), np.zeros(2)) == 0.0


def test_nan_is_refused():
    Y = np.array([[0.0, np.nan]])
    with pytest.raises(OutcomeError, match="got NaN: leave failed trials out"):
        non_dominated(Y)
    with pytest.raises(OutcomeError, match="got NaN: leave failed trials out"):
        hypervolume(Y, np.zeros(2))
