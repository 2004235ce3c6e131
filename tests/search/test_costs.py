"""Measured costs: an estimate times a factor, as a limit and as an objective."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import bert_shape, fake_problem, study_spec

from autopeft.domain.estimates import Corpus, Setting, estimates
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.trial import Rung, State, Trial
from autopeft.search.gain import closed_form, several_objectives
from autopeft.search.gain.odds import make_odds
from autopeft.search.model.memory import Memory
from autopeft.search.model.outcomes import of_constraints, of_cost
from autopeft.search.model.scale import Scale
from autopeft.search.model_based import ModelBasedSampler

SHAPE = bert_shape()
FACTOR = 3.0  # of what is measured over the estimate
NOISE = 0.01  # of its logarithm


@pytest.fixture
def problem():
    spec = study_spec()
    plain = fake_problem(spec, SHAPE)

    def of(configuration):
        found = {**configuration.recipe, "max_steps": 100}
        return estimates(
            replace(configuration, recipe=found),
            shape=SHAPE,
            corpus=Corpus(100, (32,)),
            setting=Setting(),
        )

    return replace(plain, estimates=of)


def history_of(problem, count, *, seed=0, metric="peak_memory_gib", shares=(1.0,)):
    """Trials whose cost is just the estimate times a factor."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        point = problem.space.draw(rng)
        configuration = problem.configure(point)
        estimate = problem.estimates(configuration)[metric] * np.exp(NOISE * rng.normal())
        rungs = tuple(
            Rung(
                index,
                int(100 * share),
                {
                    metric: FACTOR * estimate * (share if metric == "train_seconds" else 1),
                    "accuracy": 0.5 + 0.01 * number,
                },
            )
            for index, share in enumerate(shares)
        )
        known = problem.known(configuration.architecture)
        trials.append(
            Trial(number, configuration, 0, point, known, state=State.COMPLETED, rungs=rungs)
        )
    return trials


def test_what_is_observed_is_the_factor_alone(problem):
    seen = of_cost(problem, history_of(problem, 6), "peak_memory_gib")
    assert seen.values == pytest.approx(np.full(6, np.log(FACTOR)), abs=4 * NOISE)


def test_costs_that_grow_with_the_steps_are_compared_at_their_share(problem):
    trials = history_of(problem, 4, metric="train_seconds", shares=(0.25, 1.0))
    seen = of_cost(problem, trials, "train_seconds")
    assert seen.values == pytest.approx(np.full(8, np.log(FACTOR)), abs=4 * NOISE)


def odds_of(problem, trials, configurations):
    memory = Memory()
    problem = memory.remembering(problem)
    view = memory.view(problem, trials)
    return make_odds(problem, trials, view, memory)(configurations)


def test_few_trials_tell_where_a_limit_on_memory_lies(problem):
    trials = history_of(problem, 3)
    others = [trial.configuration for trial in history_of(problem, 30, seed=1)]
    true = np.array([FACTOR * problem.estimates(each)["peak_memory_gib"] for each in others])
    bound = float(np.median(true))
    limited = replace(problem, constraints=(Constraint.parse(f"peak_memory_gib <= {bound:.9f}"),))
    far = np.abs(np.log(true / bound)) > 0.05
    assert far.sum() > 10
    held = np.exp(odds_of(limited, trials, others)) > 0.5
    assert (held == (true <= bound))[far].all()
    # A process without estimates cannot know it from three trials.
    blind = np.exp(odds_of(replace(limited, estimates=None), trials, others)) > 0.5
    assert not (blind == (true <= bound))[far].all()


def test_a_limit_from_below_turns_the_odds_around(problem):
    trials = history_of(problem, 3)
    small, large = sorted(
        (trial.configuration for trial in trials),
        key=lambda each: problem.estimates(each)["peak_memory_gib"],
    )[:: len(trials) - 1]
    between = FACTOR * np.sqrt(
        problem.estimates(small)["peak_memory_gib"] * problem.estimates(large)["peak_memory_gib"]
    )
    above = replace(problem, constraints=(Constraint.parse(f"peak_memory_gib >= {between:.9f}"),))
    low, high = odds_of(above, trials, [small, large])
    assert high > np.log(0.5) > low


def test_a_limit_that_no_cost_can_reach_is_left_to_the_ordinary_process(problem):
    limited = replace(problem, constraints=(Constraint.parse("peak_memory_gib >= 0"),))
    (limit,) = of_constraints(limited, history_of(problem, 4))
    assert limit.estimated is None


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_measured_cost_as_an_objective_starts_from_its_estimate(problem, scale):
    objectives = (
        Objective("accuracy", "maximize"),
        Objective("peak_memory_gib", "minimize", scale=scale),
    )
    problem = replace(problem, objectives=objectives)
    trials = history_of(problem, 5)
    others = [trial.configuration for trial in history_of(problem, 20, seed=1)]
    model = several_objectives.Model.of(problem, trials, others, Memory())
    scale_of = Scale.of(problem, trials, others)
    _, drawn = model.drawn(others, 64, [0])
    for i, each in enumerate(others):
        true = objectives[1].transform(FACTOR * problem.estimates(each)["peak_memory_gib"])
        expected = (true - scale_of.reference[1]) / scale_of.span[1]
        assert drawn.values[:, i].mean() == pytest.approx(
            expected, abs=0.05 * max(1, abs(expected))
        )


def test_a_search_with_two_measured_objectives_and_a_limit_is_deterministic(problem):
    problem = replace(
        problem,
        objectives=(
            Objective("accuracy", "maximize"),
            Objective("peak_memory_gib", "minimize", scale="log"),
        ),
        constraints=(Constraint.parse("step_ms <= 1e9"),),
    )
    trials = history_of(problem, 12)
    trials = [
        replace(t, rungs=(replace(t.rungs[0], metrics={**t.rungs[0].metrics, "step_ms": 5.0 + i}),))
        for i, t in enumerate(trials)
    ]
    sampler = ModelBasedSampler(initial=4, candidates=16)
    first = sampler.suggest(problem, trials, seed=3)
    assert first == ModelBasedSampler(initial=4, candidates=16).suggest(problem, trials, seed=3)
    assert first.why == "model-based"
    assert 0 <= first.gain <= 1


def test_a_measured_cost_alone_is_no_quality_and_starts_from_its_estimate(problem):
    memory = Objective("peak_memory_gib", "minimize")
    problem = replace(problem, objectives=(memory,), constraints=())
    assert not closed_form.applies(problem)
    assert closed_form.applies(replace(problem, estimates=None))
    history = history_of(problem, 8)
    found = ModelBasedSampler(initial=4).suggest(problem, history, seed=0)
    assert found.why == "model-based"
    wanted = problem.estimates(problem.configure(found.point))["peak_memory_gib"]
    offered = [problem.estimates(each.configuration)["peak_memory_gib"] for each in history]
    assert wanted <= min(offered)
