"""Whether a store is sound: what the database says of itself, and what every study has to hold.

It reads only, whatever the schema, and upgrades nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from autopeft.domain.architecture import Configuration
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
            for name, state in connection.execute(
                select(tables.studies.c.name, tables.studies.c.state).order_by("name")
            ).all():
                found += _study(connection, name, state, driven=driven(name))
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
    numbers, running = set(), []
    unread, changed = [], []
    table = tables.trials
    for row in connection.execute(select(table).where(table.c.study == name)):
        numbers.add(row.number)
        if row.state == "running":
            running.append(row.number)
        try:
            rows.trial_of(row._mapping, ())
            key = Configuration.from_document(row.configuration).key
        except (KeyError, TypeError, ValueError, AttributeError):
            unread.append(row.number)
            continue
        if key != row.configuration_key:
            changed.append(row.number)
    if unread:
        yield Finding(name, f"{_trials(unread)} cannot be read", _DAMAGED)
    if changed:
        what = f"the configuration of {_trials(changed)} is not the one that was stored"
        yield Finding(name, what, _DAMAGED)
    yield from _rungs(connection, name, numbers)
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
    if left := connection.execute(select(func.count()).where(waits)).scalar_one():
        do = f"deliver them by `autopeft sync {name}`"
        yield Finding(name, f"MLflow has not taken {left} events", do)


def _rungs(connection: Connection, name: str, numbers: Collection[int]) -> Iterator[Finding]:
    table = tables.rungs
    told = Counter(
        (row.trial, row.rung)
        for row in connection.execute(
            select(table.c.trial, table.c.rung).where(table.c.study == name)
        )
    )
    if lost := sorted({trial for trial, _ in told} - set(numbers)):
        yield Finding(name, f"there are results of {_trials(lost)}, and no such trial", _DAMAGED)
    if twice := sorted({trial for (trial, _), count in told.items() if count > 1}):
        yield Finding(name, f"a rung of {_trials(twice)} has two results", _DAMAGED)


def _trials(numbers: Collection[int]) -> str:
    """`trial 4`, `trials 4, 7, 9 (3)`."""
    some = sorted(numbers, key=str)[:_SHOWN]
    named = ", ".join(map(str, some)) + (", ..." if len(numbers) > _SHOWN else "")
    return f"trial {named}" if len(numbers) == 1 else f"trials {named} ({len(numbers)})"
