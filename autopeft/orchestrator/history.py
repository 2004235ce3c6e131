"""The trials of a study as its session knows them: what is in the store, and nothing else."""

from collections.abc import Callable, Mapping, Sequence

from autopeft.domain.ports import Event, Store
from autopeft.domain.replicates import searched
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.orchestrator import events


class History:
    """All trials by number, and those of the search alone; the tuples are new when a trial is.

    Threads: the caller's lock is held.

    Args:
        clock: seconds since the epoch.
        listeners: called with every trial that changed, after its commit.
    """

    all: tuple[Trial, ...]
    searched: tuple[Trial, ...]

    def __init__(
        self,
        spec: StudySpec,
        store: Store,
        *,
        clock: Callable[[], float],
        listeners: Sequence[Callable[[Trial], None]] = (),
    ) -> None:
        self._spec = spec
        self._store = store
        self._clock = clock
        self._listeners = tuple(listeners)
        self._keep({trial.number: trial for trial in store.history(spec.name)})

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    @property
    def next_number(self) -> int:
        return max(self._trials, default=-1) + 1

    def put(self, trial: Trial, said: Sequence[Event] = ()) -> None:
        """Commit a new trial, or a known one that changed, with the events that say so."""
        before = self._trials
        self._keep({**before, trial.number: trial})
        try:
            if trial.state is State.COMPLETED:
                said = [*said, events.front_moved(self._spec, self.all, now=self._clock())]
            self._store.commit(self._spec.name, [trial], said)
        except BaseException:
            # What is not in the store did not happen.
            self._keep(before)
            raise
        for listener in self._listeners:
            listener(trial)

    def _keep(self, trials: Mapping[int, Trial]) -> None:
        self._trials = trials
        self.all = tuple(trials[number] for number in sorted(trials))
        self.searched = searched(self.all)
