"""The front, its hypervolume and the pick."""

import re
from dataclasses import replace

import pytest
from fakes import study_spec

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.errors import AutopeftError
from autopeft.domain.objective import Constraint
from autopeft.domain.results.front import front, normalised_hypervolume
from autopeft.domain.results.pick import parse_when, pick
from autopeft.domain.trial import Rung, State, Trial

SPEC = study_spec()


def trial(number, accuracy, params, *, baseline=False, state=State.COMPLETED):
    configuration = Configuration("b", Architecture(), {"learning_rate": number})
    return Trial(
        number=number,
        configuration=configuration,
        seed=0,
        point={},
        known={"adapter_params": params, "trainable_params": params + 10},
        baseline=baseline,
        state=state,
        rungs=(Rung(0, 1, {"accuracy": accuracy}),),
    )


TRIALS = (
    trial(0, 0.70, 1000, baseline=True),
    trial(1, 0.80, 1000),
    trial(2, 0.85, 8000),
    trial(3, 0.60, 100),
    trial(4, 0.79, 2000),
    trial(5, 0.99, 10, state=State.PAUSED),
)


def numbers(trials):
    return [t.number for t in trials]


def test_the_front_holds_what_nothing_dominates_best_first():
    assert numbers(front(SPEC.objectives, (), TRIALS)) == [2, 1, 3]


def test_a_constraint_may_follow_a_baseline():
    limit = Constraint.parse("accuracy >= baselines.b.accuracy - 0.01")
    assert numbers(front(SPEC.objectives, (limit,), TRIALS)) == [2, 1]


def test_hypervolume_lies_between_0_and_1_and_grows_with_the_front():
    few = normalised_hypervolume(SPEC.objectives, (), TRIALS[:2])
    assert 0 <= few <= 1
    whole = normalised_hypervolume(SPEC.objectives, (), TRIALS)
    less = normalised_hypervolume(SPEC.objectives, (), (*TRIALS[:1], *TRIALS[2:]))
    assert 0 < less < whole <= 1


def test_a_limit_cuts_before_the_choice():
    chosen = pick(
        SPEC.objectives, (), TRIALS, when=parse_when("trainable_params <= 1500"), prefer="accuracy"
    )
    assert chosen.trial.number == 1
    assert "trainable_params <= 1500" in chosen.reason


def test_the_reason_names_the_price_of_the_next_better_trial():
    chosen = pick(SPEC.objectives, (), TRIALS, prefer="adapter_params")
    assert chosen.trial.number == 3
    assert "lowest adapter_params" in chosen.reason
    assert "20 points more accuracy would cost 900 adapter_params (trial 1)." in chosen.reason


def test_a_limit_that_nothing_holds_says_what_there_is():
    with pytest.raises(AutopeftError, match="accuracy runs from 0.6 to 0.85"):
        pick(SPEC.objectives, (), TRIALS, when=parse_when("accuracy >= 0.95"))


def test_an_unknown_metric_to_prefer_is_named():
    with pytest.raises(
        AutopeftError, match="--prefer takes what this study measured, got acuracy: did you mean"
    ):
        pick(SPEC.objectives, (), TRIALS, prefer="acuracy")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("adapter_param <= 3000", "got adapter_param: did you mean adapter_params?"),
        ("nope <= 3", "got nope: it has accuracy, adapter_params"),
        ("accuracy >= baselines.nope.accuracy", "got baselines.nope.accuracy: "),
    ],
)
def test_a_limit_on_what_nobody_measured_is_refused(limit, said):
    with pytest.raises(AutopeftError, match=re.escape(said)):
        pick(SPEC.objectives, (), TRIALS, when=parse_when(limit))


def test_who_lacks_the_metric_of_a_limit_does_not_hold_it():
    first = TRIALS[0]
    rung = replace(first.rungs[-1], metrics={**first.rungs[-1].metrics, "inference_ms": 3.0})
    measured = [replace(first, rungs=(*first.rungs[:-1], rung)), *TRIALS[1:]]
    chosen = pick(SPEC.objectives, (), measured, when=parse_when("inference_ms <= 5"))
    assert chosen.trial.number == first.number


def test_a_limit_that_is_none_is_refused():
    with pytest.raises(AutopeftError, match="a constraint reads"):
        parse_when("accuracy is good")
