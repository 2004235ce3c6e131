"""Hours that early stopping saved, by the trials that went through all rungs."""

from fakes import study_spec

from autopeft.domain.architecture import Architecture, Configuration
from autopeft.domain.budget.savings import saved_hours
from autopeft.domain.study import Rungs
from autopeft.domain.trial import Rung, State, Trial

SPEC = study_spec(rungs=Rungs("epochs", (1.0, 3.0)))


def trial(number, *seconds, state):
    configuration = Configuration("b", Architecture(), {"learning_rate": number})
    rungs = tuple(Rung(i, i, {}, seconds=s) for i, s in enumerate(seconds))
    return Trial(number, configuration, 0, {}, {}, state=state, rungs=rungs)


def test_a_paused_trial_saves_what_the_others_took_from_there_on():
    trials = [
        trial(0, 100, 200, 600, state=State.COMPLETED),  # 9 times the first rung, 3 the second
        trial(1, 100, 200, 600, state=State.COMPLETED),
        trial(2, 50, state=State.PAUSED),  # saves 8 * 50
        trial(3, 100, 80, state=State.PAUSED),  # saves 2 * 180
        trial(4, 1000, state=State.FAILED),
        trial(5, 1000, state=State.RUNNING),
    ]
    assert saved_hours(SPEC, trials) == (400 + 360) / 3600


def test_nothing_is_said_before_somebody_went_through_the_rungs():
    assert saved_hours(SPEC, [trial(0, 100, state=State.PAUSED)]) is None
    assert saved_hours(study_spec(), [trial(0, 100, state=State.COMPLETED)]) is None


def test_a_study_where_nobody_paused_has_saved_nothing():
    assert saved_hours(SPEC, [trial(0, 1, 2, 3, state=State.COMPLETED)]) == 0.0
