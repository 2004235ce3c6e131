"""A store as one SQLite file, and back into any database.

    backup(url, file)      # while a search runs; of the schema that the store has
    restore(file, url)     # all studies of the file, or some, beside those that are there

A backup opens as a store by itself (`AUTOPEFT_STORE=sqlite:///FILE`). A restored file may come from
anywhere: rows are copied into tables of our own, never pages, so its schema does not come along.
"""

import os
import sqlite3
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import create_engine, delete, func, inspect, select, text, update
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from autopeft.domain.errors import StudyError
from autopeft.store import tables
from autopeft.store.copying import LEASE, TABLES, copy, open_file, readable
from autopeft.store.engine import engine_of
from autopeft.store.upgrade import known_revisions, revision_of, upgrade


def backup(url: str, file: Path) -> dict[str, int]:
    """Copy the store into a new SQLite file, as it is at one moment; returns rows by table.

    Searches go on meanwhile. The file is there whole or not at all.

    Raises:
        StudyError: the file exists or cannot be written, or there is no store.
    """
    if file.exists():
        raise StudyError(f"{file} exists: name another file, a backup writes over none")
    with _said(file), _part(file) as part:
        engine = engine_of(url, make=False)
        try:
            revision = revision_of(engine)
            if revision is None:
                raise StudyError("there is no store to back up: AUTOPEFT_STORE names an empty one")
            if revision not in known_revisions():
                upgrade(engine)  # says so
            if engine.dialect.name == "sqlite":
                _copy_pages(engine, part)
            else:
                _copy_rows(engine, revision, part)
        finally:
            engine.dispose()
        return _counted(part)


def restore(file: Path, url: str, *, only: Collection[str] | None = None) -> dict[str, int]:
    """Copy the studies of a backup into the store, all or none; returns rows by table.

    only: their names; None: every one.

    Raises:
        StudyError: the file is no store, it has no such study, or the store has one of that name.
    """
    with _said(file), _current(file) as source:
        there = names(source)
        if missing := sorted(set(only or ()) - set(there)):
            raise StudyError(f"{file} has no study {missing[0]!r}: it has {', '.join(there)}")
        engine = engine_of(url)
        try:
            upgrade(engine)
            with source.connect() as rows, engine.begin() as target:
                if taken := sorted({*(only or there)} & set(_names(target))):
                    raise StudyError(
                        f"the store has a study {taken[0]!r} already: restore others by --study, "
                        "or into an empty store"
                    )
                return copy(rows, target, studies=only, check=readable)
        finally:
            engine.dispose()


def names(engine: Engine) -> list[str]:
    """The studies of a store, by name."""
    with engine.connect() as connection:
        return _names(connection)


def names_in(file: Path) -> list[str]:
    """The studies of a backup.

    Raises:
        StudyError: the file is no store.
    """
    with _said(file):
        return names(open_file(file))


def _names(connection: Connection) -> list[str]:
    found = connection.execute(select(tables.studies.c.name).order_by(tables.studies.c.name))
    return [str(row.name) for row in found]


@contextmanager
def _current(file: Path) -> Iterator[Engine]:
    """The file, or where its schema is older a copy of its rows that was upgraded."""
    engine = open_file(file)
    revision = revision_of(engine)
    if revision == known_revisions()[0]:
        yield engine
        engine.dispose()
        return
    with tempfile.TemporaryDirectory(prefix="autopeft-restore-") as folder:
        newer = create_engine(f"sqlite:///{folder}/newer.db")
        upgrade(newer, str(revision))
        with engine.connect() as rows, newer.begin() as target:
            copy(rows, target)
        upgrade(newer)
        yield newer
        newer.dispose()
    engine.dispose()


def _copy_pages(engine: Engine, part: Path) -> None:
    """SQLite's online backup: in one step, so in one read transaction, which blocks no writer."""
    raw = engine.raw_connection()
    copied = sqlite3.connect(part)
    try:
        source: sqlite3.Connection = raw.driver_connection  # type: ignore[assignment]
        source.backup(copied)
        said = copied.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if said != "ok":  # pages are copied as they are
            raise StudyError(
                f"the store is damaged ({said}), so no backup was written: restore an earlier one "
                "into another store"
            )
        copied.execute("PRAGMA journal_mode=DELETE")  # one file, without -wal and -shm
    finally:
        copied.close()
        raw.close()
    with _written(part) as connection:
        connection.execute(delete(tables.facts).where(tables.facts.c.key.in_(LEASE)))
        if inspect(connection).has_table(tables.stores.name):  # another store from now on
            connection.execute(update(tables.stores).values(identity=uuid.uuid4().hex))


@contextmanager
def _written(part: Path) -> Iterator[Connection]:
    engine = create_engine(URL.create("sqlite", database=str(part)), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection


def _copy_rows(engine: Engine, revision: str, part: Path) -> None:
    """In one transaction that sees one moment: REPEATABLE READ, which is a snapshot there."""
    made = create_engine(URL.create("sqlite", database=str(part)))
    try:
        upgrade(made, revision)
        isolated = engine.execution_options(isolation_level="REPEATABLE READ")
        with isolated.connect() as rows, made.begin() as target:
            rows.execute(text("SET TRANSACTION READ ONLY"))
            copy(rows, target)
    finally:
        made.dispose()


def _counted(part: Path) -> dict[str, int]:
    with _written(part) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in TABLES
        }


@contextmanager
def _part(file: Path) -> Iterator[Path]:
    """A file beside, which becomes the file at the end; nothing is left of it otherwise."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield part
        with open(part, "rb") as whole:
            os.fsync(whole.fileno())
        os.link(part, file)  # never over what appeared meanwhile, as a rename would go
    except FileExistsError as error:
        raise StudyError(f"{file} exists: name another file, a backup writes over none") from error
    finally:
        for left in (part, part.with_name(part.name + "-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


@contextmanager
def _said(file: Path) -> Iterator[None]:
    """Turn what databases and disks say into one message without the URL's password."""
    try:
        yield
    except OSError as error:
        raise StudyError(f"{file}: {error.strerror or error}") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        said = (str(cause).strip().splitlines() or [type(error).__name__])[0]
        raise StudyError(f"{file}: {said}{_hint(said)}") from error
    except (ValueError, RecursionError) as error:  # of JSON that is none
        raise StudyError(f"{file} holds what no autopeft wrote: {error}") from error


def _hint(said: str) -> str:
    if "disk is full" in said:
        return ": make room, nothing of it is left behind"
    if "unable to open" in said or "readonly" in said:
        return ": let this user write its folder, or name another file"
    if "not a database" in said or "malformed" in said:
        return ": name a file that `autopeft store backup` wrote"
    return ""
