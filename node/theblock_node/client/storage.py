"""Objects and shards of storage providers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from theblock_node.client.channel import Channels, ClientTls, Endpoint
from theblock_node.pb.theblock.v1 import storage_pb2, storage_pb2_grpc

CHUNK_BYTES = 256 * 1024
SHARD_DEADLINE_S = 60.0
GET_DEADLINE_S = 30.0
OBJECT_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is anchored, and final."""

    manifest_id: str
    contract_id: str
    content_key: bytes
    """The only key that opens it."""
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    used_bytes: int
    capacity_bytes: int
    shards: int


@dataclass(frozen=True, slots=True)
class Seal:
    """A provider's signature that it holds its slots of an object."""

    signature: bytes
    size: int


def cut(data: bytes, size: int = CHUNK_BYTES) -> Iterable[bytes]:
    """``data`` in pieces of ``size``."""
    return (data[at : at + size] for at in range(0, len(data), size))


class StorageClient:
    """Talks to one provider, or to whichever of several answers."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        tls: ClientTls | None,
        *,
        names: Callable[[Endpoint], str | None] = lambda _endpoint: None,
    ) -> None:
        self.channels = Channels(endpoints, tls, names=names)

    async def close(self) -> None:
        await self.channels.close()

    async def put(
        self,
        size: int,
        pieces: Callable[[], Iterable[bytes]],
        *,
        data_shards: int = 0,
        parity_shards: int = 0,
        retention_blocks: int = 0,
        deadline_s: float = OBJECT_DEADLINE_S,
    ) -> Stored:
        """Store an object; ``pieces`` is called anew where another endpoint is tried. Zeros are the provider's own."""
        header = storage_pb2.PutHeader(
            size=size, data_shards=data_shards, parity_shards=parity_shards, retention_blocks=retention_blocks
        )

        async def requests() -> AsyncIterator[storage_pb2.PutRequest]:
            yield storage_pb2.PutRequest(header=header)
            for piece in pieces():
                yield storage_pb2.PutRequest(chunk=piece)

        got = await self.channels.call(
            lambda channel, timeout: storage_pb2_grpc.StorageStub(channel).Put(requests(), timeout=timeout),
            deadline_s=deadline_s,
        )
        return Stored(got.manifest_id.hex(), got.contract_id.hex(), bytes(got.content_key), tuple(got.providers))

    async def get(
        self, manifest_id: str, content_key: bytes, *, deadline_s: float = OBJECT_DEADLINE_S
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of an object, in order; `UnavailableError` in the middle means to begin again."""
        request = storage_pb2.GetRequest(manifest_id=bytes.fromhex(manifest_id), content_key=content_key)
        async for got in self.channels.stream(
            lambda channel: storage_pb2_grpc.StorageStub(channel).Get(request, timeout=deadline_s)
        ):
            yield got.chunk

    async def put_shard(self, upload_id: bytes, chunk: int, slot: int, shard_id: bytes, data: bytes) -> None:
        asked = storage_pb2.PutShardRequest(upload_id=upload_id, chunk=chunk, slot=slot, shard_id=shard_id, data=data)
        await self._ask("PutShard", asked, SHARD_DEADLINE_S)

    async def seal_replica(self, upload_id: bytes, manifest: bytes, slots: Sequence[int]) -> Seal:
        asked = storage_pb2.SealReplicaRequest(upload_id=upload_id, manifest=manifest, slots=slots)
        got = await self._ask("SealReplica", asked, SHARD_DEADLINE_S)
        return Seal(bytes(got.signature), got.size)

    async def get_shard(self, shard_id: bytes) -> bytes:
        got = await self._ask("GetShard", storage_pb2.GetShardRequest(shard_id=shard_id), GET_DEADLINE_S)
        return bytes(got.data)

    async def drop_shard(self, upload_id: bytes, shard_id: bytes) -> None:
        """Forget a shard of an object that was not anchored."""
        asked = storage_pb2.DropShardRequest(upload_id=upload_id, shard_id=shard_id)
        await self._ask("DropShard", asked, GET_DEADLINE_S)

    async def challenge(self, contract_id: bytes, epoch: int) -> bytes:
        """Canonical arguments of the answer that the provider would give to the chain."""
        asked = storage_pb2.ChallengeRequest(contract_id=contract_id, epoch=epoch)
        got = await self._ask("Challenge", asked, GET_DEADLINE_S)
        return bytes(got.arguments)

    async def manifest(self, manifest_id: bytes) -> bytes:
        """Canonical bytes of a manifest."""
        got = await self._ask("GetManifest", storage_pb2.GetManifestRequest(manifest_id=manifest_id), GET_DEADLINE_S)
        return bytes(got.manifest)

    async def usage(self) -> Usage:
        got = await self._ask("GetUsage", storage_pb2.GetUsageRequest(), GET_DEADLINE_S)
        return Usage(got.used_bytes, got.capacity_bytes, got.shards)

    async def _ask(self, method: str, request: Any, deadline_s: float) -> Any:
        return await self.channels.call(
            lambda channel, timeout: getattr(storage_pb2_grpc.StorageStub(channel), method)(request, timeout=timeout),
            deadline_s=deadline_s,
        )
