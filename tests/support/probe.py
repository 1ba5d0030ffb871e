"""A gRPC service that does what a test tells it to, behind the real server: `answer` is called for every request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from theblock_node.pb.theblock.v1 import chain_pb2
from theblock_node.rpc.server import RpcServer, Service

NAME = "theblock.v1.Probe"
Ask = Callable[[bytes], Awaitable[bytes]]


class Probe:
    """Methods `Ask`, `Collect` (a stream to us), `Tell` (a stream from us)."""

    def __init__(self, answer: Ask) -> None:
        self.answer = answer

    def service(self) -> Service:
        messages = {
            "request_deserializer": chain_pb2.SubmitRequest.FromString,
            "response_serializer": chain_pb2.SubmitResponse.SerializeToString,
        }
        methods = {
            "Ask": grpc.unary_unary_rpc_method_handler(self._ask, **messages),
            "Collect": grpc.stream_unary_rpc_method_handler(self._collect, **messages),
            "Tell": grpc.unary_stream_rpc_method_handler(self._tell, **messages),
        }
        handler = grpc.method_handlers_generic_handler(NAME, methods)
        return Service(NAME, lambda server: server.add_generic_rpc_handlers([handler]))

    async def _ask(self, request: chain_pb2.SubmitRequest, context: Any) -> chain_pb2.SubmitResponse:
        return chain_pb2.SubmitResponse(tx_id=await self.answer(request.envelope))

    async def _collect(self, requests: AsyncIterator[Any], context: Any) -> chain_pb2.SubmitResponse:
        parts = [request.envelope async for request in requests]
        return chain_pb2.SubmitResponse(tx_id=await self.answer(b"".join(parts)))

    async def _tell(self, request: chain_pb2.SubmitRequest, context: Any) -> AsyncIterator[chain_pb2.SubmitResponse]:
        for at in range(3):
            yield chain_pb2.SubmitResponse(tx_id=await self.answer(request.envelope + bytes([at])))


@asynccontextmanager
async def serving(probe: Probe, *, host: str, **options: Any) -> AsyncIterator[tuple[RpcServer, int]]:
    """The probe behind a server without TLS, unless told otherwise, and its port."""
    chosen = {"network": "dev", "port": 0, "mutual_port": 0, "health_port": None, "tls": None, **options}
    server = RpcServer(host=host, services=[probe.service()], **chosen)
    port = await server.start()
    try:
        yield server, port
    finally:
        await server.stop(0)


async def ask(channel: grpc.aio.Channel, data: bytes = b"", deadline_s: float | None = 10.0) -> bytes:
    """The answer of `Ask`."""
    call = channel.unary_unary(
        f"/{NAME}/Ask",
        request_serializer=chain_pb2.SubmitRequest.SerializeToString,
        response_deserializer=chain_pb2.SubmitResponse.FromString,
    )
    got = await call(chain_pb2.SubmitRequest(envelope=data), timeout=deadline_s)
    return bytes(got.tx_id)


def tell(channel: grpc.aio.Channel, data: bytes = b"") -> Any:
    """The responses of `Tell`, as they come."""
    call = channel.unary_stream(
        f"/{NAME}/Tell",
        request_serializer=chain_pb2.SubmitRequest.SerializeToString,
        response_deserializer=chain_pb2.SubmitResponse.FromString,
    )
    return call(chain_pb2.SubmitRequest(envelope=data), timeout=10.0)
