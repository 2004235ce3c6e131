import optuna
import pytest
from search.landscape import HOUSE, LORA, make_problem, random_trials, search, started, told

from autopeft.domain.errors import AutopeftError
from autopeft.domain.space import Range, Space
from autopeft.search import make_sampler
from autopeft.search.optuna.parameters import Parameters, from_numbers, of_range, to_numbers
from autopeft.search.optuna.sampler import OptunaSampler


def test_every_value_of_a_stepped_range_survives_the_way_there_and_back():
    for variable in (Range(0, 95, step=10), Range(0.1, 1.0, step=0.25), Range(1, 5)):
        for unit in (0.0, 0.3, 0.5, 0.99, 1.0):
            value = variable.at(unit)
            assert from_numbers(variable, to_numbers(variable, value)) == value


def test_an_uneven_upper_end_is_not_moved():
    distribution = of_range(Range(0, 95, step=10))
    assert isinstance(distribution, optuna.distributions.IntDistribution)
    assert (distribution.low, distribution.high) == (0, 9)


def replayed(sampler, problem, history):
    parameters = Parameters(problem.space, shared=sampler._shares)
    return sampler._replayed(problem, history, 0, parameters)


def test_the_history_is_replayed_with_states_values_and_generations():
    problem = make_problem(constraints=["peak_memory_gib <= 1.2"])
    trials = random_trials(problem, 20)
    history = [told(trial) for trial in trials[:18]]
    history += [started(problem, 18, trials[18].point)]
    study = replayed(make_sampler("optuna.NSGAIISampler", {"population_size": 8}), problem, history)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE"] * 18 + ["RUNNING"]
    generations = [
        t.system_attrs["NSGAIISampler:generation"] for t in study.trials if t.values is not None
    ]
    assert generations == [0] * 8 + [1] * 8 + [2] * 2
    first = study.trials[0]
    assert first.values[0] == history[0].metrics["accuracy"]
    violation = history[0].metrics["peak_memory_gib"] - 1.2
    assert first.constraints["peak_memory_gib <= 1.2"] == violation


def test_nsga_breeds_after_its_first_population():
    problem = make_problem()
    history = search(
        make_sampler("optuna.NSGAIISampler", {"population_size": 6}), problem, trials=24, seed=0
    )
    assert len({trial.configuration.key for trial in history}) == 24


def test_a_learning_rate_is_one_parameter_for_all_methods_where_that_is_asked_for():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 12)]
    counts = []
    for shared in (False, True):
        study = replayed(OptunaSampler("TPESampler", {}, shared=shared), problem, history)
        assert len({trial.params["branch"] for trial in study.trials}) > 1
        rates = {n for t in study.trials for n in t.params if n.endswith("learning_rate")}
        counts.append(len(rates))
        for trial, was in zip(study.trials, history, strict=True):
            (rate,) = rates & set(trial.params)
            assert trial.params[rate] == was.point["training.learning_rate"]
    assert counts[0] > counts[1]


@pytest.mark.parametrize("name", ["GPSampler", "NSGAIISampler"])
def test_what_only_some_branches_have_is_modelled_too(name):
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 12)]
    study = replayed(make_sampler(f"optuna.{name}", {}), problem, history)
    names = {frozenset(trial.params) for trial in study.trials}
    (all_of_them,) = names
    branches = {branch.name for branch in problem.space.branches}
    assert {part.partition("/")[0] for part in all_of_them} <= {"branch", *branches}
    rates = [part for part in all_of_them if part.endswith("training.learning_rate")]
    ranges = {
        p.variable for b in problem.space.branches for p in b.parameters if p.name in rates[0]
    }
    assert len(rates) == len(ranges)
    space = study.sampler.infer_relative_search_space(study, study.trials[-1])
    assert set(space) == all_of_them
    again = replayed(make_sampler(f"optuna.{name}", {}), problem, history)
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]


def test_other_samplers_of_optuna_work_by_name():
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 4)]
    for name in ("optuna.RandomSampler", "optuna.NSGAIIISampler", "optuna.QMCSampler"):
        suggestion = make_sampler(name, {}).suggest(problem, history, seed=0)
        assert problem.admissible(suggestion.point) is not None


def test_a_sequence_goes_on_where_the_trials_end():
    problem = make_problem(Space((LORA, HOUSE)))
    history = search(make_sampler("optuna.QMCSampler", {}), problem, trials=32, seed=1)
    assert {trial.why for trial in history[1:]} == {"optuna QMCSampler"}


def test_our_own_default_contradicts_no_option():
    sampler = make_sampler("optuna.TPESampler", {"multivariate": False})
    assert sampler.suggest(make_problem(), [], seed=0).why == "optuna TPESampler"


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("BruteForceSampler", {}, "step must be given"),
        ("CmaEsSampler", {}, "multi-objective"),
        ("TPESampler", {"n_startup_trials": "many"}, "not supported between"),
    ],
)
def test_what_a_sampler_refuses_when_it_is_asked_is_one_message(name, options, text):
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 4)]
    with pytest.raises(AutopeftError, match=text) as caught:
        make_sampler(f"optuna.{name}", options).suggest(problem, history, seed=0)
    assert str(caught.value).startswith(f"optuna.{name} cannot propose a trial of this study: ")
    assert str(caught.value).endswith("take another sampler, or other options")


def test_what_we_refuse_ourselves_is_not_said_to_be_optunas(monkeypatch):
    def refused(*_):
        raise AutopeftError("trial 0 has no such field")

    monkeypatch.setattr("autopeft.search.optuna.sampler._frozen_trial", refused)
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 1)]
    with pytest.raises(AutopeftError, match=r"^trial 0 has no such field$"):
        make_sampler("optuna.TPESampler", {}).suggest(problem, history, seed=0)
