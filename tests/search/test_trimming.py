"""A model of a long study sees a part of it: the front, what runs, and an even rest."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import fake_problem, study_spec

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.results.front import best_baselines, front
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial
from autopeft.search.model.trimming import trimmed

SPEC = study_spec()
PROBLEM = fake_problem(SPEC)


@pytest.fixture(scope="module")
def history():
    rng, found = np.random.default_rng(0), []
    for number in range(3000):
        baseline, ill = number % 10 == 0, number % 50 == 1
        found.append(
            Trial(
                number=number,
                configuration=Configuration(
                    "house" if baseline else "lora", Architecture(), {"learning_rate": number}
                ),
                seed=0,
                point={},
                known={"adapter_params": int(rng.integers(1, 10**6))},
                baseline=baseline,
                state=State.FAILED if ill else State.COMPLETED,
                failure=Failure(FailureReason.NOT_FINITE, "nan") if ill else None,
                rungs=() if ill else (Rung(0, 1, {"accuracy": float(rng.random())}),),
            )
        )
    found[5] = replace(found[5], state=State.RUNNING, rungs=())
    return tuple(found)


def test_a_short_history_is_seen_whole(history):
    short = history[:1000]
    assert trimmed(PROBLEM, short) is short


def test_front_baselines_running_and_the_last_are_seen(history):
    seen = trimmed(PROBLEM, history, keep=[history[7]])
    numbers = {trial.number for trial in seen}
    assert {t.number for t in front(SPEC.objectives, (), history)} <= numbers
    assert {t.number for t in best_baselines(SPEC.objectives, history).values()} <= numbers
    assert {5, 7} <= numbers
    assert len(seen) <= 1000
    assert [t.number for t in seen] == sorted(numbers)
    assert any(t.failure for t in seen), "failures teach, too"


def test_the_choice_holds_until_two_hundred_and_fifty_more_have_come(history):
    before, after = trimmed(PROBLEM, history[:2500]), trimmed(PROBLEM, history[:2749])
    new = {t.number for t in after} - {t.number for t in before}
    assert new == set(range(2500, 2749))


def test_replicates_stay_together(history):
    again = replace(history[3], number=2999, seed=1)
    numbers = {t.number for t in trimmed(PROBLEM, (*history[:2999], again))}
    assert {3, 2999} <= numbers
