"""Bring a database to the schema of this version, by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from autopeft.domain.errors import StudyError

_LOCK = 7_224_637  # any number that is ours: PostgreSQL's advisory locks share one space


def revision_of(engine: Engine) -> str | None:
    """The schema of a database; None: it has none of ours."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> list[str]:
    """The schemas that this version can read, the newest first."""
    return [found.revision for found in ScriptDirectory.from_config(_config()).walk_revisions()]


def upgrade(engine: Engine, to: str = "head") -> None:
    """Make or migrate the tables; two processes at once wait for each other.

    to: the schema; another than the newest is for the copy of an older store.

    Raises:
        StudyError: the database was written by a newer autopeft.
    """
    known, now = known_revisions(), revision_of(engine)
    if now == (known[0] if to == "head" else to):
        return
    if now is not None and now not in known:
        raise StudyError(
            f"the store has schema {now!r}, which this version of autopeft does not know: "
            "upgrade autopeft"
        )
    config = _config()
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, to)
        connection.commit()


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
