"""When every trial fails alike, the study gives up early; one result, and it never does."""

import pytest

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial
from autopeft.orchestrator.giving_up import hopeless


def failed(reason, message, number=0, created=0.0):
    trial = Trial(number, Configuration("b", Architecture(), {}), 0, {}, {}, created=created)
    return trial.failed(Failure(FailureReason(reason), message))


def trials(reason, messages):
    return [failed(reason, message, i) for i, message in enumerate(messages)]


@pytest.mark.parametrize(
    ("reason", "messages", "over"),
    [
        ("error", ["KeyError: 'r' (train.py:3)"] * 3, True),
        ("error", ["KeyError: 'r' (train.py:3)"] * 2, False),
        ("error", ["a", "b", "c", "d"], False),
        ("error", ["a", "b", "c", "d", "e"], True),
        ("not_finite", ["metric rouge needs a finite value, got nan"] * 5, True),
        ("not_finite", ["metric rouge needs a finite value, got nan"] * 4, False),
        ("not_finite", [f"the training loss is nan at step {i}" for i in range(9)], False),
        ("out_of_memory", ["MemoryError"] * 9, False),
        ("unfit", ["no"] * 9, False),
        ("error", [], False),
    ],
)
def test_it_gives_up_where_the_configurations_are_not_to_blame(reason, messages, over):
    given_up = hopeless(trials(reason, messages), since=0.0)
    assert (given_up is not None) == over


def test_trials_that_still_run_say_nothing_and_one_result_is_enough_to_go_on():
    running = Trial(9, Configuration("b", Architecture(), {}), 0, {}, {})
    alike = trials("error", ["a"] * 3)
    assert hopeless([*alike, running], since=0.0) is not None
    assert hopeless([*alike, running.advanced(Rung(0, 1, {}), last=False)], since=0.0) is None
    assert running.state is State.RUNNING


def test_failures_of_an_earlier_driver_do_not_count():
    before = [failed("error", "a", i, created=1.0) for i in range(3)]
    assert hopeless(before, since=2.0) is None
    after = [failed("error", "a", i, created=3.0) for i in range(3, 6)]
    assert hopeless([*before, *after], since=2.0) is not None
