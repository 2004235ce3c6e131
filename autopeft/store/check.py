"""Whether a store is sound: what the database says of itself, and what every study has to hold.

It reads only, whatever the schema, and upgrades nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, text
from sqlalchemy.exc import SQLAlchemyError

from autopeft.domain.errors import StudyError
from autopeft.store import rows, tables
from autopeft.store.engine import engine_of
from autopeft.store.upgrade import known_revisions, revision_of

_SHOWN = 5  # of one kind that are named


@dataclass(frozen=True)
class Finding:
    """Something wrong with a store, and what to do about it. study: "" where it is of all."""

    study: str
    what: str
    do: str

    def __str__(self) -> str:
        return f"{f'{self.study}: ' if self.study else ''}{self.what}: {self.do}"


_DAMAGED = "restore a backup into another store"


def check(url: str, driven: Callable[[str], bool] = lambda study: False) -> list[Finding]:
    """What is wrong with a store.

    driven: whether somebody searches a study now: its trials may run, and its events wait. Asked
        only of a store of this schema.

    Raises:
        StudyError: there is no store, or it cannot be read.
    """
    engine = engine_of(url, make=False)
    try:
        revision, known = revision_of(engine), known_revisions()
        if revision is None:
            raise StudyError("AUTOPEFT_STORE names a database without studies: nothing to check")
        with engine.connect() as connection:
            found = list(_database(connection))
            if revision not in known:
                do = "use the autopeft that wrote it, or a newer one"
                return [*found, Finding("", f"schema {revision!r} is not known here", do)]
            if revision != known[0]:
                what = f"schema {revision} is older than this autopeft's, {known[0]}"
                do = "back it up, then open it, as by `autopeft studies`, which upgrades it"
                return [*found, Finding("", what, do)]
            for row in connection.execute(select(tables.studies).order_by("name")).all():
                if not _reads(rows.study_of, row):
                    found.append(Finding(row.name, "its space file cannot be read", _DAMAGED))
                found += _study(connection, row.name, row.state, driven=driven(row.name))
        return found
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        said = (str(cause).strip().splitlines() or [type(error).__name__])[0]
        return [Finding("", f"the database cannot be read ({said})", _DAMAGED)]
    finally:
        engine.dispose()


def _database(connection: Connection) -> Iterator[Finding]:
    """SQLite's own checks; PostgreSQL keeps keys by itself and says of damage when it reads it."""
    if connection.dialect.name == "sqlite":
        for row in connection.execute(text("PRAGMA integrity_check")).all()[:_SHOWN]:
            if row[0] != "ok":
                said = " ".join(str(row[0]).split())
                yield Finding("", f"SQLite finds damage ({said})", _DAMAGED)
        lost = Counter(row[0] for row in connection.execute(text("PRAGMA foreign_key_check")))
        for table, count in lost.items():
            yield Finding("", f"{count} rows of {table} belong to no study", _DAMAGED)


def _study(connection: Connection, name: str, state: str, *, driven: bool) -> Iterator[Finding]:
    states: dict[int, str] = {}
    unread, changed = [], []
    table = tables.trials
    for row in connection.execute(select(table).where(table.c.study == name)):
        states[row.number] = row.state
        try:
            key = rows.trial_of(row._mapping, ()).configuration.key
        except rows.UNREADABLE:
            unread.append(row.number)
            continue
        if key != row.configuration_key:
            changed.append(row.number)
    running = [number for number, state in states.items() if state == "running"]
    if unread:
        yield Finding(name, f"{_trials(unread)} cannot be read", _DAMAGED)
    if changed:
        what = f"the configuration of {_trials(changed)} is not the one that was stored"
        yield Finding(name, what, _DAMAGED)
    yield from _rungs(connection, name, states)
    if driven:
        return
    if running and state == "finished":
        do = f"its result never came; `autopeft resume {name}` runs it again"
        yield Finding(name, f"the study is finished, and {_trials(running)} still running", do)
    elif running and state == "running":  # where a pause ended it, they go on with the study
        do = f"go on with `autopeft resume {name}`"
        yield Finding(name, f"{_trials(running)} running, and nobody searches the study", do)
    outbox = tables.outbox
    waits = (outbox.c.study == name) & outbox.c.delivered.is_(False)
    if left := connection.execute(select(outbox).where(waits)).all():
        do = f"deliver them by `autopeft sync {name}`"
        yield Finding(name, f"MLflow has not taken {len(left)} events", do)
        if unread := [row.id for row in left if not _reads(rows.event_of, row)]:
            yield Finding(name, f"{len(unread)} of these events cannot be read", _DAMAGED)


def _rungs(connection: Connection, name: str, states: Mapping[int, str]) -> Iterator[Finding]:
    table = tables.rungs
    results = connection.execute(select(table).where(table.c.study == name)).all()
    told = Counter((row.trial, row.rung) for row in results)
    if unread := {row.trial for row in results if not _reads(rows.rung_of, row)}:
        yield Finding(name, f"results of {_trials(unread)} cannot be read", _DAMAGED)
    trials = {row.trial for row in results}
    if lost := trials - states.keys():
        yield Finding(name, f"there are results of {_trials(lost)}, and no such trial", _DAMAGED)
    if bare := {n for n, state in states.items() if state == "completed"} - trials:
        yield Finding(name, f"{_trials(bare)} completed, and there is no result", _DAMAGED)
    if twice := sorted({trial for (trial, _), count in told.items() if count > 1}):
        yield Finding(name, f"a rung of {_trials(twice)} has two results", _DAMAGED)


def _reads(read: Callable[[rows.Row], object], row: Row[Any]) -> bool:
    try:
        read(row._mapping)
    except rows.UNREADABLE:
        return False
    return True


def _trials(numbers: Collection[int]) -> str:
    """`trial 4`, `trials 4, 7, 9 (3)`."""
    some = sorted(numbers, key=str)[:_SHOWN]
    named = ", ".join(map(str, some)) + (", ..." if len(numbers) > _SHOWN else "")
    return f"trial {named}" if len(numbers) == 1 else f"trials {named} ({len(numbers)})"
