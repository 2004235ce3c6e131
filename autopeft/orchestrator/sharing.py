"""Who runs beside whom on a device, and what has to run again without company.

What was measured beside other trials is marked. Memory that ran out beside them says little about a
configuration: it runs again, once, while nothing else does, before it counts as failed.
Trials with whole GPUs of their own are always alone.
"""

from collections.abc import Set

from autopeft.domain.study import Resources
from autopeft.domain.trial import Failure, FailureReason, Result


class Sharing:
    """Of one session; a session that goes on starts anew, as its segments do.

    Threads: the caller's lock is held.
    """

    def __init__(self, resources: Resources) -> None:
        self._apart = resources.gpus_per_trial >= 1
        self._beside: set[int] = set()
        self._again: list[int] = []
        self._repeated: set[int] = set()
        self._exclusive: int | None = None

    def started(self, running: Set[int]) -> None:
        """running: numbers of the trials that run now, the one that starts among them."""
        if len(running) > 1 and not self._apart:
            self._beside |= running

    def ended(self, trial: int) -> bool:
        """Whether a trial's segment had its device for itself."""
        if trial == self._exclusive:
            self._exclusive = None
        alone = trial not in self._beside
        self._beside.discard(trial)
        return alone

    def repeats(self, trial: int, result: Result | Failure, *, alone: bool) -> bool:
        """Whether a segment's result is put aside and the segment runs again, alone."""
        full = isinstance(result, Failure) and result.reason is FailureReason.OUT_OF_MEMORY
        if not full or alone or trial in self._repeated:
            return False
        self._repeated.add(trial)
        self._again.append(trial)
        return True

    def waits(self, running: Set[int]) -> bool:
        """Whether nothing may start: one trial waits for the others to end, or runs alone."""
        return bool(running) and (bool(self._again) or self._exclusive in running)

    def due(self) -> int | None:
        """The trial that runs again, where nothing else runs; it is no longer due then."""
        if not self._again:
            return None
        self._exclusive = self._again.pop(0)
        return self._exclusive
