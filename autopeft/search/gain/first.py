"""The first trials after earlier studies, before anything is known of this one."""

from collections.abc import Callable, Sequence

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.objective import Objective
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Trial
from autopeft.search.gain.box_gain import Boxes, exactly, normally
from autopeft.search.gain.odds import make_odds
from autopeft.search.gain.staircase import LEAST
from autopeft.search.model.costs import quality
from autopeft.search.model.encoding import Array
from autopeft.search.model.memory import Memory

_DOUBT = 0.1  # deviation of what earlier studies expect, of their outcomes' spread
_MARGIN = 0.1  # of the range of a cost


def make_score(
    problem: Problem,
    history: Sequence[Trial],
    candidates: Sequence[Configuration],
    memory: Memory,
) -> Callable[[Sequence[Configuration]], Array]:
    """(n,) log of the gain that earlier studies expect.

    Each trial of the history is believed to be what they expect of it, so the next is another
    step of the front that they predict. Costs are known or what a formula says. candidates:
    examples of what will be scored, for the scale.
    """
    view = memory.view(problem, history)
    about = quality(problem)
    tried = [trial.configuration for trial in history]
    costs = [
        _cost(problem, objective, [*candidates, *tried])
        for j, objective in enumerate(problem.objectives)
        if j != about
    ]

    def expected(configurations: Sequence[Configuration]) -> Array:
        told = view.rows(configurations).earlier
        assert told is not None
        return np.asarray(told.mean(axis=1))

    usual = float(np.median(expected(candidates)))
    own = {branch.name for branch in problem.space.branches}
    before = [configuration for configuration in tried if configuration.branch in own]
    reached = [expected(before) - usual, *(cost(before) for cost in costs)]
    front = Boxes.above(np.column_stack(reached))
    odds = make_odds(problem, history, view, memory)

    def score(configurations: Sequence[Configuration]) -> Array:
        mean = expected(configurations) - usual
        hoped = normally(mean, np.full(len(mean), _DOUBT))
        gain = front.gain([hoped, *(exactly(cost(configurations)) for cost in costs)], 0)
        return np.asarray(np.log(np.maximum(gain, LEAST)) + odds(configurations))

    return score


def _cost(
    problem: Problem, objective: Objective, examples: Sequence[Configuration]
) -> Callable[[Sequence[Configuration]], Array]:
    """-> (n,) scores: 1 at the cheapest of the examples, a little above 0 at the dearest.

    A known cost is counted from its reference, where it has one; the level of an estimate is not
    that of what is measured.
    """

    def told(configurations: Sequence[Configuration]) -> Array:
        if objective.known:
            metrics = [problem.known(each.architecture) for each in configurations]
        else:
            assert problem.estimates is not None
            metrics = [problem.estimates(each) for each in configurations]
        return np.array([objective.score(each) for each in metrics])

    scores = told(examples)
    wide = float(np.ptp(scores)) or 1.0
    low = float(scores.min()) - _MARGIN * wide
    if objective.known and objective.reference is not None:
        low = objective.transform(objective.reference)
    span = max(float(scores.max()) - low, _MARGIN * wide)
    return lambda configurations: (told(configurations) - low) / span
