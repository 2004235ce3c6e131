"""The trials of a study as its session knows them: what is in the store, and nothing else."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from autopeft.domain.ports import Event, Store
from autopeft.domain.results.replicates import searched
from autopeft.domain.results.scoreboard import Leading, Scoreboard
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.orchestrator import events
from autopeft.orchestrator.retention import follows_a_baseline, kept_adapters


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
        self.all = store.history(spec.name)
        self.searched = searched(self.all)
        self._board: Scoreboard | None = None  # made when somebody asks
        self._leading: Leading | None = None

    def __getitem__(self, number: int) -> Trial:
        place = _place(self.all, number)
        if place == len(self.all) or self.all[place].number != number:
            raise KeyError(number)
        return self.all[place]

    @property
    def next_number(self) -> int:
        return self.all[-1].number + 1 if self.all else 0

    @property
    def leading(self) -> Leading:
        """Who leads, a confirmation's say included."""
        if self._board is None:
            self._board = Scoreboard(self._spec.objectives, self._spec.constraints)
            for trial in self.all:
                self._board.put(trial)
        if self._leading is None:
            self._leading = self._board.leading(self.all)
        return self._leading

    @property
    def kept(self) -> frozenset[int]:
        """The trials whose adapters stay; see `retention`."""
        moving = self._spec.search.seeds > 1 or follows_a_baseline(self._spec)
        if moving or len(self.searched) < len(self.all):
            return kept_adapters(self._spec, self.all, finished=False)
        return frozenset(self.leading.front) | self.leading.baselines

    def put(self, trial: Trial, said: Sequence[Event] = ()) -> None:
        """Commit a new trial, or a known one that changed, with the events that say so."""
        before = self.all, self.searched
        self.all = _with(self.all, trial)
        if trial.confirms is None:
            self.searched = _with(self.searched, trial)
        try:
            if self._board is not None:
                self._board.put(trial)
            self._leading = None
            if trial.state is State.COMPLETED:
                said = [*said, events.front_moved(self.leading, now=self._clock())]
            self._store.commit(self._spec.name, [trial], said)
        except BaseException:
            # What is not in the store did not happen.
            self.all, self.searched = before
            self._board = self._leading = None
            raise
        for listener in self._listeners:
            listener(trial)


def _place(trials: Sequence[Trial], number: int) -> int:
    return bisect_left(trials, number, key=lambda trial: trial.number)


def _with(trials: tuple[Trial, ...], trial: Trial) -> tuple[Trial, ...]:
    """Trials by number, with this one in its place."""
    place = _place(trials, trial.number)
    there = place < len(trials) and trials[place].number == trial.number
    return (*trials[:place], trial, *trials[place + there :])
