"""Why a trial was proposed: one line, the same for every sampler."""

import numpy as np
import pytest
from fakes import FakeEvaluator, RandomSampler, drive, fake_problem, study_spec
from orchestrator.test_session import open_session

from autopeft.domain.ports import Suggestion
from autopeft.domain.results.figures import share
from autopeft.orchestrator.proposal import propose
from autopeft.search import make_sampler


class Saying:
    def __init__(self, **said) -> None:
        self._said = said

    def suggest(self, problem, history, *, seed):
        return Suggestion(problem.space.draw(np.random.default_rng(seed)), **self._said)


def proposed(sampler, baseline=None):
    spec = study_spec()
    return propose(fake_problem(spec), [], sampler=sampler, baseline=baseline, seed=0)


def test_a_line_names_the_branch_how_it_was_found_and_what_it_promises():
    found = proposed(Saying(why="model-based", gain=0.0084, left=0.061))
    branch = found.configuration.branch
    assert found.why == (
        f"branch {branch}: model-based, +0.84 % hypervolume expected of 6.1 % left"
    )
    assert (found.gain, found.left) == (0.0084, 0.061)


def test_without_a_model_nothing_is_promised():
    assert proposed(RandomSampler()).why in ("branch lora: random", "branch ia3: random")


def test_a_baseline_is_tuned_against_itself_and_promises_nothing():
    found = proposed(Saying(why="model-based", gain=0.5, left=0.9), baseline="house")
    assert found.why == "baseline house: model-based"
    assert (found.gain, found.left) == (None, None)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("autopeft", "initial design (1 of 4)"),
        ("random", "random"),
        ("optuna.TPESampler", "optuna TPESampler"),
    ],
)
def test_the_samplers_say_how_in_the_same_place(name, how):
    session, store = open_session(
        study_spec(trials=2, baselines={}), sampler=make_sampler(name, {})
    )
    drive(session, FakeEvaluator())
    first = store.history("fake")[0]
    assert first.why == f"branch {first.configuration.branch}: {how}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "< 0.01 %"),
        (0.00012, "0.012 %"),
        (0.0084, "0.84 %"),
        (0.12345, "12 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_read_in_percent(value, text):
    assert share(value) == text
