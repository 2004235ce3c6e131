import numpy as np
import pytest

from autopeft.search.model import prior
from autopeft.search.model.fitting import JITTER, Loss, fit
from autopeft.search.model.prior import Hyperparameters, Lengths, Rows
from autopeft.search.model.surrogate import condition


def rows(n, d=4, seed=0, tied=True):
    rng = np.random.default_rng(seed)
    groups = np.array([0, 0, *range(1, d - 1)]) if tied else np.arange(d)
    return Rows(
        rng.random((n, d)), Lengths.of(groups), np.exp(rng.uniform(5, 13, n)), rng.random(n)
    )


def smooth(some):
    return np.sin(3 * some.X[:, 0]) + some.X[:, 1] * some.X[:, 2]


def h(d=4, **changes):
    values = {"scales": np.full(d, 0.5), "signal": 1.0, "noise": 1.0, "vanishing": 0.0}
    return Hyperparameters(**(values | changes))


def test_the_gradient_is_that_of_the_loss():
    some = rows(30)
    squares = (some.X[:, None] - some.X[None]) ** 2
    basis = prior.basis(some, 3000.0, 0.0)
    loss = Loss(squares, some.lengths, basis, smooth(some), np.full(30, 0.01))
    theta = np.random.default_rng(1).normal(0, 0.5, 5)
    _, gradient = loss(theta)
    for i in range(len(theta)):
        step = 1e-5 * np.eye(len(theta))[i]
        slope = (loss(theta + step)[0] - loss(theta - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-4)


def test_a_fit_predicts_what_it_has_not_seen_and_knows_how_well():
    seen, other = rows(60), rows(200, seed=1)
    noise = np.full(60, 0.02**2)
    y = smooth(seen) + 0.02 * np.random.default_rng(2).normal(size=60)
    model = condition(fit(seen, y, noise), seen, y, noise)
    mean, deviation = model.predict(other)
    errors = np.abs(mean - smooth(other))
    assert np.sqrt(np.mean(errors**2)) < 0.2 * smooth(other).std()
    assert np.mean(errors < 3 * deviation) > 0.85


def test_a_prediction_is_the_posterior_of_the_kernel():
    some, other = rows(12), rows(3, seed=9)
    y, noise = smooth(some), np.full(12, 0.05)
    shift, spread = y.mean(), y.std()
    kernel = prior.kernel(h(), some, some) + np.diag(noise / spread**2 + JITTER)
    cross = prior.kernel(h(), other, some)
    expected = prior.mean(h(), some)
    there = prior.mean(h(), other)
    mean = there + cross @ np.linalg.solve(kernel, (y - shift) / spread - expected)
    variance = np.diag(prior.kernel(h(), other, other) - cross @ np.linalg.inv(kernel) @ cross.T)
    found = condition(h(), some, y, noise).predict(other)
    np.testing.assert_allclose(found[0], shift + spread * mean, rtol=1e-6)
    np.testing.assert_allclose(found[1], spread * np.sqrt(variance), rtol=1e-5)


def test_an_adapter_that_vanishes_is_the_base_where_the_data_say_so():
    some = rows(60, seed=3)
    noise = np.full(60, 0.01**2)
    pays = 0.3 * np.clip(np.log(some.size / 2000), 0, None) * (1 + some.X[:, 0])
    learned = fit(some, pays, noise)
    assert learned.vanishing > 0
    model = condition(learned, some, pays, noise)
    tiny = Rows(rows(50, seed=4).X, some.lengths, np.full(50, 1.0), np.zeros(50))
    mean, deviation = model.predict(tiny)
    assert np.ptp(mean) < 0.2 * np.ptp(pays)
    assert deviation.max() < 0.5 * pays.std()


def test_where_size_says_nothing_the_prior_switches_itself_off():
    some = rows(60, seed=5)
    noise = np.full(60, 0.01**2)
    wave = np.sin(9 * some.X[:, 0]) * np.cos(7 * some.X[:, 1])
    assert fit(some, wave, noise).vanishing == 0.0


def test_the_ends_of_a_range_of_rates_are_expected_to_be_worse_until_seen():
    some = rows(6)
    model = condition(h(), some, np.full(6, 0.5) + 1e-3 * some.X[:, 0], np.full(6, 1e-4))
    far = np.full((2, 4), 9.0)
    mean, _ = model.predict(Rows(far, some.lengths, np.full(2, 1e4), np.array([0.0, 1.0])))
    assert mean[0] > mean[1]


def test_draws_agree_with_the_prediction():
    some, other = rows(20), rows(5, seed=9)
    model = condition(h(), some, smooth(some), np.full(20, 0.01))
    drawn = model.draws(other, 4000, np.random.default_rng(0)).values
    mean, deviation = model.predict(other)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), deviation, rtol=0.1)


