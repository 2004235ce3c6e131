"""A folder of one worker process, deleted with it, or by the next one after a kill -9."""

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

_PREFIX, _LOCK = "autopeft-worker-", ".lock"


class Scratch:
    """An empty folder, under TMPDIR.

    A lock that ends with the process says that it is in use; whoever makes the next one on the
    machine deletes those of the dead, so that only as many are left as workers were killed at last.
    """

    def __init__(self) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Locked before it has its name: nobody sees a lock that is not held yet.
        self._lock = os.open(self.path / f"{_LOCK}-new", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / f"{_LOCK}-new").rename(self.path / _LOCK)
        self.close = weakref.finalize(self, _end, self.path, self._lock)


def sweep() -> int:
    """Delete the folders whose worker is gone; returns how many they were."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or just being made or deleted
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                swept += 1
            finally:
                os.close(lock)
    return swept


def _end(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
