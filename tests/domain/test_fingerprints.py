"""Fingerprints of data are compared with their like alone."""

import pytest

from autopeft.domain.fingerprints import other_rows


@pytest.mark.parametrize(
    ("then", "now", "other"),
    [
        ("rows-1:ab", "rows-1:ab", False),
        ("rows-1:ab", "rows-1:cd", True),
        ("ab", "rows-1:cd", False),
        ("ab", "cd", True),
        ("rows-1:ab", None, False),
        (None, "rows-1:ab", False),
        (None, None, False),
    ],
)
def test_fingerprints_taken_in_the_same_way_are_compared(then, now, other):
    assert other_rows(then, now) is other
