"""The connection to a database: SQLite in WAL mode, PostgreSQL by psycopg."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from autopeft.domain.errors import StudyError

_BUSY_S = 30


def engine_of(url: str, *, make: bool = True) -> Engine:
    """What speaks to the database of an URL; nothing is asked of it yet.

    make: the folder of an SQLite file where it is missing.

    Raises:
        StudyError: it is no URL of a database, or its driver is missing.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed, make=make)
        return create_engine(
            parsed,
            pool_pre_ping=True,
            connect_args=_timeouts(parsed),
            json_deserializer=_json,
        )
    except (ArgumentError, ValueError) as error:  # a port that is no number
        raise StudyError(
            "AUTOPEFT_STORE takes an SQLAlchemy URL such as sqlite:///studies.db or "
            "postgresql://user@host/name, got something else"
        ) from error
    except ModuleNotFoundError as error:
        raise StudyError(f"AUTOPEFT_STORE needs the driver {error.name}: pip install it") from error
    except OSError as error:
        raise StudyError(f"the store's folder cannot be made: {error}") from error


def _json(text: str | bytes) -> Any:
    """JSON, or the text that is none: whoever reads its row (`rows`) says which one it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _timeouts(url: URL) -> dict[str, Any]:
    """So that a server that a cable was pulled from is away after seconds, not a quarter hour."""
    if url.get_backend_name() != "postgresql":
        return {}
    wanted = {"connect_timeout": 10, "keepalives_idle": 20, "tcp_user_timeout": 30_000}
    return {name: value for name, value in wanted.items() if name not in url.query}


def _sqlite_engine(url: URL, *, make: bool) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise StudyError(
            "the store outlives the process, got SQLite in memory: name a file, as in "
            "sqlite:///studies.db"
        )
    if not str(url.database).startswith("file:"):
        if not make and not Path(str(url.database)).is_file():
            raise StudyError(f"there is no store {url.database}: AUTOPEFT_STORE has to name one")
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S}, json_deserializer=_json)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def public(url: URL) -> str:
    """The URL without its password, in whatever place it stands."""
    secret = [name for name in url.query if "pass" in name.lower()]
    return repr(url.difference_update_query(secret))


def hint(said: str) -> str:
    """What to do about the errors that people meet."""
    if "database is locked" in said:
        return f" for more than {_BUSY_S} s: stop the program that holds it"
    if "is full" in said:
        return ": make room, `autopeft resume` goes on"
    if "unable to open" in said or "readonly" in said:
        return ": let this user write the file and its folder, or set AUTOPEFT_STORE"
    if "not a database" in said:
        return ": AUTOPEFT_STORE has to name a database of autopeft, or a new file"
    return ""


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL: readers never block the driver. FULL: a commit survives a power cut, too.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
