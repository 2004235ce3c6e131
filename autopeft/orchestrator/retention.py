"""What a study keeps on disk.

Adapters of the front and of every baseline's best trial are kept; other adapters are deleted as
soon as the front moves on. Of a configuration with several seeds that is the first one's adapter.
What the search found stays when a confirmation says that it does not hold, so that one can look.
While more seeds may come, a mean may fall, and what it hid is on the front: until the study is
finished, then, only what a configuration hides whose seeds are all told is deleted.

Checkpoints of a trial are deleted when it ends, those of paused trials when the study is finished:
a later promotion then trains again from the start, to the same bits.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autopeft.domain.front import best_baselines, feasible, front, outcomes
from autopeft.domain.replicates import averaged, grouped, searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.home import StudyFolder


def kept_adapters(
    spec: StudySpec, trials: Sequence[Trial], *, finished: bool = True
) -> frozenset[int]:
    """The numbers of the trials whose adapters stay."""
    kept = set()
    for told in (searched(trials), trials):
        kept |= {t.number for t in front(spec.objectives, spec.constraints, told)}
        kept |= {t.number for t in best_baselines(spec.objectives, told).values()}
    if spec.search.seeds > 1 and not finished:
        kept |= _may_return(spec, trials)
    return frozenset(kept)


def _may_return(spec: StudySpec, trials: Sequence[Trial]) -> set[int]:
    """The completed configurations that no mean hides for good, and all baselines."""
    trials = searched(trials)
    done = averaged(trials)
    told = {
        group[0].configuration.key
        for group in grouped(t for t in trials if t.state is not State.RUNNING)
        if len(group) >= spec.search.seeds
    }
    settled = [trial for trial in done if trial.configuration.key in told]
    above = outcomes(spec.objectives, feasible(spec.constraints, spec.objectives, trials, settled))
    return {
        trial.number
        for trial, y in zip(done, outcomes(spec.objectives, done), strict=True)
        if trial.baseline or not np.any(np.all(above >= y, axis=1) & np.any(above > y, axis=1))
    }


class Housekeeper:
    """Deletes while a study goes on, looking at no more than what its last trial changed.

    kept: `kept_adapters` of the trials that there are.
    """

    def __init__(self, spec: StudySpec, folder: Path, trials: Sequence[Trial]) -> None:
        self._left = StudyFolder(folder)
        self._kept = kept_adapters(spec, trials, finished=False)
        tidy(spec, trials, folder, finished=False)

    def heard(self, trial: Trial, kept: frozenset[int]) -> None:
        """A trial was told."""
        ended = trial.state in (State.COMPLETED, State.FAILED)
        for number in (self._kept - kept) | ({trial.number} - kept if ended else set()):
            shutil.rmtree(self._left.adapter(number), ignore_errors=True)
        if ended:
            shutil.rmtree(self._left.checkpoints(trial.number), ignore_errors=True)
        self._kept = kept


def tidy(spec: StudySpec, trials: Sequence[Trial], folder: Path, *, finished: bool) -> None:
    """Delete what the rule above does not keep from the study's folder."""
    kept, left = kept_adapters(spec, trials, finished=finished), StudyFolder(folder)
    ended = (State.COMPLETED, State.FAILED)
    for trial in trials:
        if trial.number not in kept and trial.state in ended:
            shutil.rmtree(left.adapter(trial.number), ignore_errors=True)
        if trial.state in ended or (finished and trial.state is State.PAUSED):
            shutil.rmtree(left.checkpoints(trial.number), ignore_errors=True)
