import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autopeft.search.as_optuna import AutoPEFTSampler
from autopeft.search.optuna.study_space import StudySpace, Untried
from autopeft.search.points.plain_encoding import PointEncoding

OPTIMIZERS = CategoricalDistribution(("adam", "sgd", "none"))
UNIT = FloatDistribution(0, 1)


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def optimised(objective, *, seed=0, trials=20, **study):
    made = optuna.create_study(sampler=AutoPEFTSampler(seed=seed), **study)
    made.optimize(objective, n_trials=trials)
    return made


def nested(trial):
    """The best is `sgd` with momentum 0.7: 0."""
    kind = trial.suggest_categorical("optimizer", ["adam", "sgd", "none"])
    if kind == "sgd":
        return (trial.suggest_float("momentum", 0, 1) - 0.7) ** 2
    if kind == "adam":
        return 0.2 + (np.log10(trial.suggest_float("rate", 1e-5, 1e-1, log=True)) + 3) ** 2
    return 0.5


def two(trial):
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_int("y", 0, 10)
    return x, (1 - x) ** 2 + (y - 4) ** 2 / 10


def space_of(trials, **distributions):
    return StudySpace.of(distributions, trials)


def test_what_a_parameter_follows_is_learned_from_the_trials():
    space = space_of(
        [
            {"optimizer": "adam", "layers": 1, "rate": 0.1, "unit1": 0.5},
            {"optimizer": "sgd", "layers": 2, "unit1": 0.5, "unit2": 0.5},
            {"optimizer": "adam", "layers": 2, "rate": 0.3, "unit1": 0.5, "unit2": 0.5},
        ],
        optimizer=OPTIMIZERS,
        layers=IntDistribution(1, 3),
        rate=UNIT,
        unit1=UNIT,
        unit2=UNIT,
    )
    whole = {"optimizer": "adam", "layers": 1, "rate": 0.2, "unit1": 0.2, "unit2": 0.2}

    def asked(**changes):
        return set(space.params(space.trimmed(space.point({**whole, **changes}))))

    assert asked() == {"optimizer", "layers", "rate", "unit1"}
    assert asked(optimizer="sgd", layers=2) == {"optimizer", "layers", "unit1", "unit2"}
    # What no trial has shown may be asked for.
    assert asked(optimizer="none", layers=3) == set(whole)


def test_a_condition_inside_a_condition_is_learned():
    trials = [
        {"a": "adam", "b": 0},
        {"a": "adam", "b": 1, "c": 0.5},
        {"a": "sgd"},
    ]
    space = space_of(trials, c=UNIT, b=IntDistribution(0, 1), a=OPTIMIZERS)
    kept = space.trimmed(space.point({"a": "sgd", "b": 1, "c": 0.5}))
    assert space.params(kept) == {"a": "sgd"}
    assert [space.params(space.point(t)) for t in trials] == trials


def test_points_that_differ_in_what_nobody_asks_for_are_the_same():
    space = space_of([{"a": "adam"}, {"a": "sgd", "c": 0.5}], a=OPTIMIZERS, c=UNIT)
    untried = Untried(space, [space.point({"a": "adam"})])
    given = [{"a": "adam", "c": 0.1}, {"a": "sgd", "c": 0.1}, {"a": "sgd", "c": 0.1}]
    found = list(untried.among(space.point(params) for params in given))
    assert [space.params(point) for point in found] == [{"a": "sgd", "c": 0.1}]


def test_the_same_seed_gives_the_same_study_and_another_one_another():
    runs = [optimised(nested, seed=seed, trials=16).trials for seed in (3, 3, 4)]
    params = [[trial.params for trial in trials] for trials in runs]
    assert params[0] == params[1] != params[2]


def test_another_sampler_goes_on_where_the_first_ended():
    study = optimised(nested, trials=12)
    state = np.random.get_state()[1].tolist()
    first, second = (
        AutoPEFTSampler(seed=0).sample_relative(
            study, study.trials[-1], study.sampler.infer_relative_search_space(study, None)
        )
        for _ in range(2)
    )
    assert first == second
    assert np.random.get_state()[1].tolist() == state


def test_a_conditional_space_is_searched_by_the_model():
    study = optimised(nested, trials=25)
    assert study.best_value < 1e-3
    late = [trial.params for trial in study.trials[15:]]
    assert sum(params["optimizer"] == "sgd" for params in late) >= 5


def test_several_objectives_give_a_front():
    study = optimised(two, trials=20, directions=["minimize", "minimize"])
    front = sorted(trial.values[0] for trial in study.best_trials)
    assert len(front) >= 6
    assert all(trial.params["y"] == 4 for trial in study.best_trials)
    assert front[-1] - front[0] > 0.6


