"""Providers on a chain: objects survive what happens to those who hold them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from support.loopback import subnet
from support.storage import Shelf, shelf
from theblock_node.client.errors import RefusedError
from theblock_node.client.storage import StorageClient, Stored, cut
from theblock_node.sim.dev_chain import dev_chain

SUBNET = subnet(41)
NAMES = tuple(f"shelf-{at}" for at in range(5))
PARAMS = {"por_deadline_blocks": 200}
"""Time enough for blocks that follow each other at once."""
OBJECT = Random(7).randbytes(2_500_001) + bytes(500_000)


async def put(shelf: Shelf, client: StorageClient, data: bytes, **asked: Any) -> Stored:
    return await shelf.while_blocks(client.put(len(data), lambda: cut(data), **asked))


async def get(client: StorageClient, stored: Stored, key: bytes | None = None) -> bytes:
    pieces = [piece async for piece in client.get(stored.manifest_id, key or stored.content_key)]
    return b"".join(pieces)


async def test_object_is_read_back_while_a_provider_is_dead(tmp_path):
    async with dev_chain(funded=NAMES, params=PARAMS) as dev, shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers:
        client = providers.client(providers[0])
        stored = await put(providers, client, OBJECT)
        assert stored.providers == NAMES[:3]

        await providers[1].kill()

        assert await get(client, stored) == OBJECT
        assert await get(providers.client(providers[2]), stored) == OBJECT


async def test_challenges_are_answered_and_paid(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PARAMS) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET, price_per_block="5000000") as providers,
    ):
        stored = await put(providers, providers.client(providers[0]), OBJECT, retention_blocks=500)
        answers: list[dict[str, Any]] = []

        async def answered() -> bool:
            rows = (await providers.contract(stored.contract_id))["replicas"]
            answers[:] = rows
            return all(int(row["successes"]) >= 2 for row in rows)

        await providers.until_asked(answered)

        assert {row["provider_id"] for row in answers} == set(NAMES[:3])
        assert all(int(row["failures"]) == 0 for row in answers)
        assert int((await providers.contract(stored.contract_id))["contract"]["paid"]) > 0
        assert all(provider.service.details()["proofs_missed"] == 0 for provider in providers)


async def test_restarted_provider_keeps_its_shards(tmp_path):
    async with dev_chain(funded=NAMES, params=PARAMS) as dev, shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers:
        stored = await put(providers, providers.client(providers[0]), OBJECT)
        before = providers[2].service.usage()
        await providers[2].kill()
        await providers[0].kill()

        await providers[2].start()
        providers.introduce()

        assert providers[2].service.usage() == before
        assert await get(providers.client(providers[2]), stored) == OBJECT


async def test_draining_moves_every_slot_to_others(tmp_path):
    async with dev_chain(funded=NAMES, params=PARAMS) as dev, shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers:
        leaving = providers[0]
        stored = await put(providers, providers.client(leaving), OBJECT)
        small = await put(providers, providers.client(leaving), b"small")
        leaving.service.drain(True)
        await providers.set_maintenance(leaving, True)

        await providers.until(lambda: leaving.service.slots_left == 0)

        held = await providers.slots(stored.contract_id)
        assert set(held) == {"shelf-1", "shelf-2"}
        assert sorted(slot for slots in held.values() for slot in slots) == [0, 1, 2]
        row = (await dev.client().query("storage.provider", {"provider_id": leaving.name}))["provider"]
        assert int(row["slots_held"]) == 0
        await leaving.kill()
        other = providers.client(providers[1])
        assert await get(other, stored) == OBJECT
        assert await get(other, small) == b"small"
        with pytest.raises(RefusedError) as refused:
            await providers.client(providers[2]).challenge(bytes.fromhex(stored.contract_id), 0)
        assert refused.value.code == "storage.por_not_due"
