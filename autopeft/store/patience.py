"""A database that is away for a while: what was asked of it is asked again until it is back.

A search that has run for days may not end because its PostgreSQL is restarted, its disk is full for
a moment or another program holds its SQLite file. A transaction that is repeated may have been
committed the first time, with only the answer lost: `Patience.again` says so to who writes.
"""

import functools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from autopeft.domain.errors import StudyError

PATIENCE_S = 600.0
"""A restart, a failover or an upgrade of a database takes seconds to minutes."""
_FIRST_S, _LONGEST_S = 0.2, 5.0

_RESULT = TypeVar("_RESULT")
_STORE = TypeVar("_STORE", bound=Any)
_ARGUMENTS = ParamSpec("_ARGUMENTS")

# PostgreSQL's classes: connection, resources (disk, memory, connections), the operator's
# intervention (shutdown, starting up), and a transaction that lost against another.
_PASSING_STATES = ("08", "53", "57P", "40")
_PASSING_SQLITE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)

log = logging.getLogger("autopeft")


class AwayError(StudyError):
    """The database did not answer, and may soon."""


class Patience:
    """How long a store waits for its database, all its threads together.

    Once the time is over, nothing waits any more until the database has answered again.

    seconds: from the first failure on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._since: float | None = None
        self._local = threading.local()

    @property
    def again(self) -> bool:
        """Whether this thread repeats what may have been done already."""
        return getattr(self._local, "again", False)

    def wait_for(self, act: Callable[[], _RESULT]) -> _RESULT:
        """What `act` gives, as soon as it gives it.

        Raises:
            AwayError: the database stayed away; any other error of `act` as it is.
        """
        tries, before = 0, self.again
        try:
            while True:
                try:
                    found = act()
                except AwayError as error:
                    if not self._goes_on(error):
                        raise
                    time.sleep(min(_LONGEST_S, _FIRST_S * 2**tries))
                    tries += 1
                    self._local.again = True
                else:
                    self._back()
                    return found
        finally:
            self._local.again = before

    def _goes_on(self, error: AwayError) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._since is None:
                self._since = now
                log.warning("%s; tried again for up to %g s", error, self._seconds)
            return now - self._since < self._seconds

    def _back(self) -> None:
        with self._lock:
            if self._since is not None:
                log.warning("the store is back after %.0f s", time.monotonic() - self._since)
            self._since = None


def patient(
    method: Callable[Concatenate[_STORE, _ARGUMENTS], _RESULT],
) -> Callable[Concatenate[_STORE, _ARGUMENTS], _RESULT]:
    """A method of a store that waits for its database, by the store's `_patience`."""

    @functools.wraps(method)
    def waiting(store: _STORE, /, *args: _ARGUMENTS.args, **named: _ARGUMENTS.kwargs) -> _RESULT:
        patience: Patience = store._patience
        return patience.wait_for(lambda: method(store, *args, **named))

    return waiting


def passing(error: SQLAlchemyError) -> bool:
    """Whether the same statement may succeed later: it is the database's state, not the statement.

    psycopg tells no state where it got no connection at all.
    """
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _PASSING_SQLITE
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return str(state).startswith(_PASSING_STATES)
