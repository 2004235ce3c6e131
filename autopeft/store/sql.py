"""The store on any database that SQLAlchemy speaks; SQLite in WAL mode by default."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event, StudyRecord
from autopeft.domain.trial import Rung, Trial
from autopeft.store import rows, tables
from autopeft.store.upgrade import upgrade

_BUSY_S = 30


class SqlStore:
    """See `autopeft.domain.ports.Store` for the contract.

    Args:
        url: an SQLAlchemy URL; tables are made or migrated on opening.

    Raises:
        StudyError: the database cannot be opened, or is newer than this autopeft.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        with self._said():
            upgrade(self._engine)

    def create(self, record: StudyRecord) -> None:
        with self._said(), self._engine.begin() as connection:
            try:
                connection.execute(insert(tables.studies).values(_study_row(record)))
            except IntegrityError as error:
                said = f"study {record.name!r} exists: choose another name"
                raise StudyError(said) from error

    def update(self, record: StudyRecord) -> None:
        with self._said(), self._engine.begin() as connection:
            changed = connection.execute(
                update(tables.studies)
                .where(tables.studies.c.name == record.name)
                .values(_study_row(record))
            )
            if changed.rowcount == 0:
                raise StudyError(f"there is no study {record.name!r} in the store: create it first")

    def study(self, name: str) -> StudyRecord:
        with self._said(), self._engine.connect() as connection:
            found = connection.execute(
                select(tables.studies).where(tables.studies.c.name == name)
            ).first()
        if found is None:
            names = ", ".join(record.name for record in self.studies()) or "none"
            raise StudyError(f"there is no study {name!r} in the store: it has {names}")
        return StudyRecord(**found._mapping)

    def studies(self) -> Sequence[StudyRecord]:
        with self._said(), self._engine.connect() as connection:
            found = connection.execute(select(tables.studies).order_by(tables.studies.c.created))
            return [StudyRecord(**row._mapping) for row in found]

    def history(self, name: str) -> tuple[Trial, ...]:
        rungs: dict[int, list[Rung]] = {}
        with self._said(), self._engine.connect() as connection:
            table = tables.rungs
            for row in connection.execute(
                select(table).where(table.c.study == name).order_by(table.c.trial, table.c.rung)
            ):
                rungs.setdefault(row.trial, []).append(rows.rung_of(row._mapping))
            found = connection.execute(
                select(tables.trials)
                .where(tables.trials.c.study == name)
                .order_by(tables.trials.c.number)
            )
            return tuple(
                rows.trial_of(row._mapping, tuple(rungs.get(row.number, ()))) for row in found
            )

    def commit(
        self,
        name: str,
        trials: Sequence[Trial],
        events: Sequence[Event],
        *,
        held: tuple[str, str] | None = None,
    ) -> None:
        with self._said(), self._engine.begin() as connection:
            if held is not None:
                _check_held(connection, name, *held)
            for trial in trials:
                _put_trial(connection, name, trial)
                _put_rungs(connection, name, trial)
            if events:
                connection.execute(insert(tables.outbox), [_event_row(name, e) for e in events])

    def undelivered(self, name: str, limit: int) -> Sequence[tuple[int, Event]]:
        table = tables.outbox
        query = (
            select(table)
            .where(table.c.study == name, table.c.delivered.is_(False))
            .order_by(table.c.id)
            .limit(limit)
        )
        with self._said(), self._engine.connect() as connection:
            return [
                (row.id, Event(row.kind, row.trial, row.time, row.payload))
                for row in connection.execute(query)
            ]

    def delivered(self, name: str, ids: Sequence[int]) -> None:
        table = tables.outbox
        with self._said(), self._engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.study == name, table.c.id.in_(ids))
                .values(delivered=True)
            )

    def remember(self, name: str, key: str, value: str) -> None:
        table = tables.facts
        with self._said(), self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.study == name, table.c.key == key))
            connection.execute(insert(table).values(study=name, key=key, value=value))

    def recall(self, name: str) -> Mapping[str, str]:
        table = tables.facts
        with self._said(), self._engine.connect() as connection:
            found = connection.execute(
                select(table.c.key, table.c.value).where(table.c.study == name)
            )
            return {row.key: row.value for row in found}

    def everywhere(self, key: str) -> Mapping[str, str]:
        # From the studies on, each by its primary key: facts are many, one a run of MLflow.
        table, studies = tables.facts, tables.studies
        there = (table.c.study == studies.c.name) & (table.c.key == key)
        query = select(studies.c.name, table.c.value).join_from(studies, table, there)
        with self._said(), self._engine.connect() as connection:
            return {row.name: row.value for row in connection.execute(query)}

    def swap(self, name: str, key: str, expected: str | None, value: str | None) -> bool:
        table = tables.facts
        there = (table.c.study == name) & (table.c.key == key) & (table.c.value == expected)
        with self._said(), self._engine.begin() as connection:
            if expected is None:
                try:
                    with connection.begin_nested():
                        connection.execute(insert(table).values(study=name, key=key, value=value))
                except IntegrityError:
                    return False
                return True
            change = delete(table) if value is None else update(table).values(value=value)
            return bool(connection.execute(change.where(there)).rowcount)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn a database error into one message without the URL's password."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            said = (str(cause).strip().splitlines() or [type(error).__name__])[0]
            raise StudyError(f"store {_public(self._engine.url)}: {said}{_hint(said)}") from error


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        return create_engine(parsed, pool_pre_ping=True)
    except (ArgumentError, ValueError) as error:  # a port that is no number
        raise StudyError(
            "AUTOPEFT_STORE takes an SQLAlchemy URL such as sqlite:///studies.db or "
            "postgresql://user@host/name, got something else"
        ) from error
    except ModuleNotFoundError as error:
        raise StudyError(f"AUTOPEFT_STORE needs the driver {error.name}: pip install it") from error
    except OSError as error:
        raise StudyError(f"the store's folder cannot be made: {error}") from error


