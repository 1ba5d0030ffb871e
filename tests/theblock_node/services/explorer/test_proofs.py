"""The history of compute jobs in the database: whole, once, judged here, and gone on with after every cut."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager

import psycopg
import pytest
from support.explorer import CIRCUIT, GENESIS, ToldChain, ToldHistory, make_block, make_bundle, make_entry
from theblock_node.core import codec
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.services.explorer import proofs
from theblock_node.services.explorer.database import Position
from theblock_node.services.explorer.proofs import Cursor, Keeper, Keys, advance, copy_history, has_more, judge
from theblock_node.services.explorer.service import Follower

TABLES = ("compute_sla_history", "compute_sla_proofs", "snark_proofs", "meta")


async def copy(chain, database, limit=10):
    return await copy_history(chain, database, Keys(chain), limit)


async def rows_of(database):
    return {table: await database.read(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}


async def sequences(database, table="compute_sla_history"):
    return [row[0] for row in await database.read(f"SELECT sequence FROM {table} ORDER BY sequence")]


def parse(**bundle) -> ProofBundle:
    return codec.from_json(ProofBundle, make_bundle(**bundle))


async def test_rows_are_the_chains_resolutions_and_bundles(database):
    chain = ToldHistory([make_entry(1), make_entry(2, backend="GPU", latency_ms=9)])

    assert await copy(chain, database) == proofs.Copied(2, 1, 2)

    history = await database.read("SELECT * FROM compute_sla_history ORDER BY sequence")
    assert history[0][:7] == (1, f"{0:064x}", 1, "gpu-0", chain.entries[0]["buyer"], "VIOLATED", "DEADLINE_MISSED")
    assert history[1][5:] == ("COMPLETED", "NONE", "0", "0", "18446744073709551615", 600, 102)
    ((stored,),) = await database.read("SELECT bundles FROM compute_sla_proofs")
    (bundle,) = codec.decode_as(tuple[ProofBundle, ...], bytes(stored))
    assert codec.to_json(bundle) == chain.entries[1]["bundle"]
    assert await database.read("SELECT * FROM snark_proofs") == [(f"{0:064x}", 1)]


async def test_copying_twice_changes_nothing(database):
    chain = ToldHistory([make_entry(at, **({"latency_ms": at} if at % 2 else {})) for at in range(1, 30)])
    await copy(chain, database)
    before = await rows_of(database)

    assert await copy(chain, database) == proofs.Copied(0, 0, 29)
    assert await rows_of(database) == before
    await database.write([proofs.Statement("DELETE FROM meta WHERE name = ?", [(proofs.CURSOR,)])], None)
    assert (await copy(chain, database)).entries == 29
    assert await rows_of(database) == before


@pytest.mark.parametrize("page_max", [1, 3, 256])
async def test_only_what_is_new_is_read(database, page_max):
    chain = ToldHistory([make_entry(at) for at in range(1, 21)], page_max)
    await copy(chain, database)
    chain.entries += [make_entry(at) for at in range(21, 25)]
    chain.asked.clear()
    await copy(chain, database)

    assert await sequences(database) == list(range(1, 25))
    assert len(chain.asked) == max(1, -(-4 // min(page_max, 10)))


@pytest.mark.parametrize("pages", range(7))
async def test_a_walk_that_was_cut_goes_on_where_it_was(database, reopen, pages):
    chain = ToldHistory([make_entry(at, latency_ms=at) for at in range(1, 21)], page_max=3)
    chain.fails_after = pages
    with pytest.raises(ConnectionError):
        await copy(chain, database)
    assert await sequences(database) == list(range(21 - 3 * pages, 21))
    # What is settled meanwhile is copied by the next walk.
    chain.entries += [make_entry(21, latency_ms=21), make_entry(22)]
    chain.fails_after = None
    asked = len(chain.asked)
    for _ in range(2):
        await copy(chain, database)

    assert await sequences(database) == list(range(1, 23))
    assert await sequences(database, "compute_sla_proofs") == list(range(1, 22))
    assert chain.asked[asked] == (0 if pages == 0 else 21 - 3 * pages)


async def test_a_history_that_begins_later_is_copied_to_its_end(database):
    chain = ToldHistory([make_entry(at) for at in range(500, 520)], page_max=7)

    assert (await copy(chain, database)).mark == 519
    assert await sequences(database) == list(range(500, 520))


async def test_one_entry_says_whether_there_is_more(database):
    chain = ToldHistory([make_entry(at) for at in range(1, 9)], page_max=3)
    assert await has_more(chain, database)
    chain.fails_after = 2
    with pytest.raises(ConnectionError):
        await copy(chain, database)
    chain.fails_after = None
    # A walk was cut, and nothing is younger than its first page.
    assert await has_more(chain, database)
    await copy(chain, database)

    assert not await has_more(chain, database)
    assert not await has_more(ToldHistory([]), database)


@pytest.mark.parametrize(
    ("cursor", "page", "before", "then"),
    [
        pytest.param(Cursor(), [], 0, Cursor(), id="nothing-yet"),
        pytest.param(Cursor(), [3, 2, 1], 0, Cursor(3), id="all-at-once"),
        pytest.param(Cursor(), [9, 8], 8, Cursor(0, 9, 8), id="a-first-page"),
        pytest.param(Cursor(0, 9, 8), [7, 6], 6, Cursor(0, 9, 6), id="a-second-page"),
        pytest.param(Cursor(5, 9, 8), [7, 6], 6, Cursor(9), id="down-to-what-is-known"),
        pytest.param(Cursor(5), [5, 4], 4, Cursor(5), id="nothing-new"),
        pytest.param(Cursor(5), [], 0, Cursor(5), id="all-forgotten"),
    ],
)
def test_where_a_walk_goes_on(cursor, page, before, then):
    assert advance(cursor, page, before) == then


async def test_a_failed_write_leaves_page_and_place_as_they_were(database, monkeypatch):
    chain = ToldHistory([make_entry(1, latency_ms=1)])
    monkeypatch.setattr(proofs, "PROOFS", (*proofs.PROOFS, "nothing"))
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        await copy(chain, database)
    monkeypatch.undo()

    assert await sequences(database) == []
    assert await proofs.read_cursor(database) == Cursor()


async def test_copying_moves_no_height(database):
    await database.write([], Position(7, 5))
    await copy(ToldHistory([make_entry(1)]), database)

    assert await database.position() == Position(7, 5)


async def test_another_chain_s_history_is_forgotten(database):
    await copy(ToldHistory([make_entry(1, latency_ms=1)]), database)
    await database.prepare("bb" * 32)

    assert await sequences(database) == []
    assert await database.read("SELECT * FROM snark_proofs") == []
    assert await proofs.read_cursor(database) == Cursor()
    await database.prepare(GENESIS)


async def test_a_proof_is_judged_with_the_key_that_the_chain_has(database):
    chain = ToldHistory(
        [make_entry(4, latency_ms=1), make_entry(5, latency_ms=2, valid=False), make_entry(8, latency_ms=3)]
    )
    chain.entries[2]["bundle"]["circuit_hash"] = "ee" * 32
    await copy(chain, database)
    found = await proofs.read_proofs(database, before=2**62, limit=10)

    assert [row["verdict"] for row in found["items"]] == ["compute.circuit_unknown", "snark.invalid_proof", ""]
    assert await database.read("SELECT verified FROM snark_proofs ORDER BY job_id") == [(0,), (0,)]
    of_job = await proofs.read_proofs(database, before=2**62, limit=10, job_id=f"{1:064x}")
    assert [row["sequence"] for row in of_job["items"]] == [5, 4]
    assert (of_job["items"][0]["height"], of_job["items"][0]["index"]) == (105, 1)


async def test_a_proof_of_another_key_is_no_proof():
    key = await Keys(ToldHistory([])).find(CIRCUIT)
    assert key is not None

    assert judge(parse(), key) == ""
    assert judge(parse(), proofs.Key(bytes(32), key.verifying_key)) == "snark.key_not_registered"
    assert judge(parse(), None) == "compute.circuit_unknown"


async def test_history_is_paged_from_the_youngest_with_its_proofs(database):
    await copy(ToldHistory([make_entry(at, **({"latency_ms": at} if at == 2 else {})) for at in (1, 2, 3)]), database)
    page = await proofs.read_history(database, before=2**62, limit=2)
    rest = await proofs.read_history(database, before=int(page["next"]), limit=2)

    assert [row["sequence"] for row in (*page["items"], *rest["items"])] == [3, 2, 1]
    assert rest["next"] is None
    assert page["items"][0]["proofs"] == []
    (proof,) = page["items"][1]["proofs"]
    assert (proof["verified"], proof["public_inputs"], proof["artifact"]["generated_at"]) == (True, ["35"], "7")
    assert proof["fingerprint"] == "89555c40efe338b45447647fddd2129bb706f210e3de79aa198fbf2e5f351cca"
    assert len(proof["proof"]) == 256


@asynccontextmanager
async def keeping(chain, database, blocks):
    """The explorer's follower and keeper at work."""
    source = ToldChain(blocks)
    follower = Follower(source, database)
    tasks = [asyncio.create_task(work) for work in (follower.run(), Keeper(chain, database, follower).run())]
    try:
        yield source, follower
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_copied(database, wanted):
    async with asyncio.timeout(10):
        while True:
            if await sequences(database) == wanted:
                return
            await asyncio.sleep(0.01)


async def test_the_explorer_copies_whenever_something_becomes_final(database):
    chain = ToldHistory([make_entry(1)])
    async with keeping(chain, database, [make_block(1), make_block(2, final=1)]) as (source, follower):
        await wait_copied(database, [1])
        chain.entries.append(make_entry(2, latency_ms=5))
        asked = len(chain.asked)
        told = follower.told
        source.tell(make_block(3))
        await follower.wait_news(told, 10)
        assert len(chain.asked) == asked

        source.tell(make_block(4, final=3))
        await wait_copied(database, [1, 2])
        news = await follower.wait_news(told, 10)

    assert any('"kind": "proofs"' in text for _, text in news)


async def test_the_explorer_goes_on_when_the_chain_answers_again(database):
    chain = ToldHistory([make_entry(1)])
    chain.fails_after = 0
    async with keeping(chain, database, [make_block(1, final=1)]) as (source, follower):
        told = follower.told
        await follower.wait_news(told, 10)
        chain.fails_after = None
        source.tell(make_block(2, final=1))
        await wait_copied(database, [1])
