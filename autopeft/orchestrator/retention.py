"""What a study keeps on disk.

Adapters of the front and of every baseline's best trial are kept; other adapters are deleted as
soon as the front moves on. Of a configuration with several seeds that is the first one's adapter.
What the search found stays when a confirmation says that it does not hold, so that one can look.
While more seeds may come, a mean may fall, and what it hid is on the front: until the study is
finished, then, only what a configuration hides whose seeds are all told is deleted. So may a limit
that follows a baseline move: what would be on the front under any limit stays as long.

Checkpoints of a trial are deleted when it ends, those of paused trials when the study is finished:
a later promotion then trains again from the start, to the same bits.
"""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np

from autopeft.domain.pareto import non_dominated
from autopeft.domain.results.front import best_baselines, feasible, front, outcomes
from autopeft.domain.results.replicates import averaged, grouped, searched
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
    if follows_a_baseline(spec) and not finished:
        kept |= _under_any_limit(spec, trials)
    return frozenset(kept)


def follows_a_baseline(spec: StudySpec) -> bool:
    return any(constraint.baseline is not None for constraint in spec.constraints)


def _under_any_limit(spec: StudySpec, trials: Sequence[Trial]) -> set[int]:
    """The completed configurations that none is better than and as far inside moving limits."""
    moving = [c for c in spec.constraints if c.baseline is not None]
    fixed = [c for c in spec.constraints if c.baseline is None]
    trials = searched(trials)
    done = feasible(fixed, spec.objectives, trials, averaged(trials))
    if not done:
        return set()
    inside = [[c.inside(trial.metrics) for c in moving] for trial in done]
    on = non_dominated(np.hstack([outcomes(spec.objectives, done), np.array(inside)]))
    return {trial.number for trial, stays in zip(done, on, strict=True) if stays}


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


def tidy(spec: StudySpec, trials: Sequence[Trial], folder: Path, *, finished: bool) -> None:
    """Delete what the rule above does not keep from the study's folder."""
    kept, left = kept_adapters(spec, trials, finished=finished), StudyFolder(folder)
    ended = (State.COMPLETED, State.FAILED)
    for trial in trials:
        if trial.number not in kept and trial.state in ended:
            shutil.rmtree(left.adapter(trial.number), ignore_errors=True)
        if trial.state in ended or (finished and trial.state is State.PAUSED):
            shutil.rmtree(left.checkpoints(trial.number), ignore_errors=True)


def needless(
    spec: StudySpec, trials: Sequence[Trial], keys: Iterable[str], *, finished: bool
) -> list[str]:
    """What the rule above does not keep of artifacts by their keys (`autopeft.artifacts`).

    Of a trial that goes on, too, the checkpoints before the one that it starts from. A trial that
    the store does not know is left alone.
    """
    kept, known = kept_adapters(spec, trials, finished=finished), {t.number: t for t in trials}
    return [key for key in sorted(keys) if not _needed(key, kept, known, finished=finished)]


_ADAPTER, _CHECKPOINT = r".*/adapters/trial-(\d+)", r".*/checkpoints/trial-(\d+)/rung-(\d+)"


def _needed(key: str, kept: Set[int], known: Mapping[int, Trial], *, finished: bool) -> bool:
    ended = (State.COMPLETED, State.FAILED)
    if found := re.fullmatch(_ADAPTER, key):
        trial = known.get(int(found[1]))
        return trial is None or trial.state not in ended or trial.number in kept
    if found := re.fullmatch(_CHECKPOINT, key):
        trial = known.get(int(found[1]))
        if trial is None:
            return True
        over = trial.state in ended or (finished and trial.state is State.PAUSED)
        return not over and int(found[2]) >= trial.next_rung - 1
    return True
