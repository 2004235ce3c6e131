"""Boxes above a front, and what uncertain scores are expected to fill of them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from autopeft.domain.objective import Objective
from autopeft.domain.pareto import hypervolume
from autopeft.search.gain.beliefs import Placed
from autopeft.search.gain.box_gain import Boxes
from autopeft.search.gain.staircase import gain_over, improvement, staircase

FAR = 2.0  # beyond every member


def front(members, objectives, seed=0):
    Y = np.abs(np.random.default_rng(seed).standard_normal((members, objectives)))
    return Y / np.linalg.norm(Y, axis=1)[:, None]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("members", [0, 1, 12])
def test_boxes_cover_what_is_not_dominated_once(members, objectives):
    Y = front(members, objectives)
    boxes = Boxes.above(Y)
    assert (boxes.low < boxes.high).all()
    sides = np.minimum(boxes.high, FAR) - np.minimum(boxes.low, FAR)
    rest = FAR**objectives - (hypervolume(Y, np.zeros(objectives)) if members else 0.0)
    assert np.prod(sides, axis=1).sum() == pytest.approx(rest)
    middles = (np.minimum(boxes.high, FAR) + boxes.low) / 2
    assert not any((member >= middle).all() for member in Y for middle in middles)


def test_dominated_and_equal_members_and_those_below_the_reference_make_no_boxes():
    Y = front(8, 3)
    more = np.vstack([Y, Y[:3], 0.5 * Y[3:6], [[-1.0, 5.0, 5.0], [0.0, 9.0, 9.0]]])
    one, two = Boxes.above(Y), Boxes.above(more)
    assert {*map(tuple, one.low)} == {*map(tuple, two.low)}
    assert len(one.low) == len(two.low)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_expected_gain_is_the_mean_over_draws_of_a_candidate(objectives):
    rng = np.random.default_rng(1)
    Y = front(6, objectives)
    mean, deviation = rng.uniform(0.5, 1.1, (2, objectives)), rng.uniform(0.2, 0.4, objectives)
    excess = [
        lambda draw, heights, j=j: improvement(mean[:, j, None], deviation[j], heights)
        for j in range(objectives)
    ]
    found = Boxes.above(Y).gain(excess, 0)
    corner = np.zeros(objectives)
    before = hypervolume(Y, corner)
    for i, expected in enumerate(found):
        drawn = mean[i] + deviation * rng.standard_normal((800, objectives))
        gains = [hypervolume(np.vstack([Y, y]), corner) - before for y in drawn]
        assert expected == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / 800**0.5)


def test_beside_a_known_cost_it_is_the_sum_over_the_staircase():
    rng = np.random.default_rng(2)
    cost, drawn = rng.uniform(0, 1, 9), rng.uniform(-0.2, 1, (3, 9))
    mean, deviation, reach = rng.uniform(0, 1, (3, 7)), rng.uniform(0.01, 0.3, 7), rng.random(7)
    expected = gain_over(mean, deviation, reach, *staircase(cost, drawn))
    excess = [
        lambda s, heights: improvement(mean[s][:, None], deviation[:, None], heights),
        lambda s, heights: np.maximum(reach[:, None] - heights, 0.0),
    ]
    fronts = [Boxes.above(np.column_stack([values, cost])) for values in drawn]
    found = np.mean([boxes.gain(excess, s) for s, boxes in enumerate(fronts)], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_what_a_cost_is_expected_to_exceed_a_height_by_is_the_mean_over_its_draws(goal, scale):
    objective = Objective("step_ms", goal, scale=scale)
    worst, best = sorted([objective.transform(2.0), objective.transform(9.0)])
    placed = Placed.of(objective, worst, best - worst)
    mean, deviation = np.log(5.0), 0.4
    logarithms = norm.ppf((np.arange(200_000) + 0.5) / 200_000, mean, deviation)
    heights = np.array([-0.5, 0.0, 0.3, 0.7, 0.99, 1.5, 40.0])
    expected = [np.maximum(placed(logarithms) - height, 0.0).mean() for height in heights]
    found = placed.excess(np.full((1, 1), mean), np.full((1, 1), deviation), heights)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    assert all(one >= two for one, two in pairwise(found[0]))


def test_an_extreme_cost_is_a_number():
    for sign in (-1.0, 1.0):
        placed = Placed(sign, log=False, reference=0.0, span=1.0)
        found = placed.excess(np.array([[900.0], [-900.0]]), np.ones((1, 1)), np.array([0.0, 1e9]))
        assert np.isfinite(found).all()
