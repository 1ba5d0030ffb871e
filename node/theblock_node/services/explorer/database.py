"""The explorer's database: SQLite in a volume, or PostgreSQL by a connection string; one schema serves both.

Everything of one block is written in one transaction together with the cursor, so after a crash the explorer
goes on exactly where it stopped. One writes at a time: in PostgreSQL whoever holds an advisory lock on the very
connection through which it writes, so a lost connection is a lost lock.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from theblock_node.services.explorer.project import Statement

SCHEMA = resources.files(__package__).joinpath("schema.sql")
SCHEMA_VERSION = "3"
"""A database of another version is emptied and filled anew from the chain."""
TABLES = ("block", "tx", "event", "mention", "compute_sla_history", "compute_sla_proofs", "meta")
VIEWS = ("snark_proofs",)
LOCK_KEY = 0x74626578
"""Advisory lock under which one of several replicas writes."""
CONNECT_SECONDS = 5
READ_WAIT_SECONDS = 2.0
"""How long a reader waits for a connection; then it is told that the database does not answer."""
READERS_MAX = 64
"""Readers that wait for one."""
STATEMENT_TIMEOUT_MS = 5000
KEEP = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
META = "SELECT name, value FROM meta"
Row = tuple[Any, ...]

UNREACHABLE = (
    psycopg.OperationalError,
    psycopg.errors.UndefinedTable,
    psycopg.InterfaceError,
    sqlite3.OperationalError,
)
"""What a silent, failing or not yet prepared database raises."""


class BadConnectionString(ValueError):
    """What should name a PostgreSQL database does not."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the database is."""

    height: int = 0
    """The last block stored."""
    final: int = 0
    """The last stored block that is known to be final: no branch differs at or below it."""


