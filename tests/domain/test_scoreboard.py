"""A scoreboard says of a growing study what the definitions say of all its trials."""

from dataclasses import replace

import pytest
from fakes import study_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.objective import Constraint
from autopeft.domain.results.scoreboard import Scoreboard, leading
from autopeft.domain.trial import Failure, FailureReason, Rung, State, Trial

SPEC = study_spec()
CONSTRAINTS = {
    "none": (),
    "a number": (Constraint.parse("seconds <= 4"),),
    "a baseline": (Constraint.parse("accuracy >= baselines.house.accuracy - 0.1"),),
    "a baseline's cost": (Constraint.parse("seconds <= 0.5 * baselines.house.seconds + 2"),),
}


@st.composite
def trials(draw):
    """Few values, so that configurations come again and outcomes are equal."""
    number = draw(st.integers(0, 30))
    baseline = draw(st.booleans())
    branch = draw(st.sampled_from(["house", "other"] if baseline else ["lora"]))
    rate = draw(st.integers(1, 9))
    metrics = {"accuracy": draw(st.integers(0, 6)) / 6, "seconds": float(draw(st.integers(0, 6)))}
    state = draw(st.sampled_from([State.COMPLETED] * 4 + [State.RUNNING, State.FAILED]))
    failed = Failure(FailureReason.NOT_FINITE, "nan") if state is State.FAILED else None
    return Trial(
        number=number,
        configuration=Configuration(branch, Architecture(), {"learning_rate": rate, "b": branch}),
        seed=number,
        point={},
        known={"adapter_params": 10 * rate},
        baseline=baseline,
        state=state,
        failure=failed,
        rungs=(Rung(0, 1, metrics),) if state is State.COMPLETED else (),
    )


@pytest.mark.parametrize("constraints", CONSTRAINTS.values(), ids=CONSTRAINTS)
@settings(max_examples=150, deadline=None)
@given(
    given=st.lists(trials(), max_size=14, unique_by=lambda trial: trial.number), fresh=st.booleans()
)
def test_it_says_what_the_definitions_say_after_every_trial(given, fresh, constraints):
    board, there = Scoreboard(SPEC.objectives, constraints), {}
    if fresh and given:
        given = [*given, replace(given[0], number=40, seed=1000, confirms=given[0].number)]
    for trial in given:
        for step in (replace(trial, state=State.RUNNING, rungs=(), failure=None), trial):
            board.put(step)
            there[step.number] = step
            ordered = tuple(there[number] for number in sorted(there))
            found = board.leading(ordered)
            assert found == leading(SPEC.objectives, constraints, ordered)


def test_it_grows_beyond_its_first_rows():
    board, there = Scoreboard(SPEC.objectives, ()), []
    for number in range(200):
        there.append(
            Trial(
                number=number,
                configuration=Configuration("lora", Architecture(), {"learning_rate": number}),
                seed=0,
                point={},
                known={"adapter_params": 1 + number * 37 % 101},
                state=State.COMPLETED,
                rungs=(Rung(0, 1, {"accuracy": number * 53 % 97 / 97}),),
            )
        )
        board.put(there[-1])
    assert board.leading(there) == leading(SPEC.objectives, (), there)
