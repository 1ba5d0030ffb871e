"""Providers in trouble: lost slots are placed anew, lost disks refilled, and bad input is refused by name."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from support.loopback import subnet
from support.storage import Shelf, shelf
from theblock_node.client.channel import open_channel
from theblock_node.client.errors import RefusedError, translate
from theblock_node.client.storage import StorageClient, Stored, cut
from theblock_node.core.proofs import retrieval
from theblock_node.pb.theblock.v1 import storage_pb2 as pb
from theblock_node.pb.theblock.v1 import storage_pb2_grpc
from theblock_node.services.storage.files import open_files
from theblock_node.sim.dev_chain import dev_chain

SUBNET = subnet(41)
NAMES = tuple(f"shelf-{at}" for at in range(4))
PATIENT = {"por_deadline_blocks": 400}
STRICT = {"por_deadline_blocks": 80, "por_misses_max": 1}
"""One silence and the slots are lost; the living have seconds to answer."""
OBJECT = Random(11).randbytes(1_300_000)


async def put(shelf: Shelf, client: StorageClient, data: bytes = OBJECT, **asked: Any) -> Stored:
    return await shelf.while_blocks(client.put(len(data), lambda: cut(data), **asked))


async def get(client: StorageClient, stored: Stored) -> bytes:
    return b"".join([piece async for piece in client.get(stored.manifest_id, stored.content_key)])


def spoil(folder: Path) -> int:
    """Turn a byte in every shard of a stopped or running provider; returns how many."""
    paths = list((folder / "shards").glob("??/*"))
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    return len(paths)


@pytest.mark.slow
async def test_slots_of_a_dead_provider_are_rebuilt_at_a_living_one(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=STRICT) as dev,
        shelf(dev, tmp_path, count=4, subnet=SUBNET, policy="default") as providers,
    ):
        stored = await put(providers, providers.client(providers[0]))
        dead = next(provider for provider in providers if provider.name in stored.providers)
        spare = next(provider for provider in providers if provider.name not in stored.providers)
        await dead.kill()

        async def is_repaired() -> bool:
            return spare.name in await providers.slots(stored.contract_id)

        await providers.until_asked(is_repaired)

        held = await providers.slots(stored.contract_id)
        assert dead.name not in held
        assert sorted(slot for slots in held.values() for slot in slots) == [0, 1, 2]
        assert await get(providers.client(spare), stored) == OBJECT


@pytest.mark.slow
async def test_provider_that_was_away_too_long_takes_its_slots_back(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=STRICT) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET, policy="default") as providers,
    ):
        stored = await put(providers, providers.client(providers[0]))
        await providers.until(lambda: all(provider.service.slots_left == 1 for provider in providers))
        away = providers[2]
        await away.kill()

        async def is_lost() -> bool:
            return away.name not in await providers.slots(stored.contract_id)

        await providers.until_asked(is_lost)
        await providers.until(lambda: providers[0].service.details()["lost"] == 1)
        await away.start()
        providers.introduce()

        async def is_back() -> bool:
            return not await is_lost()

        await providers.until_asked(is_back)
        assert await get(providers.client(away), stored) == OBJECT


async def test_empty_volume_is_filled_again_from_the_others(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers,
    ):
        stored = await put(providers, providers.client(providers[0]))
        before = providers[1].service.usage()
        await providers[1].kill()
        shutil.rmtree(providers[1].folder)

        await providers[1].start()
        providers.introduce()
        await providers.until(lambda: providers[1].service.usage() == before)

        await providers[0].kill()
        assert await get(providers.client(providers[1]), stored) == OBJECT


async def test_spoiled_shards_are_noticed_and_rebuilt(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers,
    ):
        stored = await put(providers, providers.client(providers[0]))
        before = providers[1].service.usage()
        assert spoil(providers[1].folder) == before.shards > 0

        assert await get(providers.client(providers[1]), stored) == OBJECT
        await providers.until(lambda: providers[1].service.usage() == before)

        files = open_files(providers[1].folder, capacity_bytes=2**30)
        names = [path.name for path in (providers[1].folder / "shards").glob("??/*")]
        for name in names:
            assert files.read(bytes.fromhex(name))
        files.close()
        assert len(names) == before.shards


async def test_with_too_many_dead_reading_is_refused_and_not_wrong(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers,
    ):
        stored = await put(providers, providers.client(providers[0]))
        await providers[1].kill()
        await providers[2].kill()

        with pytest.raises(RefusedError) as refused:
            await get(providers.client(providers[0]), stored)

        assert refused.value.code == "storage.unrecoverable"


async def test_provider_that_is_not_there_is_replaced_while_putting(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=4, subnet=SUBNET, policy="default") as providers,
    ):
        client = providers.client(providers[0])
        await providers[3].kill()

        for _ in range(3):
            stored = await put(providers, client)
            assert "shelf-3" not in stored.providers
            assert await get(client, stored) == OBJECT

        with pytest.raises(RefusedError) as refused:
            await put(providers, client, data_shards=3, parity_shards=1)
        assert refused.value.code == "storage.insufficient_providers"


async def test_broken_upload_leaves_nothing_behind(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET) as providers,
    ):
        client = providers.client(providers[0])

        for size in (len(OBJECT) - 1, len(OBJECT) + 1):
            with pytest.raises(RefusedError) as refused:
                await client.put(size, lambda: cut(OBJECT))
            assert refused.value.code == "storage.bad_size"

        assert list((providers[0].folder / "uploads").iterdir()) == []
        assert [provider.service.usage().used_bytes for provider in providers] == [0, 0, 0]


async def test_resource_placement_keeps_to_its_own_members(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET, placement="Resource") as providers,
    ):
        providers[2].resource = "attic"
        providers.introduce()

        stored = await put(providers, providers.client(providers[0]))

        assert set(stored.providers) == {"shelf-0", "shelf-1"}


async def test_deposit_is_refused_before_any_byte_moves(tmp_path):
    async with (
        dev_chain(funded=("shelf-1", "shelf-2"), params=PATIENT) as dev,
        shelf(dev, tmp_path, count=3, subnet=SUBNET, price_per_block="1000000") as providers,
    ):
        with pytest.raises(RefusedError) as refused:
            await put(providers, providers.client(providers[0]))

        assert refused.value.code == "storage.escrow_insufficient"
        assert [provider.service.usage().used_bytes for provider in providers] == [0, 0, 0]


def _header(**fields: int) -> pb.PutRequest:
    return pb.PutRequest(header=pb.PutHeader(**fields))


ID = bytes(32)
GOOD = retrieval.shard_id(0, b"x")
SHARD = {"upload_id": ID, "chunk": 0, "slot": 0, "shard_id": GOOD, "data": b"x"}
CASES = [
    ("Put", [], "codec.value"),
    ("Put", [pb.PutRequest(chunk=b"x")], "codec.value"),
    ("Put", [_header(size=0)], "storage.bad_size"),
    ("Put", [_header(size=1)], "storage.bad_size"),
    ("Put", [_header(size=1), pb.PutRequest(chunk=b"xx")], "storage.bad_size"),
    ("Put", [_header(size=2), pb.PutRequest(chunk=b"x"), _header(size=1)], "codec.value"),
    ("Put", [_header(size=1, data_shards=200, parity_shards=56)], "storage.layout_forbidden"),
    ("Put", [_header(size=2**20 + 1), pb.PutRequest(chunk=bytes(2**20 + 1))], "storage.too_large"),
    ("Put", [_header(size=2**60)], "storage.too_large"),
    ("Get", pb.GetRequest(manifest_id=b"short", content_key=ID), "codec.value"),
    ("Get", pb.GetRequest(manifest_id=ID, content_key=ID), "storage.unknown_manifest"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "upload_id": b"short"}), "codec.value"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "shard_id": b""}), "codec.value"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "shard_id": ID}), "storage.shard_mismatch"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "slot": 1}), "storage.shard_mismatch"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "slot": 255}), "storage.manifest_slots"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "chunk": 65_536}), "storage.manifest_slots"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "data": b""}), "storage.too_large"),
    ("PutShard", pb.PutShardRequest(**{**SHARD, "data": bytes(4 * 2**20 + 1)}), "storage.too_large"),
    ("SealReplica", pb.SealReplicaRequest(upload_id=ID, manifest=b"", slots=[0]), "codec."),
    ("SealReplica", pb.SealReplicaRequest(upload_id=b"", manifest=b"x", slots=[0]), "codec.value"),
    ("GetShard", pb.GetShardRequest(shard_id=b"x"), "codec.value"),
    ("GetShard", pb.GetShardRequest(shard_id=ID), "storage.unknown_shard"),
    ("DropShard", pb.DropShardRequest(upload_id=b"", shard_id=ID), "codec.value"),
    ("GetManifest", pb.GetManifestRequest(manifest_id=b"x"), "codec.value"),
    ("GetManifest", pb.GetManifestRequest(manifest_id=ID), "storage.unknown_manifest"),
    ("Challenge", pb.ChallengeRequest(contract_id=b"x", epoch=1), "codec.value"),
    ("Challenge", pb.ChallengeRequest(contract_id=ID, epoch=1), "storage.por_not_due"),
]
MEMBERS_ONLY = ("PutShard", "SealReplica", "GetShard", "DropShard")


async def refusal(channel: grpc.aio.Channel, method: str, request: Any) -> str:
    """The code with which a call is refused."""
    stub = storage_pb2_grpc.StorageStub(channel)

    async def requests() -> AsyncIterator[Any]:
        for part in request:
            yield part

    try:
        if method == "Put":
            await stub.Put(requests(), timeout=20)
        elif method == "Get":
            async for _ in stub.Get(request, timeout=20):
                pass
        else:
            await getattr(stub, method)(request, timeout=20)
    except grpc.RpcError as failed:
        refused = translate(failed)
        return refused.code if isinstance(refused, RefusedError) else str(refused)
    return ""


async def test_bad_input_is_refused_by_name(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=1, subnet=SUBNET) as providers,
    ):
        provider = providers[0]
        mutual = open_channel(provider.neighbour.endpoint, providers.authority.client(provider.certificate))
        public = open_channel(provider.neighbour.endpoint, providers.public)
        wrong = []
        for method, request, code in CASES:
            got = await refusal(mutual, method, request)
            if not got.startswith(code):
                wrong.append((method, str(request)[:80], got, code))
            if method in MEMBERS_ONLY:
                assert await refusal(public, method, request) == "rpc.members_only"
        await mutual.close()
        await public.close()

        assert wrong == []
        assert provider.service.usage().shards == 0


async def test_members_of_another_network_are_strangers(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=1, subnet=SUBNET) as providers,
    ):
        folder = providers.authority.issue("stranger", "127.0.0.1", network="other")
        channel = open_channel(providers[0].neighbour.endpoint, providers.authority.client(folder))
        assert await refusal(channel, "GetShard", pb.GetShardRequest(shard_id=ID)) == "rpc.members_only"
        await channel.close()


async def test_what_the_chain_counts_on_is_not_dropped_and_only_the_key_opens(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=2, subnet=SUBNET) as providers,
    ):
        provider = providers[0]
        client = providers.client(provider)
        stored = await put(providers, client)
        member = providers.client(provider, providers.authority.client(provider.certificate))
        name = next((provider.folder / "shards").glob("??/*")).name
        contract = (await providers.contract(stored.contract_id))["contract"]

        with pytest.raises(RefusedError) as refused:
            await member.drop_shard(bytes.fromhex(contract["shards_root"]), bytes.fromhex(name))
        assert refused.value.code == "storage.shard_anchored"

        for key in (bytes(32), b"short"):
            with pytest.raises(RefusedError) as refused:
                [piece async for piece in client.get(stored.manifest_id, key)]
            assert refused.value.code == "storage.bad_key"


async def test_released_object_is_kept_for_a_while_and_then_forgotten(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=2, subnet=SUBNET) as providers,
    ):
        client = providers.client(providers[0])
        stored = await put(providers, client)
        await providers.until(lambda: all(provider.service.slots_left for provider in providers))
        release = {"contract_id": stored.contract_id}
        await providers.while_blocks(
            dev.client().call(dev.wallet("shelf-0"), "storage.release_manifest", release, final=True)
        )
        await providers.until(lambda: all(provider.service.slots_left == 0 for provider in providers))

        assert await get(client, stored) == OBJECT
        dev.clock.advance(3_700_000)
        dev.produce(1030)
        await providers.until(lambda: not any(provider.service.usage().shards for provider in providers))

        with pytest.raises(RefusedError) as refused:
            await get(client, stored)
        assert refused.value.code == "storage.unknown_manifest"


async def test_draining_provider_takes_nothing_new(tmp_path):
    async with (
        dev_chain(funded=NAMES, params=PATIENT) as dev,
        shelf(dev, tmp_path, count=1, subnet=SUBNET) as providers,
    ):
        provider = providers[0]
        provider.service.drain(True)
        member = providers.client(provider, providers.authority.client(provider.certificate))

        for attempt in (
            lambda: member.put_shard(ID, 0, 0, GOOD, b"x"),
            lambda: member.seal_replica(ID, b"x", [0]),
            lambda: member.put(1, lambda: [b"x"]),
        ):
            with pytest.raises(RefusedError) as refused:
                await attempt()
            assert refused.value.code == "storage.provider_closed"
        provider.service.drain(False)
        await asyncio.wait_for(member.put_shard(ID, 0, 0, GOOD, b"x"), 20)
