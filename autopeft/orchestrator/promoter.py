"""Who decides which paused trial goes on: the rule of `promotion`, and the sampler's forecasts.

A forecast takes as long as a fit of the surrogate, so it is made beside the loop, once for every
set of results, and kept: whoever asks finds the decision ready or is told that there is none yet.
A decision follows from the trials alone, so a study that is resumed decides as it would have.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from autopeft.domain.ports import Forecaster, Problem, Sampler
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.orchestrator.promotion import contenders, promotable


class Promoter:
    """Promotions of one study.

    Threads: `decide` is called by one thread at a time, the rest by any.
    trials: all of the study. closing: no new trial will come.
    """

    def __init__(self, spec: StudySpec, problem: Problem, sampler: Sampler) -> None:
        self._spec = spec
        self._problem = problem
        self._forecaster: Forecaster | None = None
        if isinstance(sampler, Forecaster) and sampler.forecasts(problem):
            self._forecaster = sampler
        self._decision: tuple[Hashable, int] = (None, -1)  # what it follows from, a trial's number
        self._found: tuple[Sequence[Trial], bool, list[Trial]] = ((), False, [])  # the last answer

    def contenders(self, trials: Sequence[Trial], *, closing: bool) -> list[Trial]:
        """The paused trials of which one is to go on; one alone where results decide.

        Replicates pause nowhere, and neither take places at a rung nor make them.
        """
        rungs = self._spec.search.rungs
        if rungs is None:
            return []
        of, when, found = self._found  # a driver asks several times between two results
        if of is trials and when is closing:
            return found
        given, trials = trials, [t for t in trials if t.seed == self._spec.search.seed]
        rule: dict[str, Any] = {
            "objectives": self._spec.objectives,
            "constraints": self._spec.constraints,
            "eta": rungs.eta,
            "closing": closing,
        }
        if self._forecaster is not None:
            found = contenders(trials, **rule)
        else:
            best = promotable(trials, **rule)
            found = [] if best is None else [best]
        self._found = given, closing, found
        return found

    def chosen(self, trials: Sequence[Trial], *, closing: bool) -> Trial | None:
        """The trial that goes on; None where none does, or `decide` has to say which."""
        found = self.contenders(trials, closing=closing)
        if len(found) < 2:
            return found[0] if found else None
        told, number = self._decision
        if told != (closing, _told(trials)):
            return None
        return next((t for t in found if t.number == number), None)

    def undecided(self, trials: Sequence[Trial], *, closing: bool) -> bool:
        """Whether `decide` has to say which trial goes on."""
        return (
            self._forecaster is not None
            and len(self.contenders(trials, closing=closing)) > 1
            and self._decision[0] != (closing, _told(trials))
        )

    def decide(self, trials: Sequence[Trial], *, closing: bool) -> None:
        """Forecast the contenders and keep who promises most."""
        found = self.contenders(trials, closing=closing)
        assert self._forecaster is not None
        names = [branch.name for branch in self._problem.space.searched]
        problem = replace(self._problem, space=self._problem.space.only(*names))
        promises = self._forecaster.promises(problem, trials, found)
        best = max(range(len(found)), key=lambda i: promises[i])
        self._decision = (closing, _told(trials)), found[best].number


def _told(trials: Sequence[Trial]) -> Hashable:
    """All that a decision follows from: results, and who went on or failed."""
    return tuple((t.number, len(t.rungs), t.state) for t in trials if t.rungs or t.failure)
