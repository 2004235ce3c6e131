"""How far a study is, as values."""

from dataclasses import replace

from explored import explored_spec, explored_trials

from autopeft.domain.results.front import front
from autopeft.domain.trial import State
from autopeft.views.standing import standing

SPEC = explored_spec()
TRIALS = explored_trials()


def test_what_a_confirmation_passed_over_is_drawn_by_its_mean_not_by_its_lucky_run():
    """`status` drew its search's run, above all of the front."""
    members = front(SPEC.objectives, SPEC.constraints, TRIALS)

    def again(first, number, accuracy):
        rung = first.rungs[-1]
        told = replace(rung, metrics={**rung.metrics, "accuracy": accuracy}, ended=1e7)
        return replace(first, number=number, seed=1000, confirms=first.number, rungs=(told,))

    lucky, honest = members[0], members[-1]
    trials = [*TRIALS, again(lucky, 64, 0.1), again(honest, 65, 0.5)]
    now = standing(SPEC, trials, None)
    (row,) = [trial for trial in (*now.behind, *now.members) if trial.number == lucky.number]
    assert row.metrics["accuracy"] == 0.1
    assert all(trial.state is State.COMPLETED for trial in now.behind)
