"""What `status` and the end of a search say in sentences: failures, and what was saved."""

from collections.abc import Sequence

from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.views.standing import Standing, failures

_NAMED = 5  # trials of one reason that are named


def saved_line(spec: StudySpec, now: Standing) -> str:
    """`About 0.05 GPU hours saved by stopping 12 trials early.`; "" where none is known."""
    paused = sum(trial.state is State.PAUSED for trial in now.searched)
    if not now.saved or not paused:
        return ""
    hour = "GPU" if spec.resources.gpus_per_trial else "CPU"
    trials = f"{paused} trial{'' if paused == 1 else 's'}"
    return f"About {now.saved:.3g} {hour} hours saved by stopping {trials} early."


def failure_lines(spec: StudySpec, trials: Sequence[Trial]) -> list[str]:
    """`2 failed by out_of_memory (trials 4, 9): ...`, a line a reason, and where to see more."""
    lines = []
    last = None
    for reason, failed in failures(trials):
        numbers = [str(trial.number) for trial in failed]
        named = ", ".join(numbers[:_NAMED]) + (", ..." if len(numbers) > _NAMED else "")
        last = failed[-1]
        assert last.failure is not None
        said = next(iter(last.failure.message.splitlines()), "")
        plural = "s" if len(failed) > 1 else ""
        lines.append(f"{len(failed)} failed by {reason} (trial{plural} {named}): {said}")
    if last is not None:
        lines.append(f"More of a failure: autopeft show {spec.name} {last.number}")
    return lines
