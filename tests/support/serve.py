"""`python -m support.serve`: a chain that makes a block for each transaction, one that makes none, and a
storage provider in memory.

Prints one line of JSON that says where they listen, and serves until standard input ends. For tests of programs,
which need a loop of their own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from support.loopback import subnet
from theblock_node.core.crypto import blake3
from theblock_node.core.errors import InvalidRecord
from theblock_node.pb.theblock.v1 import storage_pb2, storage_pb2_grpc
from theblock_node.rpc.server import RpcServer, Service
from theblock_node.sim.dev_chain import dev_chain

HOST = f"{subnet(43)}.1"
PIECE = 1000


class Storage(storage_pb2_grpc.StorageServicer):
    """Keeps objects by the hash of their bytes; the key that opens one is the hash of its id."""

    def __init__(self) -> None:
        self._objects: dict[bytes, bytes] = {}

    async def Put(self, requests: AsyncIterator[storage_pb2.PutRequest], context: Any) -> storage_pb2.PutResponse:
        parts = [request async for request in requests]
        data = b"".join(part.chunk for part in parts[1:])
        if len(data) != parts[0].header.size:
            raise InvalidRecord("storage.size_mismatch", size=len(data), expected=parts[0].header.size)
        name = blake3(data)
        self._objects[name] = data
        return storage_pb2.PutResponse(
            manifest_id=name, contract_id=bytes(32), content_key=blake3(name), providers=["storage-0"]
        )

    async def Get(self, request: storage_pb2.GetRequest, context: Any) -> AsyncIterator[storage_pb2.GetResponse]:
        data = self._objects.get(request.manifest_id)
        if data is None:
            raise InvalidRecord("storage.unknown_manifest", manifest_id=request.manifest_id.hex())
        if request.content_key != blake3(request.manifest_id):
            raise InvalidRecord("storage.integrity")
        for at in range(0, len(data), PIECE):
            yield storage_pb2.GetResponse(chunk=data[at : at + PIECE])


async def main() -> None:
    storage = Storage()
    server = RpcServer(
        network="dev",
        host=HOST,
        port=0,
        mutual_port=0,
        health_port=None,
        tls=None,
        services=[
            Service("theblock.v1.Storage", lambda made: storage_pb2_grpc.add_StorageServicer_to_server(storage, made))
        ],
    )
    port = await server.start()
    people = ("alice", "bob")
    async with dev_chain(funded=people, instant=True) as dev, dev_chain(funded=people) as still:
        ports = {"chain": dev.endpoint.port, "still": still.endpoint.port, "storage": port}
        print(json.dumps(ports), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
