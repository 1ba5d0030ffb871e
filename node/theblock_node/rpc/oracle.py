"""The service `Oracle`: readings that meters push, and the signing key; translates, decides nothing."""

from __future__ import annotations

from typing import Any, Protocol

from theblock_node.pb.theblock.v1 import oracle_pb2, oracle_pb2_grpc
from theblock_node.rpc.server import Service
from theblock_node.services.energy.keys import KeyRing


class Oracle(Protocol):
    """What the energy service does for callers."""

    ring: KeyRing

    def push(self, meter: str, total_wh: int, timestamp: int, signature: bytes) -> int: ...

    def prove_possession(self, provider_id: str, oracle_id: str, key_version: int) -> tuple[bytes, bytes]: ...


class OracleServicer(oracle_pb2_grpc.OracleServicer):
    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    async def Push(self, request: oracle_pb2.PushRequest, context: Any) -> oracle_pb2.PushResponse:
        sequence = self._oracle.push(request.meter, request.total_wh, request.timestamp, request.signature)
        return oracle_pb2.PushResponse(sequence=sequence)

    async def GetPublicKey(
        self, request: oracle_pb2.GetPublicKeyRequest, context: Any
    ) -> oracle_pb2.GetPublicKeyResponse:
        ring = self._oracle.ring
        staged = ring.staged.public_key if ring.staged else b""
        return oracle_pb2.GetPublicKeyResponse(public_key=ring.active.public_key, staged_key=staged)

    async def ProvePossession(
        self, request: oracle_pb2.ProvePossessionRequest, context: Any
    ) -> oracle_pb2.ProvePossessionResponse:
        key, signature = self._oracle.prove_possession(request.provider_id, request.oracle_id, request.key_version)
        return oracle_pb2.ProvePossessionResponse(public_key=key, signature=signature)

    def service(self) -> Service:
        return Service("theblock.v1.Oracle", lambda server: oracle_pb2_grpc.add_OracleServicer_to_server(self, server))
