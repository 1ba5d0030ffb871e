"""The relayer on a chain: it submits what the source has, shares the work, and stops at forged headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from support.headers import START_TIME, bitcoin_chain, hash_of, mine_bitcoin, real_headers
from theblock_node.client.chain import Committed
from theblock_node.config import BridgeSettings, BridgeSource
from theblock_node.services.bridge.headers import Packed, Source, open_dataset
from theblock_node.services.bridge.service import BridgeService
from theblock_node.sim.dev_chain import DevChain, dev_chain

WAIT_S = 30
BOND = str(50 * 10**9)


def settings(chain_id: str = "bitcoin", members: int = 1) -> BridgeSettings:
    return BridgeSettings(asset="wBTC", chain_id=chain_id, profile="bitcoin/1", source=BridgeSource(), members=members)


async def begin(dev: DevChain, *, members: int = 1, chain_id: str = "bitcoin", checkpoint: Any = None) -> None:
    client, owner = dev.client(), dev.wallet("owner")
    for ordinal in range(members):
        await client.call(
            owner,
            "bridge.register_relayer",
            {
                "relayer": f"btc-{ordinal}",
                "member_key": dev.wallet(f"btc-{ordinal}").public_key.hex(),
                "asset": "wBTC",
                "bond": BOND,
            },
        )
    start = {"chain_id": chain_id, "profile": "bitcoin/1", "checkpoint": checkpoint}
    await client.call(owner, "bridge.start_light_client", start, final=True)


@asynccontextmanager
async def running(
    dev: DevChain, source: Source, given: BridgeSettings, ordinal: int = 0
) -> AsyncIterator[BridgeService]:
    client = dev.client()
    service = BridgeService(
        settings=given, ordinal=ordinal, chain=client, wallet=dev.wallet(f"btc-{ordinal}"), source=source,
        clock=dev.clock,
    )  # fmt: skip

    async def follow() -> None:
        async for news in client.events(0, final=True):
            if isinstance(news, Committed):
                service.take(news)

    tasks = [asyncio.create_task(service.run()), asyncio.create_task(follow())]
    try:
        yield service
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(dev: DevChain, is_so: Callable[[], bool]) -> None:
    """Make blocks until it is so: the relayer acts on final ones."""
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            dev.produce()
            await asyncio.sleep(0.02)


async def test_every_header_of_the_source_is_submitted():
    async with dev_chain(funded=("btc-0",), instant=True) as dev:
        await begin(dev)
        async with running(dev, open_dataset("bitcoin-main-1-1111"), settings()) as service:
            await until(dev, lambda: service.state == "exhausted")

            assert service.details() == {
                "state": "exhausted",
                "tip_height": 1111,
                "best_hash": hash_of(real_headers()[-1]).hex(),
                "lag": 0,
                "last_reorg_depth": 0,
                "refusal": "",
                "pending": 0,
            }


async def test_members_share_the_work():
    async with dev_chain(funded=("btc-0", "btc-1"), instant=True) as dev:
        await begin(dev, members=2)
        source, given = open_dataset("bitcoin-main-1-1111"), settings(members=2)
        async with running(dev, source, given) as first, running(dev, source, given, 1) as second:
            await until(dev, lambda: first.state == second.state == "exhausted")

        rows = (await dev.client().query("bridge.relayers", {}))["relayers"]
        counts = {row["relayer"]: int(row["headers_submitted"]) for row in rows}
        assert sum(counts.values()) == 1111
        assert min(counts.values()) > 400


async def test_forged_header_marks_the_source_bad_and_is_never_submitted():
    headers = real_headers()[:20]
    forged = headers[9][:-1] + bytes([headers[9][-1] ^ 1])
    good = open_dataset("bitcoin-main-1-1111").rows[0]
    async with dev_chain(funded=("btc-0",), instant=True) as dev:
        await begin(dev)
        async with running(dev, Packed(0, (good, *headers[:9], forged)), settings()) as service:
            await until(dev, lambda: service.state == "refused")

            assert service.details()["refusal"] == "bridge.bad_pow"
        account = await dev.client().account(dev.wallet("btc-0").address)
        assert account.nonce == 0


async def test_source_that_goes_another_way_is_followed_when_it_has_more_work():
    trunk = list(islice(bitcoin_chain(), 6))
    branch = list(islice(bitcoin_chain(spacing=500, start=trunk[2], time=START_TIME + 1200), 150))
    async with dev_chain(funded=("btc-0",), instant=True) as dev:
        await begin(dev, chain_id="own", checkpoint={"height": "0", "hash": hash_of(trunk[0]).hex()})
        async with running(dev, Packed(0, trunk), settings("own")) as service:
            await until(dev, lambda: service.state == "exhausted")
        async with running(dev, Packed(0, (*trunk[:3], *branch)), settings("own")) as service:
            await until(dev, lambda: service.state == "exhausted")

            assert service.details()["best_hash"] == hash_of(branch[-1]).hex()
            assert service.details()["last_reorg_depth"] == 3


async def test_light_client_that_began_elsewhere_is_not_fed():
    other = mine_bitcoin(bytes(32), START_TIME + 1)
    async with dev_chain(funded=("btc-0",), instant=True) as dev:
        await begin(dev, chain_id="own", checkpoint={"height": "0", "hash": hash_of(other).hex()})
        async with running(dev, Packed(0, list(islice(bitcoin_chain(), 3))), settings("own")) as service:
            await until(dev, lambda: service.state == "refused")

            assert service.details()["refusal"] == "bridge.checkpoint_mismatch"
