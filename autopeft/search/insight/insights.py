"""What the surrogate says of a study to people: what mattered, and the random level."""

from collections.abc import Sequence
from dataclasses import replace

from autopeft.domain.ports import Problem
from autopeft.domain.results.insight import Insight
from autopeft.domain.trial import Trial
from autopeft.search.model.memory import Memory
from autopeft.search.model.threads import on_one_thread


class Insights:
    """Answers for one problem; keeps what it fitted, so that a growing study is cheap to ask.

    Earlier studies that a search started from are left out: this is what its own trials say.
    """

    def __init__(self, problem: Problem) -> None:
        searched = [branch.name for branch in problem.space.searched]
        self._problem = replace(problem, space=problem.space.only(*searched))
        self._memory = Memory()

    def __call__(self, trials: Sequence[Trial]) -> Insight:
        """Threads: one at a time."""
        from autopeft.search.insight.chance import chance_level
        from autopeft.search.insight.effects import effects_of

        with on_one_thread():
            return Insight(
                effects_of(self._problem, trials, self._memory),
                chance_level(self._problem, trials, self._memory),
            )