def _sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise StudyError(
            "the store outlives the process, got SQLite in memory: name a file, as in "
            "sqlite:///studies.db"
        )
    if not str(url.database).startswith("file:"):
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _public(url: URL) -> str:
    """The URL without its password, in whatever place it stands."""
    secret = [name for name in url.query if "pass" in name.lower()]
    return repr(url.difference_update_query(secret))


def _hint(said: str) -> str:
    """What to do about the errors that people meet."""
    if "database is locked" in said:
        return f" for more than {_BUSY_S} s: stop the program that holds it"
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


def _study_row(record: StudyRecord) -> dict[str, Any]:
    return {**vars(record), "document": rows.plain(record.document)}


def _check_held(connection: Connection, study: str, key: str, value: str) -> None:
    """Written rather than read, so that nobody else can change it before this transaction ends."""
    table = tables.facts
    held = (table.c.study == study) & (table.c.key == key) & (table.c.value == value)
    if not connection.execute(update(table).where(held).values(value=value)).rowcount:
        raise StudyError(
            f"study {study!r} was taken over by another driver while this one was not heard of: "
            "nothing more is written here"
        )


def _put_trial(connection: Connection, study: str, trial: Trial) -> None:
    table, row = tables.trials, rows.trial_row(study, trial)
    changed = connection.execute(
        update(table).where(table.c.study == study, table.c.number == trial.number).values(row)
    )
    if changed.rowcount == 0:
        connection.execute(insert(table).values(row))


def _put_rungs(connection: Connection, study: str, trial: Trial) -> None:
    table = tables.rungs
    found = connection.execute(
        select(table).where(table.c.study == study, table.c.trial == trial.number)
    )
    stored = {
        row.rung: rows.rung_row(study, trial.number, rows.rung_of(row._mapping)) for row in found
    }
    for rung in trial.rungs:
        row = rows.rung_row(study, trial.number, rung)
        if rung.index not in stored:
            try:
                connection.execute(insert(table).values(row))
            except IntegrityError as error:
                raise _told_twice(study, trial.number, rung.index) from error
        elif stored[rung.index] != row:
            raise _told_twice(study, trial.number, rung.index)


def _told_twice(study: str, trial: int, rung: int) -> StudyError:
    return StudyError(
        f"rung {rung} of trial {trial} of study {study!r} was told already, with another result: "
        "is a second driver running?"
    )


def _event_row(study: str, event: Event) -> dict[str, Any]:
    return {
        "study": study,
        "kind": event.kind,
        "trial": event.trial,
        "time": event.time,
        "payload": rows.plain(event.payload),
        "delivered": False,
    }
