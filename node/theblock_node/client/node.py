"""A member as its operator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from theblock_node.client.channel import Channels, ClientTls, Endpoint
from theblock_node.pb.theblock.v1 import node_pb2, node_pb2_grpc, oracle_pb2, oracle_pb2_grpc

DEADLINE_S = 3.0


@dataclass(frozen=True, slots=True)
class NodeStatus:
    role: str
    member: str
    version: str
    genesis_hash: str
    height: int
    finalized_height: int
    peers: int
    in_sync: bool
    ready: bool
    reason: str
    signer_state: str
    """Empty where there is no signer."""
    signer_floor: int
    fencing_epoch: int
    cert_not_after: int
    cert_fingerprint: str
    draining: bool
    drained: bool
    drain_left: int
    details: dict[str, Any]


class NodeClient:
    def __init__(self, endpoint: Endpoint, tls: ClientTls | None, *, name: str | None = None) -> None:
        self._channels = Channels([endpoint], tls, names=lambda _endpoint: name)

    async def close(self) -> None:
        await self._channels.close()

    async def status(self, *, deadline_s: float = DEADLINE_S) -> NodeStatus:
        got = await self._ask(node_pb2_grpc.NodeStub, "GetStatus", node_pb2.GetStatusRequest(), deadline_s)
        return NodeStatus(
            got.role,
            got.member,
            got.version,
            got.genesis_hash,
            got.height,
            got.finalized_height,
            got.peers,
            got.in_sync,
            got.ready,
            got.reason,
            got.signer.state,
            got.signer.floor_slot,
            got.signer.fencing_epoch,
            got.cert_not_after,
            got.cert_fingerprint,
            got.draining.requested,
            got.draining.done,
            got.draining.left,
            orjson.loads(got.details_json or "{}"),
        )

    async def drain(self, on: bool) -> None:
        """Stop taking new work, or take it again. An administrator's call."""
        await self._ask(node_pb2_grpc.NodeStub, "Drain", node_pb2.DrainRequest(on=on), DEADLINE_S)

    async def handover(self) -> None:
        """Prepare for the end of the process. An administrator's call."""
        await self._ask(node_pb2_grpc.NodeStub, "Handover", node_pb2.HandoverRequest(), 30.0)

    async def oracle_keys(self) -> tuple[bytes, bytes]:
        """(signing key in use, staged key or nothing) of an energy oracle."""
        got = await self._ask(oracle_pb2_grpc.OracleStub, "GetPublicKey", oracle_pb2.GetPublicKeyRequest(), DEADLINE_S)
        return bytes(got.public_key), bytes(got.staged_key)

    async def prove_possession(self, provider_id: str, oracle_id: str, key_version: int) -> tuple[bytes, bytes]:
        """(key, signature) that show that an energy oracle holds its key. An administrator's call."""
        asked = oracle_pb2.ProvePossessionRequest(provider_id=provider_id, oracle_id=oracle_id, key_version=key_version)
        got = await self._ask(oracle_pb2_grpc.OracleStub, "ProvePossession", asked, DEADLINE_S)
        return bytes(got.public_key), bytes(got.signature)

    async def _ask(self, stub: Any, method: str, request: Any, deadline_s: float) -> Any:
        return await self._channels.call(
            lambda channel, timeout: getattr(stub(channel), method)(request, timeout=timeout), deadline_s=deadline_s
        )
