import numpy as np
import pytest

from autopeft.domain.pareto import hypervolume
from autopeft.search.gain.sampled_volume import added, volumes


def fronts(objectives, rows=12, draws=24):
    rng = np.random.default_rng(0)
    return rng.uniform(-0.1, 1.0, (draws, rows, objectives))


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_volumes_are_the_exact_ones_within_their_error(objectives):
    Y, corner = fronts(objectives), np.zeros(objectives)
    before, after = volumes(Y[:, :6], Y[:, 6:], np.random.default_rng(1))
    exact = [hypervolume(rows[:6], corner) for rows in Y]
    every = [hypervolume(rows, corner) for rows in Y]
    np.testing.assert_allclose(before, exact, atol=0.035)  # four times .5 / sqrt(4096)
    np.testing.assert_allclose(after, every, atol=0.035)
    assert np.mean(after - before) == pytest.approx(np.mean(np.subtract(every, exact)), abs=0.02)


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_small_gain_is_told_by_its_own_size(objectives):
    Y = fronts(objectives, draws=400)
    y = np.full((400, objectives), 0.9)
    y[:, 0] = 0.02  # a thin slice
    Y[:, :, 0] *= 0.5
    corner = np.zeros(objectives)
    exact = [
        hypervolume(np.vstack([rows, new]), corner) - hypervolume(rows, corner)
        for rows, new in zip(Y, y, strict=True)
    ]
    found = added(Y, y, np.random.default_rng(1))
    assert 0 < np.mean(exact) < 0.01
    assert np.mean(found) == pytest.approx(np.mean(exact), rel=0.1)


def test_an_outcome_below_the_reference_adds_nothing():
    Y = fronts(2)
    rng = np.random.default_rng(1)
    assert not added(Y, np.tile([-0.1, 0.9], (24, 1)), rng).any()
    before, after = volumes(Y, np.full((24, 1, 2), -1.0), rng)
    assert (before == after).all()
