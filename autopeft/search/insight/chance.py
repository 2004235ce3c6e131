"""The random level: the hypervolume that a random search of the same length would have reached.

Nobody ran it, so the surrogate tells: configurations drawn from the space as random search draws
them, their outcomes drawn from the joint posterior with the noise of a trial (a lucky result counts
in the search's own curve, too), thinned by the chance to fail or to break a constraint. Baselines
stand where they stood. Shuffling the search's own trials would not do: they are no random draw from
the space, and their mean order says how fast *good* trials were found, not how good chance is.

S: draws; n: trials that have ended.
"""

from collections.abc import Sequence

import numpy as np

from autopeft.domain.ports import Problem
from autopeft.domain.results.front import feasible, outcomes
from autopeft.domain.results.insight import Level
from autopeft.domain.results.progress import Axes, ended, volumes_of
from autopeft.domain.results.replicates import averaged
from autopeft.domain.trial import Trial
from autopeft.search.gain import closed_form
from autopeft.search.gain.odds import make_odds
from autopeft.search.model.encoding import Array
from autopeft.search.model.memory import Memory
from autopeft.search.model.trimming import trimmed
from autopeft.search.points.drawing import draw_new

_DRAWS = 32  # S
_LONGEST = 256  # trials; the level is told no further
_FEWEST_TRIALS = 6


def chance_level(problem: Problem, history: Sequence[Trial], memory: Memory) -> Level:
    """The random level, or why there is none.

    problem: the branches to search. memory: what is fitted is kept there.
    """
    done = averaged(history)
    if not closed_form.applies(problem):
        return Level(silent="the model tells it for one measured quality, beside one known cost")
    if len(done) < _FEWEST_TRIALS:
        return Level(silent=f"the model needs {_FEWEST_TRIALS} completed, got {len(done)}")
    problem = memory.remembering(problem)
    told = ended(history)[:_LONGEST]
    wanted = sum(not trial.baseline for trial in told)
    rng = np.random.default_rng(0)
    drawn = draw_new(problem, set(), rng, count=wanted, tries=20 * wanted)
    configurations = [configuration for _, configuration in drawn]
    seen = trimmed(problem, history)
    model = closed_form.Model.of(problem, seen, configurations, memory)
    if model.left_out_error >= 1:
        return Level(silent="the model predicts trials no better than their mean does")
    odds = make_odds(problem, seen, model.view, memory)
    rows = model.view.rows(configurations)
    values = model.surrogate.draws(rows, _DRAWS, rng).values
    values = values + model.deviation * rng.standard_normal(values.shape)
    kept = np.log(rng.random(values.shape)) < odds(configurations)
    axes = Axes.of(problem.objectives, done)
    known = model.scale.known(problem, configurations)
    own: dict[int, Array | None] = dict.fromkeys(trial.number for trial in told)
    for trial in feasible(problem.constraints, problem.objectives, history, done):
        if trial.baseline:
            own[trial.number] = axes.place(outcomes(problem.objectives, [trial]))[0]
    # The posterior is normal and does not know that a metric has a best value.
    highest = [objective.highest for objective in problem.objectives]
    curves = []
    for s in range(_DRAWS):
        order = rng.permutation(len(configurations))
        scores = known.copy()
        scores[:, model.measured] = values[s]
        scores = model.scale.reference + model.scale.span * scores
        placed = axes.place(np.minimum(scores, highest))
        luck = iter([placed[i] if kept[s, i] else None for i in order])
        steps = [own[t.number] if t.baseline else next(luck, None) for t in told]
        curves.append(volumes_of(steps, len(problem.objectives)))
    curve = np.array(curves)
    low, high = np.quantile(curve, (0.1, 0.9), axis=0)
    searched = [t.seconds for t in done if not t.baseline]
    return Level(
        at=tuple(range(1, len(told) + 1)),
        mean=tuple(curve.mean(axis=0).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        seconds=float(np.mean(searched)) if searched else 0.0,
    )
