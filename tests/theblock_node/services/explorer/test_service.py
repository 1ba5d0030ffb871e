"""Following the chain: nothing lost, nothing doubled, and no mixture of branches, over both databases."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import psycopg
import pytest
from support.explorer import ToldChain, block_id, make_block
from theblock_node.services.explorer import service
from theblock_node.services.explorer.database import Position, PostgresDatabase
from theblock_node.services.explorer.service import Follower, Reverted


@pytest.fixture(autouse=True)
def without_waits(monkeypatch):
    monkeypatch.setattr(service, "BACK_OFF_S", (0.01,))
    monkeypatch.setattr(service, "STANDBY_S", 0.01)


@asynccontextmanager
async def following(source, database):
    follower = Follower(source, database)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wait_until(condition):
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def stored(database):
    return [row[0] for row in await database.read("SELECT id FROM block ORDER BY height")]


def ids(*heights, branch="a"):
    return [block_id(height, branch) for height in heights]


async def test_blocks_are_copied_as_they_come(database):
    chain = ToldChain([make_block(1), make_block(2, calls=["a.b"])])

    async with following(chain, database) as follower:
        chain.tell(make_block(3, final=2))
        await wait_until(lambda: follower.height == 3)

        assert await stored(database) == ids(1, 2, 3)
        assert follower.position == Position(3, 2) == await database.position()
        assert follower.is_serving


async def test_a_reverted_branch_is_replaced(database):
    chain = ToldChain([make_block(height, calls=["a.b"]) for height in (1, 2, 3)])

    async with following(chain, database) as follower:
        await wait_until(lambda: follower.height == 3)
        chain.tell(Reverted(1))
        chain.tell(make_block(2, branch="b"))
        await wait_until(lambda: follower.height == 2)

        assert await stored(database) == [*ids(1), *ids(2, branch="b")]
        assert {row[0] for row in await database.read("SELECT height FROM tx")} == {1}


async def test_a_branch_that_changed_while_nobody_listened_is_noticed(database):
    chain = ToldChain([make_block(1), make_block(2, final=1), make_block(3), make_block(4)])
    async with following(chain, database) as follower:
        await wait_until(lambda: follower.height == 4)
        chain.blocks[2:] = [make_block(3, branch="b"), make_block(4, branch="b"), make_block(5, branch="b")]

        chain.cut()
        await wait_until(lambda: follower.height == 5)

        assert chain.asked == [0, 1]
        assert await stored(database) == [*ids(1, 2), *ids(3, 4, 5, branch="b")]


async def test_a_restart_goes_on_from_the_last_final_block_and_doubles_nothing(database, reopen):
    chain = ToldChain(
        [make_block(1, calls=["a.b"]), make_block(2, final=1, calls=["a.b"]), make_block(3, calls=["a.b"])]
    )
    async with following(chain, database) as follower:
        await wait_until(lambda: follower.height == 3)
    await database.close()

    again = reopen()
    chain.blocks.append(make_block(4, calls=["a.b"]))
    async with following(chain, again) as follower:
        await wait_until(lambda: follower.height == 4)
        assert chain.asked == [0, 1]
        assert await again.read("SELECT COUNT(*), MAX(tx_total) FROM block") == [(4, 4)]
        assert await again.read("SELECT COUNT(*) FROM tx") == [(4,)]
    await again.close()


async def test_every_cut_of_a_stream_ends_in_the_same_rows(database):
    """Wherever streams are cut and branches change, the database is what one look at the last branch gives."""
    final = [make_block(1, calls=["a.b"]), make_block(2, calls=["a.b"], final=1)]
    branches = [
        [*final, *(make_block(height, branch=name, calls=["a.b"] * at) for height in range(3, 4 + at))]
        for at, name in enumerate("abcdeabcde", start=1)
    ]
    chain = ToldChain(branches[0])
    async with following(chain, database) as follower:
        for branch in branches:
            chain.blocks[:] = branch
            asked = len(chain.asked)
            chain.cut()
            await wait_until(lambda asked=asked: len(chain.asked) > asked)
            chain.tell(make_block(len(branch) + 1, branch="z"))
            await wait_until(lambda branch=branch: follower.height == len(branch) + 1)
            assert (await stored(database))[:-1] == [block.id for block in branch]

    last = branches[-1]
    assert await database.read("SELECT MAX(tx_total), COUNT(*) FROM block") == [
        (sum(len(block.txs) for block in last), len(last) + 1)
    ]
    assert {row[0] for row in await database.read("SELECT id FROM tx")} == {tx.id for b in last for tx in b.txs}


async def test_blocks_that_nobody_keeps_leave_a_gap(database):
    chain = ToldChain([make_block(1), make_block(7), make_block(8)])

    async with following(chain, database) as follower:
        await wait_until(lambda: follower.height == 8)

        assert await stored(database) == ids(1, 7, 8)


async def test_news_reach_who_waits_and_who_is_late(database):
    chain = ToldChain([])
    async with following(chain, database) as follower:
        await wait_until(lambda: chain.asked)
        waiting = asyncio.create_task(follower.wait_news(0, 10))
        await asyncio.sleep(0)
        chain.tell(make_block(1))

        (first,) = await waiting
        chain.tell(Reverted(0))
        await wait_until(lambda: follower.told == 2)

        assert json.loads(first[1])["height"] == 1
        assert [json.loads(text)["kind"] for _, text in await follower.wait_news(0, 10)] == ["block", "reverted"]
        assert await follower.wait_news(2, 0.01) == []


async def test_a_second_replica_shows_what_the_first_one_stores(postgres_dsn):
    chain, idle = ToldChain([make_block(1)]), ToldChain([])
    first, second = PostgresDatabase(postgres_dsn), PostgresDatabase(postgres_dsn)
    async with following(chain, first) as writer:
        await wait_until(lambda: writer.height == 1)
        async with following(idle, second) as reader:
            await wait_until(lambda: reader.height == 1)
            chain.tell(make_block(2))
            await wait_until(lambda: reader.height == 2)
            chain.tell(Reverted(1))
            await wait_until(lambda: reader.height == 1)

            assert (writer.is_writer, reader.is_writer) == (True, False)
            assert idle.asked == []
    await first.close()
    await second.close()


async def test_a_lost_connection_is_made_anew_and_nothing_is_lost(postgres_dsn):
    chain, database = ToldChain([make_block(1)]), PostgresDatabase(postgres_dsn)
    async with following(chain, database) as follower:
        await wait_until(lambda: follower.height == 1)
        with psycopg.connect(postgres_dsn, autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        chain.blocks.append(make_block(2))
        chain.tell(make_block(2))
        await wait_until(lambda: follower.height == 2)

        assert await stored(database) == ids(1, 2)
        assert follower.is_writer
    await database.close()
