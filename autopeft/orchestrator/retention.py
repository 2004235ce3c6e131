"""What a study keeps on disk.

Adapters of the front and of every baseline's best trial are kept; other adapters are deleted as
soon as the front moves on. Checkpoints of a trial are deleted when it ends, those of paused trials
when the study is finished: a later promotion then trains again from the start, to the same bits.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from autopeft.domain.front import baseline_metrics, completed, front
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial


def kept_adapters(spec: StudySpec, trials: Sequence[Trial]) -> frozenset[int]:
    """The numbers of the trials whose adapters stay."""
    best = baseline_metrics(spec.objectives, trials)
    baselines = {
        t.number
        for t in completed(trials)
        if t.baseline and t.metrics == best.get(t.configuration.branch)
    }
    return frozenset(
        {t.number for t in front(spec.objectives, spec.constraints, trials)} | baselines
    )


def tidy(spec: StudySpec, trials: Sequence[Trial], folder: Path, *, finished: bool) -> None:
    """Delete what the rule above does not keep from the study's folder."""
    kept = kept_adapters(spec, trials)
    ended = (State.COMPLETED, State.FAILED)
    for trial in trials:
        name = f"trial-{trial.number}"
        if trial.number not in kept and trial.state in ended:
            shutil.rmtree(folder / "adapters" / name, ignore_errors=True)
        if trial.state in ended or (finished and trial.state is State.PAUSED):
            shutil.rmtree(folder / "checkpoints" / name, ignore_errors=True)