def test_a_front_grows_to_its_ends_which_lie_on_an_edge():
    """ZDT1 (Zitzler 2000), where the first results are all near one end."""

    def objective(trial):
        x, *rest = (trial.suggest_float(f"x{i}", 0, 1) for i in range(4))
        g = 1 + 9 * sum(rest) / len(rest)
        return x, g - np.sqrt(x * g)

    front = optimised(objective, trials=40, directions=["minimize", "minimize"]).best_trials
    firsts = [trial.values[0] for trial in front]
    assert min(firsts) < 0.05
    assert max(firsts) > 0.9
    assert min(trial.values[1] for trial in front) < 0.1


def test_constraints_are_kept():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("low", 0.3 - x)
        return x

    study = optimised(objective, trials=20)
    late = [trial.params["x"] for trial in study.trials[12:]]
    assert min(late) > 0.29
    assert 0.3 <= study.best_trial.params["x"] < 0.31


def test_running_trials_are_stayed_away_from():
    study = optimised(lambda t: (t.suggest_float("x", 0, 1) - 0.3) ** 2, trials=12)
    asked = [study.ask({"x": UNIT}).params["x"] for _ in range(4)]
    assert len({round(x, 3) for x in asked}) == 4


def test_a_space_that_is_used_up_still_gets_an_answer():
    study = optimised(lambda t: t.suggest_int("n", 1, 3), trials=16)
    assert {trial.params["n"] for trial in study.trials} == {1, 2, 3}


def test_infinite_values_and_failed_trials_are_no_obstacle():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if trial.number % 4 == 1:
            raise optuna.TrialPruned
        return float("inf") if trial.number % 4 == 2 else x

    study = optimised(objective, trials=20)
    assert study.best_value < 0.1


@pytest.mark.parametrize("ends", [optuna.TrialPruned, RuntimeError])
def test_what_failed_or_was_pruned_is_not_asked_again(ends):
    def objective(trial):
        size, layers = trial.suggest_categorical("size", [4, 8, 99]), trial.suggest_int("n", 1, 4)
        if size == 99:
            raise ends
        return size * layers

    study = optuna.create_study(sampler=AutoPEFTSampler(seed=0), direction="maximize")
    study.optimize(objective, n_trials=24, catch=(RuntimeError,))
    done = [trial.number for trial in study.trials if trial.values is not None]
    later = [trial for trial in study.trials if trial.number > done[9]]  # by the model
    lost = [str(trial.params) for trial in later if trial.number not in done]
    assert lost
    assert len(lost) == len(set(lost))
    assert study.best_value == 32


@pytest.mark.parametrize("bad", [1e6, 1e30, 1e308, float("inf")])
def test_how_bad_an_outlier_is_makes_no_difference_to_the_rest(bad):
    def objective(trial):
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        return bad if trial.number == 2 else (x - 0.3) ** 2 + (y - 0.6) ** 2

    assert optimised(objective, seed=1, trials=20).best_value < 0.01


def test_with_a_known_objective_a_trial_that_has_not_asked_for_everything_is_passed_over():
    def objective(trial):
        width, layers = trial.suggest_int("width", 1, 64), trial.suggest_int("layers", 1, 8)
        return layers - (width - 30) ** 2, width * layers

    sampler = AutoPEFTSampler(
        seed=0, n_startup_trials=4, known={1: lambda p: p["width"] * p["layers"]}
    )
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])
    study.optimize(objective, n_trials=5)
    study.ask().suggest_int("width", 1, 64)  # of a worker that was killed here
    study.optimize(objective, n_trials=2)
    assert sum(trial.values is not None for trial in study.trials) == 7


def test_a_parameter_may_have_any_name():
    trials = [{"branch": "sgd", "=branch": 0.5}, {"branch": "adam", "=branch": 1.0}]
    space = space_of(trials, **{"branch": OPTIMIZERS, "=branch": UNIT})
    points = [space.trimmed(space.point(params)) for params in trials]
    assert [space.params(point) for point in points] == trials
    rows = PointEncoding.of([space.branch]).encode(points)
    assert sorted(rows[0]) == [0, 0, 0.5, 1]
    assert not np.array_equal(rows[0], rows[1])


def test_a_negative_startup_is_refused():
    with pytest.raises(ValueError, match="n_startup_trials takes a number from 0, got -1: raise"):
        AutoPEFTSampler(n_startup_trials=-1)


def test_the_class_loads_torch_only_when_it_fits_a_model():
    code = (
        "import sys; from autopeft.search.as_optuna import AutoPEFTSampler; AutoPEFTSampler();"
        "print([m for m in ('torch', 'botorch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
