import numpy as np
import optuna
import pytest

from autopeft.domain.pareto import hypervolume
from autopeft.search.as_optuna import AutoPEFTSampler
from autopeft.search.botorch.acquisition import Observed
from autopeft.search.botorch.models import moments, plain
from autopeft.search.botorch.plain_gain import expected_gain
from autopeft.search.botorch.torch_state import deterministic

REFERENCE = np.array([-2.0, -1.5])


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def observed(*, constrained=False):
    rng = np.random.default_rng(0)
    X = rng.random((9, 2))
    Y = np.column_stack([2 * np.sin(4 * X[:, 0]) + 0.1 * rng.normal(size=9), 1 - 2 * X[:, 1]])
    C = (X[:, :1] - 0.5) * 10 if constrained else np.zeros((9, 0))
    return Observed(X, Y, np.zeros((0, 2)), C)


def beside(seen, candidates, *, running=()):
    with deterministic(0):
        told = np.array(running).reshape(-1, 1)
        gain = expected_gain(seen, plain, known=[1], running=told, reference=REFERENCE, seed=0)
        return gain(candidates, 1 - 2 * candidates[:, 1:])


def test_the_gain_is_that_of_drawn_hypervolumes():
    seen = observed()
    candidates = np.array([[0.3, 0.1], [0.4, 0.6], [0.25, 0.3], [0.35, 0.95]])
    with deterministic(0):
        mean, covariance = moments(plain(seen.X, seen.Y[:, 0]), np.vstack([seen.X, candidates]))
    rng = np.random.default_rng(1)
    drawn = rng.multivariate_normal(mean, covariance, size=3000, method="cholesky")
    cost = np.append(seen.Y[:, 1], 1 - 2 * candidates[:, 1])
    expected = np.zeros(4)
    for values in drawn:
        Y = np.column_stack([values, cost])
        before = hypervolume(Y[:9], REFERENCE)
        expected += [hypervolume(Y[[*range(9), 9 + i]], REFERENCE) - before for i in range(4)]
    np.testing.assert_allclose(
        np.exp(beside(seen, candidates)), expected / 3000, rtol=0.1, atol=0.01
    )


def test_a_known_value_that_is_infinite_counts_as_the_largest_that_was_seen():
    def cost(params):
        return float("inf") if params["k"] == 8 else float(params["k"])

    study = optuna.create_study(
        sampler=AutoPEFTSampler(seed=0, n_startup_trials=4, known={1: cost}),
        directions=["minimize", "maximize"],
    )
    study.optimize(
        lambda t: (
            (x := t.suggest_float("x", 0, 1)) ** 2,
            cost({"k": t.suggest_int("k", 1, 8)}),
            x,
        )[:2],
        n_trials=14,
    )
    late = [trial.params["x"] for trial in study.trials[6:]]
    assert np.median(late) < 0.2


def test_the_gain_of_two_modelled_objectives_is_that_of_drawn_hypervolumes():
    seen = observed()
    candidates = np.array([[0.3, 0.1], [0.4, 0.6], [0.9, 0.02]])
    every, rng = np.vstack([seen.X, candidates]), np.random.default_rng(1)
    with deterministic(0):
        gain = expected_gain(
            seen, plain, known=[], running=np.zeros((0, 0)), reference=REFERENCE, seed=0
        )
        found = np.exp(gain(candidates, np.zeros((3, 0))))
        drawn = [
            rng.multivariate_normal(*moments(plain(seen.X, y), every), 3000, method="cholesky")
            for y in seen.Y.T
        ]
    expected = np.zeros(3)
    for Y in np.stack(drawn, axis=-1):
        before = hypervolume(Y[:9], REFERENCE)
        expected += [hypervolume(Y[[*range(9), 9 + i]], REFERENCE) - before for i in range(3)]
    np.testing.assert_allclose(found, expected / 3000, rtol=0.15, atol=0.01)


def test_what_resembles_a_running_trial_gains_little():
    seen = observed()
    point = np.array([[0.35, 0.2]])
    alone = beside(seen, point)
    running = Observed(seen.X, seen.Y, point, seen.C)
    assert beside(running, point, running=[1 - 2 * 0.2])[0] < alone[0] - 2


def test_what_breaks_a_measured_constraint_gains_little():
    candidates = np.array([[0.3, 0.1], [0.9, 0.1]])
    free, held = beside(observed(), candidates), beside(observed(constrained=True), candidates)
    assert free[0] - held[0] < 1.5
    assert free[1] - held[1] > 3


def cost_of(params):
    return params["width"] * (2 if params["kind"] == "b" else 1)


def objective(trial):
    width = trial.suggest_int("width", 1, 64, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    x = trial.suggest_float("x", 0, 1)
    score = width / (width + 8) + (0.2 if kind == "b" else 0) - (x - 0.3) ** 2
    return score, cost_of({"width": width, "kind": kind})


def searched(**known):
    study = optuna.create_study(
        sampler=AutoPEFTSampler(seed=0, **known), directions=["maximize", "minimize"]
    )
    study.optimize(objective, n_trials=14)
    return study


def test_a_study_with_a_known_objective_is_searched_the_same_again_and_finds_its_front():
    study, again = searched(known={1: cost_of}), searched(known={1: cost_of})
    assert [t.params for t in study.trials] == [t.params for t in again.trials]
    assert [t.params for t in study.trials] != [t.params for t in searched().trials]
    late = [trial.params["x"] for trial in study.trials[10:]]
    assert np.median(np.abs(np.array(late) - 0.3)) < 0.15


def test_a_known_value_that_trials_contradict_is_refused():
    with pytest.raises(ValueError, match=r"known\[1\] has to be the value that a trial is told"):
        searched(known={1: lambda params: 0.0})


@pytest.mark.parametrize("known", [{2: cost_of}, {0: cost_of, 1: cost_of}])
def test_known_takes_objectives_of_the_study_but_not_all(known):
    with pytest.raises(
        ValueError, match="known takes positions of objectives from 0 to 1, not all"
    ):
        searched(known=known)


def test_two_of_three_objectives_are_known():
    study = optuna.create_study(
        sampler=AutoPEFTSampler(seed=0, known={1: cost_of, 2: lambda params: params["width"]}),
        directions=["maximize", "minimize", "minimize"],
    )
    study.optimize(lambda trial: (*objective(trial), trial.params["width"]), n_trials=14)
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 14
