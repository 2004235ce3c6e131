"""Rows of one database to another of the same schema, whatever the databases are.

The columns are those of this version's tables that the source has: of an older schema some are
missing on both sides.
"""

import sqlite3
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, create_engine, insert, inspect, select, text
from sqlalchemy.pool import NullPool

from autopeft.domain.errors import StudyError
from autopeft.store import rows, tables
from autopeft.store.upgrade import known_revisions, revision_of

LEASE = ("driver", "driver.heard", "driver.stop", "driver.cluster")
"""Facts of whoever searches a study (`orchestrator.lease`): a copy has no driver."""

TABLES = (tables.studies, tables.trials, tables.rungs, tables.outbox, tables.facts)
"""What belongs to studies; what a database says of itself stays its own."""

_ROWS = 500  # at a time
_NUMBERED = ("rungs", "outbox")  # the target numbers them anew, in the same order


def copy(
    source: Connection,
    target: Connection,
    *,
    studies: Collection[str] | None = None,
    check: Callable[[str, Mapping[Any, Any]], None] = lambda table, row: None,
) -> dict[str, int]:
    """Copy all rows, or those of some studies; returns how many of each table.

    check: called with a table's name and every row of it before it is written.
    """
    copied = {}
    there = inspect(source)
    for table in TABLES:
        present = {column["name"] for column in there.get_columns(table.name)}
        columns = [column for column in table.c if column.name in present]
        query = select(*columns).order_by(*table.primary_key.columns)
        if studies is not None:
            query = query.where(_study_of(table).in_(list(studies)))
        if table is tables.facts:
            query = query.where(table.c.key.not_in(LEASE))
        count = 0
        for batch in source.execute(query.execution_options(yield_per=_ROWS)).partitions():
            some = [dict(row._mapping) for row in batch]
            for row in some:
                check(table.name, row)
                if table.name in _NUMBERED:
                    del row["id"]
            target.execute(insert(table), some)
            count += len(some)
        copied[table.name] = count
    return copied


def _study_of(table: Table) -> Any:
    return table.c.name if table is tables.studies else table.c.study


def readable(table: str, row: Mapping[Any, Any]) -> None:
    """Raises:
    StudyError: no autopeft wrote this row.
    """
    try:
        if table == "trials":
            rows.trial_of(row, ())
        elif table == "rungs":
            rows.rung_of(row)
        elif table == "studies":
            rows.study_of(row)
    except rows.UNREADABLE as error:
        whose = row.get("study", row.get("name"))
        raise StudyError(
            f"the file holds a row of {table} of study {whose!r} that no autopeft wrote "
            f"({type(error).__name__}: {error}): it is damaged or was made by hand"
        ) from error


def open_file(file: Path) -> Engine:
    """An SQLite file to read only, without trust in its schema.

    It may come from anywhere: it is neither written nor are its triggers, views or virtual tables
    taken along.

    Raises:
        StudyError: it is no store, or one of a newer autopeft.
    """
    if not file.is_file():
        raise StudyError(f"{file} is no file: name one that `autopeft store backup` wrote")

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True)
        made.execute("PRAGMA trusted_schema=OFF")
        made.execute("PRAGMA cell_size_check=ON")
        return made

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT type, name, sql FROM sqlite_master")).all()
        kinds = {
            (row.type, row.name): str(row.sql or "")
            for row in found
            if not str(row.name).startswith("sqlite_")
        }
        ours = {*tables.metadata.tables, "alembic_version"}
        for (kind, name), sql in kinds.items():
            odd = kind not in ("table", "index") or (kind == "table" and name not in ours)
            if odd or "VIRTUAL" in sql.upper().split("(")[0] or "GENERATED" in sql.upper():
                raise StudyError(f"{file} is no store of autopeft: it holds the {kind} {name!r}")
        if ("table", "alembic_version") not in kinds or ("table", "studies") not in kinds:
            raise StudyError(f"{file} is no store of autopeft: it has no studies")
    if revision_of(engine) not in known_revisions():
        raise StudyError(
            f"{file} has schema {revision_of(engine)!r}, which this version of autopeft does not "
            "know: upgrade autopeft"
        )
    return engine
