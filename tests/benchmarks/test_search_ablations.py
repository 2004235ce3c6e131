"""The engine without one of its facts: each is switched off while it thinks, and on again after."""

import importlib
import sys
from pathlib import Path

import pytest
from search.landscape import make_problem, random_trials, told

from autopeft.domain.errors import AutopeftError
from autopeft.search import make_sampler
from autopeft.search.candidates import initial
from autopeft.search.model import encoding, fitting, memory

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "search"))
ablations = importlib.import_module("ablations")


def suggested(fact):
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 16)]
    sampler = make_sampler("autopeft", {"initial": 4, "candidates": 32})
    return ablations.without(fact, sampler).suggest(problem, history, seed=0)


def state():
    return (
        fitting._VANISHING,
        encoding._SHARP,
        encoding._TIED,
        encoding.features,
        initial._MIDDLE,
        memory.edge,
    )


@pytest.mark.parametrize("fact", ["costs", "exact costs", "vanishing", "window", "order", "noise"])
def test_without_a_fact_it_still_proposes_and_nothing_stays_switched_off(fact):
    before = state()
    assert suggested(fact).point["branch"]
    assert state() == before


def test_each_fact_makes_a_difference_to_what_is_expected():
    sampler = make_sampler("autopeft", {"initial": 4, "candidates": 32})
    problem = make_problem()
    history = [told(trial) for trial in random_trials(problem, 16)]
    whole = sampler.suggest(problem, history, seed=0)
    gains = {
        fact: suggested(fact).gain for fact in ("costs", "exact costs", "window", "order", "noise")
    }
    assert all(gain != whole.gain for gain in gains.values())


def test_an_unknown_fact_is_told_with_those_there_are():
    with pytest.raises(AutopeftError, match="an ablation is one of costs, exact costs, noise"):
        suggested("luck")
