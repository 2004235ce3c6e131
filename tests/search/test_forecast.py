"""What paused trials promise, on a made-up landscape whose accuracy grows with training."""

from dataclasses import replace

import numpy as np
import pytest
from search.landscape import (
    ACCURACY,
    MEMORY,
    PARAMETERS,
    SECONDS,
    failed,
    make_problem,
    random_trials,
    told,
    with_estimates,
)

from autopeft.domain.pareto import hypervolume
from autopeft.domain.ports import Forecaster
from autopeft.domain.results.front import outcomes
from autopeft.domain.trial import State
from autopeft.search import make_sampler
from autopeft.search.gain.closed_form import Model
from autopeft.search.gain.forecast import _Forecast
from autopeft.search.model.memory import Memory
from autopeft.search.model.scale import Scale


def at_the_rung(problem, count, *, ended=(), seed=0):
    """Trials at a rung at a third of training; some went on to the end."""
    history = [told(trial, share=1 / 3) for trial in random_trials(problem, count, seed)]
    for i in ended:
        end = told(replace(history[i], rungs=()).promoted()).rungs[0]
        going = history[i].promoted()
        history[i] = going.advanced(replace(end, index=1), last=True)
    return history


def paused(history):
    return [trial for trial in history if trial.state is State.PAUSED]


def promised(problem, history, sampler=None):
    sampler = sampler or make_sampler("autopeft", {})
    found = sampler.promises(problem, history, paused(history))
    return dict(zip((trial.number for trial in paused(history)), found, strict=True))


def test_the_search_forecasts_one_quality_and_no_more():
    sampler = make_sampler("autopeft", {})
    assert isinstance(sampler, Forecaster)
    assert sampler.forecasts(make_problem())
    two = make_problem(objectives=[ACCURACY, SECONDS])
    assert not sampler.forecasts(two)  # without an estimate, time is another quality
    assert sampler.forecasts(with_estimates(two))
    assert not isinstance(make_sampler("random", {}), Forecaster)


@pytest.mark.parametrize("cost", [PARAMETERS, MEMORY])
def test_who_promises_most_adds_most_to_the_front(cost):
    problem = with_estimates(make_problem(objectives=[ACCURACY, cost]))
    history = at_the_rung(problem, 24, ended=range(6))
    promises = promised(problem, history)
    scores = outcomes(problem.objectives, history[:6])
    corner = np.minimum(scores.min(axis=0), [0.5, {PARAMETERS: -14.0, MEMORY: -2.0}[cost]]) - 0.1
    gains = {}
    for trial in paused(history):
        end = outcomes(problem.objectives, [told(replace(trial, rungs=()).promoted())])
        gains[trial.number] = hypervolume(np.vstack([scores, end]), corner)
    best = max(promises, key=promises.get)
    assert gains[best] >= sorted(gains.values())[-4]


def test_what_is_measured_of_a_cost_at_the_rung_counts_as_at_the_end():
    problem = with_estimates(make_problem(objectives=[ACCURACY, SECONDS]))
    promises = []
    for growing in (1.0, 3.0):  # seconds at the end, measured as a third of it at the rung

        def timed(trial, growing=growing):
            return tuple(
                replace(rung, metrics={**rung.metrics, "train_seconds": seconds})
                for rung in trial.rungs
                for seconds in [growing * rung.metrics["train_seconds"] * rung.step / 100]
            )

        history = at_the_rung(problem, 12, ended=range(4))
        history = [replace(trial, rungs=timed(trial)) for trial in history]
        promises.append(promised(problem, history))
    assert promises[0] == pytest.approx(promises[1])


