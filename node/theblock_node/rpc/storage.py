"""The service `Storage`: whole objects for clients, shards between members; translates, decides nothing.

Whoever may call the public port may put and get objects; single shards are for members of the network, who show
their certificates. A neighbour or the chain that does not answer is a reason to try again, not a fault of ours.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Protocol

from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.storage import Seal, Stored, Usage
from theblock_node.core.errors import InvalidRecord
from theblock_node.pb.theblock.v1 import storage_pb2 as pb
from theblock_node.pb.theblock.v1 import storage_pb2_grpc
from theblock_node.rpc.auth import read_caller
from theblock_node.rpc.server import Service
from theblock_node.services.storage.putting import Asked

PIECE_BYTES_MAX = 2**20


class Storage(Protocol):
    """What the storage service does for callers."""

    async def put(self, asked: Asked, pieces: AsyncIterator[bytes]) -> Stored: ...

    def get(self, manifest_id: bytes, key: bytes) -> AsyncGenerator[bytes, None]: ...

    async def put_shard(self, upload_id: bytes, chunk: int, slot: int, shard_id: bytes, data: bytes) -> None: ...

    async def seal_replica(self, upload_id: bytes, manifest: bytes, slots: Sequence[int]) -> Seal: ...

    async def get_shard(self, shard_id: bytes) -> bytes: ...

    async def drop_shard(self, upload_id: bytes, shard_id: bytes) -> None: ...

    async def challenge(self, contract_id: bytes, epoch: int) -> bytes: ...

    async def manifest(self, manifest_id: bytes) -> bytes: ...

    def usage(self) -> Usage: ...


class StorageServicer(storage_pb2_grpc.StorageServicer):
    def __init__(self, storage: Storage, network: str) -> None:
        self._storage = storage
        self._network = network

    async def Put(self, requests: AsyncIterator[pb.PutRequest], context: Any) -> pb.PutResponse:
        with _others_may_fail():
            first = await anext(aiter(requests), None)
            if first is None or first.WhichOneof("part") != "header":
                raise InvalidRecord("codec.value", path="header", reason="the first message is the header")
            header = first.header
            asked = Asked(header.size, header.data_shards, header.parity_shards, header.retention_blocks)
            stored = await self._storage.put(asked, _pieces(requests))
        return pb.PutResponse(
            manifest_id=bytes.fromhex(stored.manifest_id),
            contract_id=bytes.fromhex(stored.contract_id),
            content_key=stored.content_key,
            providers=stored.providers,
        )

    async def Get(self, request: pb.GetRequest, context: Any) -> AsyncIterator[pb.GetResponse]:
        with _others_may_fail():
            async with aclosing(self._storage.get(request.manifest_id, request.content_key)) as pieces:
                async for piece in pieces:
                    yield pb.GetResponse(chunk=piece)

    async def PutShard(self, request: pb.PutShardRequest, context: Any) -> pb.PutShardResponse:
        self._require_member("PutShard", context)
        await self._storage.put_shard(request.upload_id, request.chunk, request.slot, request.shard_id, request.data)
        return pb.PutShardResponse()

    async def SealReplica(self, request: pb.SealReplicaRequest, context: Any) -> pb.SealReplicaResponse:
        self._require_member("SealReplica", context)
        seal = await self._storage.seal_replica(request.upload_id, request.manifest, list(request.slots))
        return pb.SealReplicaResponse(signature=seal.signature, size=seal.size)

    async def GetShard(self, request: pb.GetShardRequest, context: Any) -> pb.GetShardResponse:
        self._require_member("GetShard", context)
        return pb.GetShardResponse(data=await self._storage.get_shard(request.shard_id))

    async def DropShard(self, request: pb.DropShardRequest, context: Any) -> pb.DropShardResponse:
        self._require_member("DropShard", context)
        with _others_may_fail():
            await self._storage.drop_shard(request.upload_id, request.shard_id)
        return pb.DropShardResponse()

    async def Challenge(self, request: pb.ChallengeRequest, context: Any) -> pb.ChallengeResponse:
        with _others_may_fail():
            return pb.ChallengeResponse(arguments=await self._storage.challenge(request.contract_id, request.epoch))

    async def GetManifest(self, request: pb.GetManifestRequest, context: Any) -> pb.GetManifestResponse:
        with _others_may_fail():
            return pb.GetManifestResponse(manifest=await self._storage.manifest(request.manifest_id))

    async def GetUsage(self, request: pb.GetUsageRequest, context: Any) -> pb.GetUsageResponse:
        usage = self._storage.usage()
        return pb.GetUsageResponse(
            used_bytes=usage.used_bytes, capacity_bytes=usage.capacity_bytes, shards=usage.shards
        )

    def service(self) -> Service:
        return Service(
            "theblock.v1.Storage", lambda server: storage_pb2_grpc.add_StorageServicer_to_server(self, server)
        )

    def _require_member(self, method: str, context: Any) -> None:
        if not read_caller(context.peer(), context.auth_context()).is_of(self._network):
            raise InvalidRecord("rpc.members_only", method=method)


async def _pieces(requests: AsyncIterator[pb.PutRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise InvalidRecord("codec.value", path="chunk", reason="after the header come bytes")
        if len(request.chunk) > PIECE_BYTES_MAX:
            raise InvalidRecord("storage.too_large", size=len(request.chunk), max=PIECE_BYTES_MAX)
        yield request.chunk


@contextmanager
def _others_may_fail() -> Iterator[None]:
    """Hand on what the chain or a neighbour said to us."""
    try:
        yield
    except RefusedError as refused:
        raise InvalidRecord(refused.code, **refused.facts) from refused
    except UnavailableError as failed:
        raise InvalidRecord("rpc.not_ready", reason=str(failed)) from failed
