"""An energy oracle: readings that a meter signed itself, and the oracle's own keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from theblock_node.client.channel import DEADLINE_S, Channels, ClientTls, Endpoint
from theblock_node.pb.theblock.v1 import oracle_pb2, oracle_pb2_grpc


@dataclass(frozen=True, slots=True)
class OracleKeys:
    in_use: bytes
    staged: bytes
    """Of a changed Secret; empty if none is."""


@dataclass(frozen=True, slots=True)
class Possession:
    """The oracle's word that it holds a key."""

    public_key: bytes
    signature: bytes


class OracleClient:
    def __init__(self, endpoint: Endpoint, tls: ClientTls | None, *, name: str | None = None) -> None:
        self.channels = Channels([endpoint], tls, names=lambda _endpoint: name)

    async def close(self) -> None:
        await self.channels.close()

    async def push(self, meter: str, total_wh: int, timestamp: int, signature: bytes) -> int:
        """Hand over a reading; returns its place in the spool."""
        asked = oracle_pb2.PushRequest(meter=meter, total_wh=total_wh, timestamp=timestamp, signature=signature)
        return int((await self._ask("Push", asked)).sequence)

    async def keys(self) -> OracleKeys:
        got = await self._ask("GetPublicKey", oracle_pb2.GetPublicKeyRequest())
        return OracleKeys(bytes(got.public_key), bytes(got.staged_key))

    async def prove_possession(self, provider_id: str, oracle_id: str, key_version: int) -> Possession:
        """An administrator's call."""
        asked = oracle_pb2.ProvePossessionRequest(provider_id=provider_id, oracle_id=oracle_id, key_version=key_version)
        got = await self._ask("ProvePossession", asked)
        return Possession(bytes(got.public_key), bytes(got.signature))

    async def _ask(self, method: str, request: Any) -> Any:
        return await self.channels.call(
            lambda channel, timeout: getattr(oracle_pb2_grpc.OracleStub(channel), method)(request, timeout=timeout),
            deadline_s=DEADLINE_S,
        )
