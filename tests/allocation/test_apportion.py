"""A budget is spent to the last rank, in proportion."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopeft.allocation.apportion import apportioned


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=12),
    st.integers(0, 2),
    st.integers(2, 9),
    st.floats(0, 1),
)
def test_the_ranks_sum_to_the_budget_within_their_bounds(weights, lowest, highest, share):
    budget = round(len(weights) * (lowest + share * (highest - lowest)))
    named = {str(i): weight for i, weight in enumerate(weights)}
    ranks = apportioned(named, budget, lowest=lowest, highest=highest)
    assert sum(ranks.values()) == budget
    assert all(lowest <= rank <= highest for rank in ranks.values())
    assert all(ranks[a] >= ranks[b] for a in named for b in named if named[a] > named[b])


def test_ranks_are_proportional_where_whole_numbers_can_be():
    assert apportioned({"a": 3.0, "b": 1.0}, 8, highest=8) == {"a": 6, "b": 2}


def test_what_the_highest_rank_cuts_off_goes_to_the_others():
    found = apportioned({"a": 100.0, "b": 2.0, "c": 1.0}, 7, highest=4)
    assert found == {"a": 4, "b": 2, "c": 1}


def test_equal_weights_get_equal_ranks():
    assert apportioned(dict.fromkeys("abc", 0.0), 6, highest=6) == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("weights", "budget", "message"),
    [
        ({"a": 1.0}, 9, "1 modules of rank 1 to 8 take a budget of 1 to 8, got 9"),
        ({"a": 1.0, "b": 1.0}, 1, "take a budget of 2 to 16, got 1"),
        ({"a": -1.0}, 2, "finite and 0 or more, got -1.0 for a"),
        ({"a": math.nan}, 2, "finite and 0 or more, got nan for a"),
    ],
)
def test_a_budget_that_does_not_fit_is_refused(weights, budget, message):
    with pytest.raises(ValueError, match=message):
        apportioned(weights, budget, lowest=1, highest=8)
