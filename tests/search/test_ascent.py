import numpy as np
import pytest

from autopeft.domain.space import Branch, Choice, Range
from autopeft.search.candidates.ascent import ascended

BRANCH = Branch(
    "one",
    {
        "x": Range(0.0, 2.0),
        "rate": Range(1e-5, 1e-1, log=True),
        "r": Range(1, 64),
        "share": Range(0.0, 1.0, step=0.25),
        "kind": Choice(("a", "b")),
    },
)
POINT = {"branch": "one", "x": 0.2, "rate": 1e-2, "r": 8, "share": 0.5, "kind": 1}


def ridge(points):
    """Best at x = 1, rate = 1e-4, along a ridge that no step of one field alone climbs far."""
    x = np.array([point["x"] - 1 for point in points])
    rate = np.array([np.log10(point["rate"]) + 4 for point in points])
    return -((x - rate) ** 2) * 100 - (x + rate) ** 2


def test_what_is_continuous_goes_to_the_maximum_and_the_rest_stays():
    found = ascended(BRANCH, POINT, ridge)
    assert found["x"] == pytest.approx(1, abs=1e-3)
    assert found["rate"] == pytest.approx(1e-4, rel=1e-2)
    assert {**found, "x": 0.2, "rate": 1e-2} == POINT


@pytest.mark.parametrize(("sign", "edge"), [(1, 2.0), (-1, 0.0)])
def test_an_edge_is_reached_and_not_left(sign, edge):
    asked = []

    def slope(points):
        asked.extend(point["x"] for point in points)
        return np.array([sign * point["x"] for point in points])

    assert ascended(BRANCH, POINT, slope)["x"] == edge
    assert min(asked) >= 0
    assert max(asked) <= 2


def test_a_flat_score_leaves_the_point_where_it_is():
    found = ascended(BRANCH, POINT, lambda points: np.zeros(len(points)))
    assert found["x"] == pytest.approx(POINT["x"])
    assert found["rate"] == pytest.approx(POINT["rate"])


def test_nothing_is_asked_where_nothing_is_continuous():
    branch = Branch("two", {"r": Range(1, 64), "kind": Choice(("a", "b"))})
    point = {"branch": "two", "r": 8, "kind": 0}
    assert ascended(branch, point, lambda points: pytest.fail("asked")) == point