def test_what_will_break_a_limit_promises_less_than_what_will_hold_it():
    problem = with_estimates(make_problem(constraints=["train_seconds <= 12"]))
    history = at_the_rung(problem, 14, ended=range(4))
    timed = [
        replace(t, rungs=tuple(
            replace(r, metrics={**r.metrics, "train_seconds": r.metrics["train_seconds"] * share})
            for r, share in zip(t.rungs, (1 / 3, 1), strict=False)
        ))
        for t in history
    ]  # fmt: skip
    ends = {t.number: told(replace(t, rungs=())).metrics["train_seconds"] for t in timed}
    promises = promised(problem, timed)
    holding = [number for number in promises if ends[number] < 12]
    breaking = [number for number in promises if ends[number] > 12]
    assert holding
    assert breaking
    assert min(promises[n] for n in holding) > max(promises[n] for n in breaking)


def test_an_own_result_above_what_its_kind_shows_promises_more():
    problem = make_problem()
    history = at_the_rung(problem, 16, ended=range(4))
    before = promised(problem, history)
    rung = history[9].rungs[0]
    better = replace(rung, metrics={**rung.metrics, "accuracy": rung.metrics["accuracy"] + 0.05})
    after = promised(problem, [*history[:9], replace(history[9], rungs=(better,)), *history[10:]])
    assert after[9] > before[9]


def test_a_promoted_trial_takes_the_gain_of_one_like_it():
    problem = make_problem()
    history = at_the_rung(problem, 16, ended=range(4))
    best = max(promised(problem, history), key=promised(problem, history).get)
    twin = replace(history[best], number=16)
    before = promised(problem, [*history, twin])
    going = [t.promoted() if t.number == best else t for t in (*history, twin)]
    assert promised(problem, going)[16] < before[16] - 0.5


def test_before_anything_ended_the_results_at_the_rung_decide():
    problem = make_problem(objectives=[ACCURACY])
    history = at_the_rung(problem, 8)
    promises = promised(problem, history)
    shown = {trial.number: trial.metrics["accuracy"] for trial in history}
    assert max(promises, key=promises.get) in sorted(shown, key=shown.get)[-2:]


def test_forecasts_are_the_same_with_an_empty_memory():
    problem, sampler = make_problem(), make_sampler("autopeft", {})
    for count in (8, 12, 16):
        history = at_the_rung(problem, count, ended=range(3))
        assert promised(problem, history, sampler) == promised(problem, history)


@pytest.mark.parametrize("rungs", [0, 1])
def test_a_failed_trial_is_left_out(rungs):
    problem = make_problem()
    history = at_the_rung(problem, 12, ended=range(3))
    lost = history[5] if rungs else replace(history[5], rungs=(), state=State.RUNNING)
    history[5] = failed(lost.promoted())
    assert np.isfinite(list(promised(problem, history).values())).all()


def test_ends_are_forecast_higher_where_what_ended_rose_after_the_rung():
    problem = make_problem()
    history = at_the_rung(problem, 20, ended=range(8))
    tried = [trial.configuration for trial in history]
    model = Model.of(problem, history, tried, Memory())
    forecast, scale = _Forecast.of(model, history), model.scale
    shift, _ = forecast.calibrated(history[:8], 0)
    assert shift > 0
    ends = [told(replace(t, rungs=()).promoted()).metrics["accuracy"] for t in paused(history)]
    ends = (np.array(ends) - scale.reference[0]) / scale.span[0]
    missed = ends - shift - forecast.mean(paused(history))
    assert abs(missed.mean()) < abs((missed + shift).mean())


def test_gains_are_counted_from_the_worst_that_was_told_not_from_the_worst_that_ended():
    problem = make_problem()
    history = at_the_rung(problem, 20)
    accuracies = [trial.metrics["accuracy"] for trial in history]
    best = int(np.argmax(accuracies))
    ended = at_the_rung(problem, 20, ended=[best])
    assert Scale.of(problem, ended, []).reference[0] == pytest.approx(min(accuracies))
    assert Scale.of(problem, ended, []).span[0] > 0.05
    failing = [failed(t) if t.number == int(np.argmin(accuracies)) else t for t in ended]
    assert Scale.of(problem, failing, []).reference[0] > min(accuracies)
