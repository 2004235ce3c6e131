"""What the model believes of the trials that were told: luck taken off.

The best of many noisy values flatters. The mean of the process at a trial draws its value towards
those of trials like it, by as much as the noise asks for.
"""

from collections.abc import Sequence
from dataclasses import replace

from autopeft.domain.errors import AutopeftError
from autopeft.domain.ports import Problem
from autopeft.domain.results.replicates import averaged
from autopeft.domain.trial import Trial
from autopeft.search.gain import closed_form
from autopeft.search.model.memory import Memory
from autopeft.search.model.trimming import trimmed

_FEWEST_RESULTS = 3  # below it a model says nothing


def modelled(problem: Problem, history: Sequence[Trial]) -> list[Trial]:
    """Every completed configuration once, the model's mean in place of the measured objective.

    Below the reference of the hypervolume, and with too few results, it is what was measured.

    Raises:
        AutopeftError: more than one measured objective, more than one known, or a measured cost.
    """
    if not closed_form.applies(problem):
        names = ", ".join(objective.metric for objective in problem.objectives)
        raise AutopeftError(
            "the model takes luck off one measured quality, alone or beside one known cost, got "
            f"{names}: look at the front as measured"
        )
    done = averaged(history)
    if len(done) < _FEWEST_RESULTS:
        return done
    memory = Memory()
    problem = memory.remembering(problem)
    model = closed_form.Model.of(
        problem, trimmed(problem, history), [trial.configuration for trial in done], memory
    )
    objective = problem.objectives[model.measured]
    mean, _ = model.surrogate.predict(model.view.rows([trial.configuration for trial in done]))
    found = []
    for trial, value in zip(done, mean, strict=True):
        if value >= 0:
            score = model.scale.reference[model.measured] + value * model.scale.span[model.measured]
            rung = trial.rungs[-1]
            metrics = {**rung.metrics, objective.metric: objective.value(float(score))}
            trial = replace(trial, rungs=(*trial.rungs[:-1], replace(rung, metrics=metrics)))
        found.append(trial)
    return found
