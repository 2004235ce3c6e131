"""What the budget still leaves to a search, less what its confirmation is going to take."""

from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.orchestrator.confirm_plan import reserved, spent
from autopeft.orchestrator.history import History


class Limits:
    """The budget of one study.

    Threads: the caller's lock is held.
    """

    def __init__(self, spec: StudySpec, history: History) -> None:
        self._spec = spec
        self._history = history
        self._of: tuple[Trial, ...] | None = None  # the trials that the rest follows from
        self._confirming = (0, 0)

    @property
    def out_of_trials(self) -> bool:
        limit = self._spec.budget.trials
        return limit is not None and len(self._history.searched) + sum(self._confirmation) >= limit

    def out_of_time(self, *, wall_seconds: float) -> bool:
        """wall_seconds: that the study has taken so far."""
        budget, resources = self._spec.budget, self._spec.resources
        if budget.gpu_hours is None and budget.wall_hours is None:
            return False
        full = [t.seconds for t in self._history.searched if t.state is State.COMPLETED]
        confirming = self._confirmation[0] * sum(full) / max(1, len(full))
        seconds = sum(trial.seconds for trial in self._history.all)
        by_device = (seconds + confirming) * resources.devices / 3600
        by_wall = (wall_seconds + confirming / self._spec.search.parallel) / 3600
        return (budget.gpu_hours is not None and by_device >= budget.gpu_hours) or (
            budget.wall_hours is not None and by_wall >= budget.wall_hours
        )

    @property
    def _confirmation(self) -> tuple[int, int]:
        """The trials that the file's confirmation still needs, and those that it has had."""
        if self._of is not self._history.all:
            self._of = self._history.all
            self._confirming = reserved(self._spec, self._of), spent(self._spec, self._of)
        return self._confirming
