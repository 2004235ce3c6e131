"""The next proposal of a study, made ready beside the loop.

A suggestion takes as long as a fit of the surrogate: whoever asks for a trial finds one ready or is
told that there is none yet.
"""

from collections.abc import Sequence

from autopeft.domain.ports import Problem, Sampler
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.orchestrator.proposal import Proposal, baseline_due, propose


class Proposer:
    """Proposals of one study, one after another.

    Threads: `prepare` is called by one thread at a time, the rest by any.
    trials: all of the search.

    Attributes:
        ready: what is to be tried next; None: nothing was prepared.
        exhausted: the search has nothing left to try.
    """

    def __init__(self, spec: StudySpec, problem: Problem, sampler: Sampler) -> None:
        self._spec = spec
        self._problem = problem
        self._sampler = sampler
        self._done_baselines: set[str] = set()
        self.ready: Proposal | None = None
        self.exhausted = False

    def baseline_due(self, trials: Sequence[Trial]) -> str | None:
        """The baseline whose turn it is; None: the search itself."""
        return baseline_due(self._spec, trials, exhausted=self._done_baselines)

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Have a proposal ready, or know that a baseline or the search has none left."""
        baseline = self.baseline_due(trials)
        self.ready = propose(
            self._problem,
            trials,
            sampler=self._sampler,
            baseline=baseline,
            seed=self._spec.search.seed,
            seeds=self._spec.search.seeds,
        )
        if self.ready is not None:
            return
        # Another baseline may be done; only an exhausted search ends the study.
        if baseline is None:
            self.exhausted = True
        else:
            self._done_baselines.add(baseline)

    def take(self) -> Proposal:
        """What is ready; it no longer is then."""
        assert self.ready is not None
        taken, self.ready = self.ready, None
        return taken