class Database(Protocol):
    async def hold(self) -> bool:
        """Become the one that writes; whether it is. It holds until the database is lost or closed."""
        ...

    async def prepare(self, genesis: str) -> Position:
        """Make the schema, empty it if it is of another chain or version; for the one that writes."""
        ...

    async def write(self, statements: Sequence[Statement], position: Position | None) -> None:
        """Do it all and move to ``position`` (None: stay), or nothing; for the one that writes."""
        ...

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a query with ``?`` for its values."""
        ...

    async def marks(self) -> dict[str, str]:
        """What ``meta`` says; empty where nothing was ever prepared."""
        ...

    async def position(self) -> Position: ...

    async def close(self) -> None: ...


class SqliteDatabase:
    """One connection, used by one thread at a time; the volume is ours alone."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = asyncio.Lock()
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")

    async def hold(self) -> bool:
        return True

    async def prepare(self, genesis: str) -> Position:
        known = await self.marks()
        if not _is_of(known, genesis):
            remake = [Statement(sql, [()]) for sql in _remake()]
            marks = Statement(KEEP, [("genesis", genesis), ("version", SCHEMA_VERSION)])
            await self.write([*remake, marks], Position())
            known = {}
        return _position(known)

    async def write(self, statements: Sequence[Statement], position: Position | None) -> None:
        def act() -> None:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                for statement in (*statements, *_keep(position)):
                    for row in statement.rows:
                        self._connection.execute(statement.sql, row)

        async with self._lock:
            await asyncio.to_thread(act)

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        async with self._lock:
            return await asyncio.to_thread(lambda: self._connection.execute(sql, tuple(values)).fetchall())

    async def position(self) -> Position:
        return _position(await self.marks())

    async def close(self) -> None:
        async with self._lock:
            self._connection.close()

    async def marks(self) -> dict[str, str]:
        if not await self.read("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            return {}
        return dict(await self.read(META))


class PostgresDatabase:
    """A small pool to read through, and one connection that holds the lock and writes."""

    def __init__(self, dsn: str) -> None:
        try:
            conninfo_to_dict(dsn)
        except psycopg.ProgrammingError as wrong:
            # The text may hold a password: it is not repeated.
            raise BadConnectionString("not a PostgreSQL connection string") from wrong
        self._dsn = dsn
        self._options = {
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            "connect_timeout": CONNECT_SECONDS,
            "autocommit": True,
        }
        self._pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=4,
            max_waiting=READERS_MAX,
            open=False,
            timeout=READ_WAIT_SECONDS,
            kwargs=self._options,
        )
        self._is_open = False
        self._writer: psycopg.AsyncConnection[Row] | None = None
        self._writing = asyncio.Lock()
        """One transaction at a time on that connection."""
        self._holds = False

    async def hold(self) -> bool:
        if self._writer is None or self._writer.closed:
            self._holds = False
            self._writer = await psycopg.AsyncConnection.connect(self._dsn, **self._options)  # type: ignore[arg-type]
        if not self._holds:
            found = await self._writer.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,))
            row = await found.fetchone()
            self._holds = bool(row and row[0])
        return self._holds

    async def prepare(self, genesis: str) -> Position:
        known = await self.marks()
        if not _is_of(known, genesis):
            remake = [Statement(sql, [()]) for sql in _remake()]
            marks = Statement(KEEP, [("genesis", genesis), ("version", SCHEMA_VERSION)])
            await self.write([*remake, marks], Position())
            known = {}
        return _position(known)

    async def write(self, statements: Sequence[Statement], position: Position | None) -> None:
        writer = self._writer
        if writer is None or not self._holds:
            raise psycopg.OperationalError("the lock is not held")
        async with self._writing, writer.transaction(), writer.cursor() as cursor:
            for statement in (*statements, *_keep(position)):
                if statement.rows:
                    await cursor.executemany(_to_postgres(statement.sql), statement.rows)

    async def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        if not self._is_open:
            await self._pool.open()
            self._is_open = True
        async with self._pool.connection() as connection:
            found = await connection.execute(_to_postgres(sql), tuple(values))
            return await found.fetchall()

    async def position(self) -> Position:
        return _position(await self.marks())

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        await self._pool.close()

    async def marks(self) -> dict[str, str]:
        try:
            return dict(await self.read(META))
        except psycopg.errors.UndefinedTable:
            return {}


def open_database(folder: Path, dsn: str | None) -> Database:
    """SQLite under ``folder``, or PostgreSQL where there is a connection string; nothing is asked of it yet."""
    return SqliteDatabase(folder / "explorer.sqlite") if dsn is None else PostgresDatabase(dsn)


class OtherDatabase(ValueError):
    """It holds what is of another chain, or of another version of the explorer."""


async def adopt(database: Database, genesis: str) -> None:
    """Make the schema where there is none; refuse what `prepare` would empty."""
    known = await database.marks()
    if known and not _is_of(known, genesis):
        raise OtherDatabase("the database is of another chain, or of another version of the explorer")
    if not known:
        await database.prepare(genesis)


def _remake() -> list[str]:
    """The statements that drop all tables and make them anew."""
    text = "\n".join(line for line in SCHEMA.read_text().splitlines() if not line.startswith("--"))
    made = [statement.strip() for statement in text.split(";") if statement.strip()]
    dropped = [f"DROP VIEW IF EXISTS {view}" for view in VIEWS] + [f"DROP TABLE IF EXISTS {table}" for table in TABLES]
    return [*dropped, *made]


def _is_of(known: dict[str, str], genesis: str) -> bool:
    return (known.get("genesis"), known.get("version")) == (genesis, SCHEMA_VERSION)


def _position(known: dict[str, str]) -> Position:
    return Position(int(known.get("height", 0)), int(known.get("final", 0)))


def _keep(position: Position | None) -> list[Statement]:
    if position is None:
        return []
    return [Statement(KEEP, [("height", str(position.height)), ("final", str(position.final))])]


def _to_postgres(sql: str) -> Any:
    return sql.replace("%", "%%").replace("?", "%s")
