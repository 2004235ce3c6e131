"""A study as an Optuna storage: every kind of variable and every state, read by Optuna itself."""

import math
from dataclasses import replace

import optuna
import pytest
from fakes import study_spec

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.errors import ExportError
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.space import Bits, Branch, Choice, Range, Space, Subset
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial
from autopeft.search.optuna.storage import read_storage
from autopeft.search.optuna.written import write_storage

LAYERS = "layers"
TREE = {
    "r": Choice((4, 8)),
    "targets": Choice(("all-linear", ["query", "value"], {"last": Choice((1, 2))})),
    "rate": Range(1e-5, 1e-2, log=True),
    "epochs": Range(1, 5),
    "some": Subset(("q", "k", "v")),
    LAYERS: Bits(3),
}
POINT = {"branch": "a", "r": 1, "targets": 1, "rate": 1e-3, "epochs": 2, "some": (1, 0, 1),
         LAYERS: (0, 1, 1)}  # fmt: skip
OTHER = {"branch": "b", "rate": 2e-3}


def spec_of(*objectives, constraints=()):
    space = Space((Branch("a", TREE), Branch("b", {"rate": Range(1e-4, 1.0, log=True)})))
    return replace(
        study_spec(name="written"), space=space, objectives=objectives, constraints=constraints
    )


def trial(number, point, *, state=State.COMPLETED, **metrics):
    configuration = Configuration(point["branch"], Architecture(), {"learning_rate": 1e-3})
    rungs = (Rung(0, 7, metrics, {"loss": 0.1}, 3.0, 100.0, 103.0),) if metrics else ()
    return Trial(number, configuration, 5, point, {}, state=state, rungs=rungs, created=100.0)


LOSS, COST = Objective("loss", "minimize"), Objective("cost", "minimize")


@pytest.fixture
def written(tmp_path):
    failed = trial(1, OTHER, state=State.RUNNING)
    trials = (
        trial(0, POINT, loss=0.5, cost=3.0),
        failed.failed(Failure(FailureReason.OUT_OF_MEMORY, "it " + "was " * 2000 + "full")),
        trial(2, OTHER, state=State.PAUSED, loss=0.9, cost=1.0),
        trial(3, OTHER, state=State.RUNNING),
        trial(4, OTHER, state=State.PLANNED),
        trial(5, OTHER, loss=math.inf, cost=1.0),
        trial(6, {"branch": "elsewhere"}, loss=0.4, cost=9.0),
    )
    path = tmp_path / "written.db"
    spec = spec_of(LOSS, COST, constraints=(Constraint.parse("cost <= 5"),))
    write_storage(path, spec, trials)
    return path, optuna.load_study(study_name="written", storage=f"sqlite:///{path}")


def test_states_values_and_constraints_are_there(written):
    path, study = written
    states = [t.state.name for t in study.trials]
    assert states == ["COMPLETE", "FAIL", "PRUNED", "RUNNING", "WAITING", "FAIL", "COMPLETE"]
    assert study.metric_names == ["loss", "cost"]
    assert study.trials[0].values == [0.5, 3.0]
    assert [t.number for t in study.best_trials] == [0], "the other breaks the constraint"
    assert study.trials[1].user_attrs["failure"].startswith("out_of_memory: it was was")
    assert study.trials[0].user_attrs["standard error of loss"] == 0.1
    assert study.trials[0].duration.total_seconds() == 3
    found = read_storage(f"sqlite:///{path}", None)
    assert (len(found.rows), found.left_out) == (2, 5), "as `autopeft import` reads it"


def test_parameters_have_the_values_that_they_stand_for(written):
    _, study = written
    assert study.trials[0].params == {
        "branch": "a",
        "a.r": 8,
        "a.targets": '["query", "value"]',
        "a.rate": 1e-3,
        "a.epochs": 2,
        "a.some": '["q", "v"]',
        "a.layers": "[1, 2]",
    }
    assert study.trials[3].params == {"branch": "b", "b.rate": 2e-3}
    assert study.trials[6].params == {"branch": "elsewhere"}
    rate = study.trials[0].distributions["a.rate"]
    assert (rate.low, rate.high, rate.log) == (1e-5, 1e-2, True)
    assert isinstance(
        study.trials[0].distributions["a.epochs"], optuna.distributions.IntDistribution
    )


def test_a_study_with_one_objective_has_its_rungs(tmp_path):
    write_storage(tmp_path / "one.db", spec_of(LOSS), (trial(0, OTHER, loss=0.5),))
    study = optuna.load_study(study_name="written", storage=f"sqlite:///{tmp_path / 'one.db'}")
    assert study.trials[0].intermediate_values == {7: 0.5}
    assert study.best_value == 0.5


def test_a_file_that_is_there_is_never_written_to(tmp_path):
    (tmp_path / "mine.db").write_text("mine")
    with pytest.raises(ExportError, match=r"mine.db is there: name another"):
        write_storage(tmp_path / "mine.db", spec_of(LOSS), ())
    assert (tmp_path / "mine.db").read_text() == "mine"
