"""Free parameters of the user's own code, as the search sees them: without a model, without sizes."""

import pytest
from own_code import SPACE, parsed, write

from autopeft import build
from autopeft.domain.trial import Rung, Trial
from autopeft.search import make_sampler
from autopeft.search.model.encoding import Encoding, named
from autopeft.search.points.tried import Tried


@pytest.fixture
def problem(tmp_path):
    write(tmp_path, space=SPACE)
    return build.problem(*build.bound(parsed(tmp_path)))


def point(rank=0, lr=1e-3, targets=(1, 0, 1)):
    values = {"rank": rank, "lr": lr, "targets": targets}
    return {"branch": "main", **{f"parameters.{name}": value for name, value in values.items()}}


def told(problem, number, at, **metrics):
    trial = Trial(number, problem.configure(at), 0, at, {})
    return trial.advanced(Rung(0, 1, metrics), last=True)


def test_they_are_features_on_the_scale_of_their_range_and_subsets_option_by_option(problem):
    row = named(problem, problem.configure(point()))
    assert row["parameter:rank"] == 2
    assert row["parameter:lr"] == 1e-3
    assert {name for name in row if "targets" in name} == {
        'parameter:targets="q"',
        'parameter:targets="v"',
    }
    ends = [problem.configure(point(lr=lr)) for lr in (1e-5, 1e-3, 1e-1)]
    encoding = Encoding.fit(problem, ends)
    assert [column.name for column in encoding.columns] == ["parameter:lr"]
    assert encoding.encode(ends).ravel().tolist() == pytest.approx([0, 0.5, 1])


def test_what_noise_cannot_tell_apart_was_tried_and_anything_else_was_not(problem):
    tried = Tried(problem, [problem.configure(point())])
    assert problem.configure(point(lr=1.1e-3)) in tried
    for other in (point(rank=1), point(lr=2e-3), point(targets=(1, 1, 1))):
        assert problem.configure(other) not in tried


def test_a_point_of_parameters_alone_is_a_candidate_and_has_no_known_costs(problem):
    configuration = problem.admissible(point())
    assert configuration.parameters == {"rank": 2, "lr": 1e-3, "targets": ["q", "v"]}
    assert problem.known(configuration.architecture) == {}


@pytest.mark.parametrize("name", ["autopeft", "optuna.TPESampler", "botorch.qLogNParEGO"])
def test_samplers_choose_among_them_by_what_came_back(problem, name):
    sampler = make_sampler(name, {} if "." in name else {"initial": 3}, ())
    history = []
    for i in range(7):
        suggestion = sampler.suggest(problem, history, seed=i)
        assert suggestion == sampler.suggest(problem, history, seed=i)
        parameters = problem.configure(suggestion.point).parameters
        metrics = {
            "rouge": -float((parameters["rank"] - 8) ** 2),
            "size": float(parameters["rank"]),
        }
        history.append(told(problem, i, suggestion.point, **metrics))
    assert len({trial.configuration.key for trial in history}) == 7
