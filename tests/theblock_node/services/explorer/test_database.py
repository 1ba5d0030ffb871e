"""One schema on two databases: a block and the cursor stand together or not at all, and one writes at a time."""

from __future__ import annotations

import asyncio
import sqlite3

import psycopg
import pytest
from support.explorer import GENESIS, block_id, make_block
from theblock_node.services.explorer.database import (
    SCHEMA_VERSION,
    UNREACHABLE,
    BadConnectionString,
    OtherDatabase,
    Position,
    PostgresDatabase,
    adopt,
    open_database,
)
from theblock_node.services.explorer.project import Statement, project_block, undo_above


async def store(database, height, **block):
    await database.write(project_block(make_block(height, **block)), Position(height, 0))


async def heights(database):
    return [row[0] for row in await database.read("SELECT height FROM block ORDER BY height")]


async def test_a_block_and_the_cursor_are_found_again_after_reopening(database, reopen):
    await store(database, 1, calls=["a.b"])
    await database.write(project_block(make_block(2)), Position(2, 1))
    await database.close()

    again = reopen()
    assert await again.hold()
    assert await again.prepare(GENESIS) == Position(2, 1)
    assert await heights(again) == [1, 2]
    await again.close()


async def test_a_write_that_fails_leaves_nothing(database):
    broken = [*project_block(make_block(1, calls=["a.b"])), Statement("INSERT INTO nowhere VALUES (?)", [(1,)])]

    with pytest.raises((sqlite3.Error, psycopg.Error)):
        await database.write(broken, Position(1, 0))

    assert await heights(database) == []
    assert await database.read("SELECT * FROM tx") == []
    assert await database.position() == Position(0, 0)


async def test_a_block_is_never_stored_twice(database):
    await store(database, 1, calls=["a.b"])

    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        await store(database, 1, calls=["a.b"])

    assert await database.read("SELECT tx_total FROM block") == [(1,)]


async def test_undoing_forgets_everything_above(database):
    for height in (1, 2, 3):
        await store(database, height, calls=["a.b", "c.d"])

    await database.write(undo_above(1), Position(1, 0))

    for table in ("block", "tx", "event", "mention"):
        assert {row[0] for row in await database.read(f"SELECT height FROM {table}")} == {1}


async def test_totals_go_on_from_the_parent(database):
    await store(database, 1, calls=["a.b", "c.d"])
    await store(database, 2)
    await store(database, 3, calls=["a.b"])

    assert await database.read("SELECT tx_total FROM block ORDER BY height") == [(2,), (2,), (3,)]


async def test_the_database_of_another_chain_is_emptied(database):
    await store(database, 1)

    assert await database.prepare("bb" * 32) == Position(0, 0)

    assert await heights(database) == []
    assert await database.prepare("bb" * 32) == Position(0, 0)


async def test_a_database_is_adopted_only_where_nothing_would_be_lost(database):
    await store(database, 1)
    await adopt(database, GENESIS)
    assert await heights(database) == [1]

    with pytest.raises(OtherDatabase):
        await adopt(database, "bb" * 32)
    assert await heights(database) == [1]


async def test_an_empty_database_is_adopted(reopen):
    database = reopen()
    assert await database.hold()
    await adopt(database, GENESIS)

    assert await database.marks() == {"genesis": GENESIS, "version": SCHEMA_VERSION, "height": "0", "final": "0"}
    await database.close()


async def test_values_are_never_pasted_into_a_query(database):
    await store(database, 1, calls=["'; DROP TABLE tx; --", "100%?"])

    found = await database.read("SELECT call FROM tx WHERE call = ?", ("100%?",))

    assert found == [("100%?",)]


async def test_an_unprepared_database_has_no_position(reopen):
    database = reopen()

    assert await database.position() == Position(0, 0)
    with pytest.raises(UNREACHABLE):
        await database.read("SELECT * FROM block")
    await database.close()


async def test_of_two_replicas_one_holds_and_the_other_takes_over(postgres_dsn):
    first, second = PostgresDatabase(postgres_dsn), PostgresDatabase(postgres_dsn)
    assert await first.hold()
    await first.prepare(GENESIS)
    await store(first, 1)

    assert not await second.hold()
    assert await second.position() == Position(1, 0)
    with pytest.raises(psycopg.OperationalError):
        await store(second, 2)

    await first.close()
    await wait_hold(second)
    await store(second, 2)
    assert await second.read("SELECT id FROM block ORDER BY height") == [(block_id(1),), (block_id(2),)]
    await second.close()


async def test_who_loses_its_connection_no_longer_writes(postgres_dsn):
    database = PostgresDatabase(postgres_dsn)
    await database.hold()
    await database.prepare(GENESIS)
    with psycopg.connect(postgres_dsn, autocommit=True) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )

    with pytest.raises(UNREACHABLE):
        await store(database, 1)

    assert await database.hold()
    await store(database, 1)
    await database.close()


async def test_a_silent_database_is_said_to_be_unreachable(tmp_path):
    database = open_database(tmp_path, f"host={tmp_path} dbname=nothing connect_timeout=1")

    with pytest.raises(UNREACHABLE):
        await database.hold()
    await database.close()


def test_what_is_no_connection_string_is_refused_without_repeating_it(tmp_path):
    with pytest.raises(BadConnectionString) as refused:
        open_database(tmp_path, "password=secret nonsense")
    assert "secret" not in str(refused.value)


async def wait_hold(database):
    """Until the lock of a connection that was closed is free."""
    async with asyncio.timeout(10):
        while True:
            if await database.hold():
                return
            await asyncio.sleep(0.02)
