"""Fingerprints of data: whether rows are still those that a trial had.

Each begins with the way it was taken; a change of that way needs another beginning. Those of
before November 2026 have none, and looked at few rows.
"""

ALL_ROWS = "rows-1:"
"""Of every value of every row: see `autopeft.training.loading.content`."""


def other_rows(then: str | None, now: str | None) -> bool:
    """Whether two fingerprints tell of different rows; those taken in different ways tell nothing.

    None: there is none.
    """
    return then != now and _way(then) is not None and _way(then) == _way(now)


def _way(fingerprint: str | None) -> str | None:
    return None if fingerprint is None else fingerprint.rpartition(":")[0]
