"""Student's t against an implementation of others."""

import pytest
from scipy.special import stdtrit

from autopeft.domain.results.intervals import Z95, t95


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 31, 100])
def test_students_t_is_that_of_scipy(freedom):
    assert t95(freedom) == pytest.approx(stdtrit(freedom, 0.975), abs=1e-9)


def test_many_degrees_of_freedom_come_to_the_normal_interval():
    assert t95(100_000) == pytest.approx(Z95, abs=1e-3)
