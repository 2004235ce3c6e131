"""A confirmation by ask and tell.

    begin(...)                   # every run of it is planned in the store, at once
    ConfirmSession(spec, ...)    # hands them out, as a search does its trials

Because the plan is in the store, a confirmation that was killed goes on with the runs that are
left, and a search that goes on meanwhile changes nothing of it.
"""

from autopeft.domain.ports import Store
from autopeft.domain.results.replicates import fresh
from autopeft.domain.study import Confirm, StudySpec
from autopeft.domain.trial import Failure, Segment, State
from autopeft.orchestrator import events, giving_up
from autopeft.orchestrator.confirm_plan import planned
from autopeft.orchestrator.session import StudySession


def begin(spec: StudySpec, confirm: Confirm, store: Store, *, now: float) -> int:
    """Plan what a confirmation still needs; returns how many runs of it are open."""
    trials = store.history(spec.name)
    if more := planned(spec, confirm, trials, now=now):
        store.commit(spec.name, more, [])
    return len(more) + sum(t.state in (State.PLANNED, State.RUNNING) for t in fresh(trials))


class ConfirmSession(StudySession):
    """The planned runs of a study, by the ask and tell of a search; nothing else is started.

    It ends when all of them have ended. What the budget says is not asked again: the search has
    left it this much (`reserved`), or someone asked for it.
    """

    def ask(self) -> Segment | None:
        return self.ask_ready()

    def _next_ready(self) -> Segment | None:
        if self.hopeless:
            return None
        if (segment := self._repeated()) is not None:
            return segment
        for trial in fresh(self.trials):
            if trial.state is State.PLANNED:
                trial = trial.begun(self._clock())
                self._history.put(trial, [events.trial_started(trial)])
            elif trial.state is not State.RUNNING or trial.number in self._handed_out:
                continue
            return self._handed(trial)
        return None

    def prepare(self) -> None:
        """Nothing is left to decide."""

    def close(self) -> None:
        """Record the time spent; the search is as far as it was."""
        before = self._store.study(self.spec.name).state
        self._close("finished" if before == "finished" else "paused", None)

    @property
    def finished(self) -> bool:
        with self._lock:
            states = {trial.state for trial in fresh(self.trials)}
            left = {State.RUNNING} if self.hopeless else {State.PLANNED, State.RUNNING}
            return not states & left

    @property
    def undecided(self) -> bool:
        """Nothing waits for a sampler: all runs are planned."""
        return False

    @property
    def stopped(self) -> str | None:
        return None

    @property
    def given_up(self) -> Failure | None:
        return giving_up.hopeless(fresh(self.trials), since=self._opened)
