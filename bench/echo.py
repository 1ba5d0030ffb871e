"""`python -m bench.echo HOST PORT FOLDER`: a gRPC server that takes `Submit` and does nothing, beside the real one."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
from theblock_node.pb.theblock.v1 import chain_pb2


async def submit(request: chain_pb2.SubmitRequest, _context: Any) -> chain_pb2.SubmitResponse:
    return chain_pb2.SubmitResponse(tx_id=request.envelope[:32])


async def serve(host: str, port: int, folder: Path) -> None:
    pair = ((folder / "tls.key").read_bytes(), (folder / "tls.crt").read_bytes())
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(
        submit,
        request_deserializer=chain_pb2.SubmitRequest.FromString,
        response_serializer=chain_pb2.SubmitResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("theblock.v1.Chain", {"Submit": method})])
    server.add_secure_port(f"{host}:{port}", grpc.ssl_server_credentials([pair]))
    await server.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(server.stop(0)))
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
