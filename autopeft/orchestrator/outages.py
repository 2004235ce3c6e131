"""Segments that ended for what is no trial's fault: a full disk, files that could not be kept.

Such a segment is not recorded: it is handed out again, as if its worker had been lost, so no trial
fails because a network was away for a minute. Where one fails so several times the others decide:
if none has gone well meanwhile, nothing will, and the study is paused with its trials as they are;
else it is this segment alone, and its trial is recorded as failed.
"""

from autopeft.domain.errors import StudyError
from autopeft.domain.trial import Failure, FailureReason, Result, Segment

_TRIES = 3  # as of a segment that takes its worker down (`ray_tune`)


class Outages:
    """Of one session; a session that goes on starts anew.

    Threads: the caller's lock is held.
    """

    def __init__(self) -> None:
        self._tries: dict[tuple[int, int], int] = {}
        self._well: dict[tuple[int, int], int] = {}
        self._results = 0

    def repeats(self, segment: Segment, result: Result | Failure) -> bool:
        """Whether a segment's result is put aside and the segment runs again.

        Raises:
            StudyError: it went wrong again and again, and nothing else went well meanwhile.
        """
        if not isinstance(result, Failure) or result.reason is not FailureReason.INFRASTRUCTURE:
            self._results += 1
            return False
        key = (segment.trial, segment.rung)
        began = self._well.setdefault(key, self._results)
        self._tries[key] = self._tries.get(key, 0) + 1
        if self._tries[key] < _TRIES:
            return True
        if self._results > began:
            return False
        raise StudyError(
            f"paused after {_TRIES} tries at trial {segment.trial}, which is kept as it was: "
            f"{result.message}. Then go on with `autopeft resume {segment.study}`"
        )
