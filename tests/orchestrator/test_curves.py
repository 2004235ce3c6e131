"""A learning curve keeps its shape, and no more points than anybody looks at."""

from itertools import pairwise

from autopeft.orchestrator.curves import LONGEST, WIDEST, Curve


def test_a_short_curve_is_kept_as_it_is():
    curve = Curve()
    for step in range(LONGEST):
        curve.report(step, {"loss": 1 / (step + 1)})
    assert curve.points == [(step, {"loss": 1 / (step + 1)}) for step in range(LONGEST)]


def test_a_long_one_is_thinned_evenly():
    curve = Curve()
    for step in range(100_000):
        curve.report(step, {"loss": 0.0})
    steps = [step for step, _ in curve.points]
    assert LONGEST / 2 <= len(steps) <= LONGEST
    assert len({after - before for before, after in pairwise(steps)}) == 1
    assert steps[0] == 0
    assert steps[-1] > 99_000


def test_a_point_has_so_many_names_at_most():
    curve = Curve()
    curve.report(1, {f"name {i}": i for i in range(1000)})
    assert list(curve.points[0][1].values()) == list(range(WIDEST))
