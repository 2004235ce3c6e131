"""The store on any database that SQLAlchemy speaks; SQLite in WAL mode by default."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from autopeft.domain.errors import StudyError
from autopeft.domain.ports import Event, StudyRecord
from autopeft.domain.trial import Rung, Trial
from autopeft.store import rows, tables
from autopeft.store.engine import engine_of, hint, public
from autopeft.store.patience import PATIENCE_S, AwayError, Patience, passing, patient
from autopeft.store.upgrade import upgrade


class SqlStore:
    """See `autopeft.domain.ports.Store` for the contract.

    Args:
        url: an SQLAlchemy URL; tables are made or migrated on opening.
        patience_s: how long a database that was opened once may stay away.

    Raises:
        StudyError: the database cannot be opened, or is newer than this autopeft.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._engine = engine_of(url)
        self._patience = Patience(patience_s)
        with self._said():
            upgrade(self._engine)

    @patient
    def create(self, record: StudyRecord) -> None:
        with self._said(), self._engine.begin() as connection:
            try:
                connection.execute(insert(tables.studies).values(_study_row(record)))
            except IntegrityError as error:
                if self._patience.again and self._is(record):
                    return
                said = f"study {record.name!r} exists: choose another name"
                raise StudyError(said) from error

    @patient
    def update(self, record: StudyRecord) -> None:
        with self._said(), self._engine.begin() as connection:
            changed = connection.execute(
                update(tables.studies)
                .where(tables.studies.c.name == record.name)
                .values(_study_row(record))
            )
            if changed.rowcount == 0:
                raise StudyError(f"there is no study {record.name!r} in the store: create it first")

    @patient
    def delete(self, name: str) -> None:
        with self._said(), self._engine.begin() as connection:
            for table in reversed(tables.metadata.sorted_tables):  # what refers to it first
                if "study" in table.c:
                    connection.execute(delete(table).where(table.c.study == name))
            connection.execute(delete(tables.studies).where(tables.studies.c.name == name))

    @patient
    def study(self, name: str) -> StudyRecord:
        with self._said(), self._engine.connect() as connection:
            found = connection.execute(
                select(tables.studies).where(tables.studies.c.name == name)
            ).first()
        if found is None:
            names = ", ".join(record.name for record in self.studies()) or "none"
            raise StudyError(f"there is no study {name!r} in the store: it has {names}")
        return _record(found._mapping)

    @patient
    def studies(self) -> Sequence[StudyRecord]:
        with self._said(), self._engine.connect() as connection:
            found = connection.execute(select(tables.studies).order_by(tables.studies.c.created))
            return [_record(row._mapping) for row in found]

    @patient
    def identity(self) -> str:
        with self._said(), self._engine.connect() as connection:
            return str(connection.execute(select(tables.stores.c.identity)).scalar_one())

    @patient
    def history(self, name: str) -> tuple[Trial, ...]:
        rungs: dict[int, list[Rung]] = {}
        with self._said(), self._engine.connect() as connection:
            # Trials first: a driver may commit in between, and none is complete without results.
            found = connection.execute(
                select(tables.trials)
                .where(tables.trials.c.study == name)
                .order_by(tables.trials.c.number)
            ).all()
            table = tables.rungs
            for row in connection.execute(
                select(table).where(table.c.study == name).order_by(table.c.trial, table.c.rung)
            ):
                rungs.setdefault(row.trial, []).append(_rung(row._mapping))
        return tuple(_trial(row._mapping, tuple(rungs.get(row.number, ()))) for row in found)

    @patient
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
            found = [_event_row(name, event) for event in events]
            if found and not (self._patience.again and _is_there(connection, found[0])):
                connection.execute(insert(tables.outbox), found)

    @patient
    def undelivered(self, name: str, limit: int) -> Sequence[tuple[int, Event]]:
        table = tables.outbox
        query = (
            select(table)
            .where(table.c.study == name, table.c.delivered.is_(False))
            .order_by(table.c.id)
            .limit(limit)
        )
        with self._said(), self._engine.connect() as connection:
            return [(row.id, _event(row._mapping)) for row in connection.execute(query)]

    @patient
    def delivered(self, name: str, ids: Sequence[int]) -> None:
        table = tables.outbox
        with self._said(), self._engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.study == name, table.c.id.in_(ids))
                .values(delivered=True)
            )

    @patient
    def remember(self, name: str, key: str, value: str) -> None:
        table = tables.facts
        with self._said(), self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.study == name, table.c.key == key))
            connection.execute(insert(table).values(study=name, key=key, value=value))

    @patient
    def recall(self, name: str) -> Mapping[str, str]:
        table = tables.facts
        with self._said(), self._engine.connect() as connection:
            found = connection.execute(
                select(table.c.key, table.c.value).where(table.c.study == name)
            )
            return {row.key: row.value for row in found}

    @patient
    def everywhere(self, key: str) -> Mapping[str, str]:
        # From the studies on, each by its primary key: facts are many, one a run of MLflow.
        table, studies = tables.facts, tables.studies
        there = (table.c.study == studies.c.name) & (table.c.key == key)
        query = select(studies.c.name, table.c.value).join_from(studies, table, there)
        with self._said(), self._engine.connect() as connection:
            return {row.name: row.value for row in connection.execute(query)}

    @patient
    def swap(self, name: str, key: str, expected: str | None, value: str | None) -> bool:
        table = tables.facts
        there = (table.c.study == name) & (table.c.key == key) & (table.c.value == expected)
        if self._patience.again and self.recall(name).get(key) == value:
            return True  # by the try whose answer was lost
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
            kind = AwayError if passing(error) else StudyError
            raise kind(f"store {public(self._engine.url)}: {said}{hint(said)}") from error

    def _is(self, record: StudyRecord) -> bool:
        """Whether the store has just this study."""
        return _study_row(self.study(record.name)) == _study_row(record)


def _record(row: rows.Row) -> StudyRecord:
    with rows.reading(f"the space file of study {row['name']!r}"):
        return rows.study_of(row)


def _trial(row: rows.Row, rungs: tuple[Rung, ...]) -> Trial:
    with rows.reading(f"trial {row['number']} of study {row['study']!r}"):
        return rows.trial_of(row, rungs)


def _rung(row: rows.Row) -> Rung:
    with rows.reading(f"the result of trial {row['trial']} of study {row['study']!r}"):
        return rows.rung_of(row)


def _event(row: rows.Row) -> Event:
    with rows.reading(f"an event of study {row['study']!r} that waits for MLflow"):
        return rows.event_of(row)


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
    stored = {row.rung: rows.rung_row(study, trial.number, _rung(row._mapping)) for row in found}
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


def _is_there(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Whether the outbox has an event; who repeats a commit has then made it already."""
    table = tables.outbox
    same = (table.c.study == row["study"]) & (table.c.kind == row["kind"])
    found = connection.execute(
        select(table.c.trial, table.c.payload).where(same, table.c.time == row["time"])
    )
    return any((e.trial, e.payload) == (row["trial"], row["payload"]) for e in found)


def _event_row(study: str, event: Event) -> dict[str, Any]:
    return {
        "study": study,
        "kind": event.kind,
        "trial": event.trial,
        "time": event.time,
        "payload": rows.plain(event.payload),
        "delivered": False,
    }