def test_what_is_given_a_draw_is_what_the_process_says_after_seeing_it():
    some, there, other = rows(20), rows(4, seed=9), rows(6, seed=10)
    y, noise = smooth(some), np.full(20, 0.01)
    model = condition(h(), some, y, noise)
    drawn = model.draws(there, 3, np.random.default_rng(0))
    means, deviation = drawn.given(other)
    whole = Rows(
        np.vstack([some.X, there.X]),
        some.lengths,
        np.append(some.size, there.size),
        np.append(some.edge, there.edge),
    )
    kernel = prior.kernel(h(), whole, whole)
    kernel[np.diag_indices(24)] += np.append(noise / y.std() ** 2, np.full(4, 1e-5))
    cross = prior.kernel(h(), other, whole)
    before = prior.mean(h(), whole)
    for values, mean in zip(drawn.values, means, strict=True):
        seen = (np.append(y, values) - y.mean()) / y.std() - before
        found = prior.mean(h(), other) + cross @ np.linalg.solve(kernel, seen)
        np.testing.assert_allclose(mean, y.mean() + y.std() * found, atol=2e-3)
    variance = np.diag(prior.kernel(h(), other, other) - cross @ np.linalg.solve(kernel, cross.T))
    np.testing.assert_allclose(deviation, y.std() * np.sqrt(variance), atol=2e-3)


def test_the_error_of_each_trial_left_out_is_that_of_a_process_without_it():
    some = rows(12)
    trials = (0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8)
    y, noise = smooth(some), np.full(12, 0.05)
    shift, spread = y.mean(), y.std()
    standard = (y - shift) / spread
    basis = prior.mean(h(), some)
    own = plain = 0.0
    for trial in range(9):
        inside = np.array(trials) == trial
        part, left = some.at(np.flatnonzero(~inside)), some.at(np.flatnonzero(inside))
        kernel = prior.kernel(h(), part, part) + np.diag(noise[~inside] / spread**2 + JITTER)
        cross = prior.kernel(h(), left, part)
        found = basis[inside] + cross @ np.linalg.solve(kernel, (standard - basis)[~inside])
        own += ((standard[inside] - found) ** 2).sum()
        plain += ((standard[inside] - standard[~inside].mean()) ** 2).sum()
    error = condition(h(), some, y, noise).left_out_error(trials)
    assert error == pytest.approx(own / plain, rel=1e-6)


def test_a_model_of_noise_is_worse_than_the_mean_and_one_of_a_smooth_function_better():
    some = rows(60)
    apart = tuple(range(60))
    noise = np.full(60, 1e-4)
    y = np.random.default_rng(0).normal(size=60)
    short = h(scales=np.full(4, 0.05))
    assert condition(short, some, y, noise).left_out_error(apart) > 1
    y = smooth(some)
    assert condition(fit(some, y, noise), some, y, noise).left_out_error(apart) < 0.1


def test_a_scale_that_is_expected_to_matter_starts_short():
    plain, sharp = (Lengths.of(np.array([0, 0, 0, 1]), which) for which in ((), (1,)))
    assert plain.centre[0] == pytest.approx(plain.centre[1] + 0.5 * np.log(3))
    assert sharp.centre[1] < plain.centre[1]
    assert sharp.centre[0] == plain.centre[0]


def test_what_is_left_out_is_expected_as_if_it_had_not_been_seen():
    some, noise = rows(12), np.full(12, 0.05)
    y = smooth(some)
    whole = condition(h(), some, y, noise)
    without = np.delete(np.arange(12), 4)
    # Standardised as the whole is: only the fifth observation is missing.
    cross = prior.kernel(h(), some, some)
    kernel = cross[np.ix_(without, without)]
    kernel += np.diag(noise[without] / whole.spread**2 + JITTER)
    mean = cross[4, without] @ np.linalg.solve(kernel, whole.y[without])
    mean += prior.mean(h(), some)[4]
    found = whole.left_out(y)[4]
    assert found == pytest.approx(whole.shift + whole.spread * mean, rel=1e-6)
    assert found != pytest.approx(y[4], rel=1e-3)
