"""The service `Node`: what a member says of itself, and what its operator may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes

import theblock_node
from theblock_node.pb.theblock.v1 import node_pb2, node_pb2_grpc
from theblock_node.rpc.server import Service, TlsFiles


@dataclass(frozen=True, slots=True)
class PeerFacts:
    peer_id: str
    address: str
    name: str
    round_trip_ms: int


@dataclass(frozen=True, slots=True)
class SignerFacts:
    state: str
    floor_slot: int
    fencing_epoch: int


@dataclass(frozen=True, slots=True)
class Drained:
    """How far a drain is."""

    requested: bool = False
    done: bool = False
    left: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a role knows of itself now."""

    genesis_hash: str = ""
    height: int = 0
    finalized_height: int = 0
    in_sync: bool = False
    ready: bool = False
    reason: str = ""
    peers: tuple[PeerFacts, ...] = ()
    signer: SignerFacts | None = None
    drained: Drained = Drained()
    details: dict[str, Any] = field(default_factory=dict)


class NodeServicer(node_pb2_grpc.NodeServicer):
    """Translates facts; ``drain`` and ``handover`` act."""

    def __init__(
        self,
        *,
        role: str,
        member: str,
        facts: Callable[[], Facts],
        drain: Callable[[bool], Awaitable[None]],
        handover: Callable[[], Awaitable[None]],
        tls: TlsFiles | None,
    ) -> None:
        self._role = role
        self._member = member
        self._facts = facts
        self._drain = drain
        self._handover = handover
        self._tls = tls

    async def GetStatus(self, request: node_pb2.GetStatusRequest, context: Any) -> node_pb2.GetStatusResponse:
        facts = self._facts()
        fingerprint, not_after = self._certificate()
        signer = facts.signer
        return node_pb2.GetStatusResponse(
            role=self._role,
            member=self._member,
            version=theblock_node.VERSION,
            genesis_hash=facts.genesis_hash,
            height=facts.height,
            finalized_height=facts.finalized_height,
            peers=len(facts.peers),
            in_sync=facts.in_sync,
            ready=facts.ready,
            reason=facts.reason,
            cert_not_after=not_after,
            cert_fingerprint=fingerprint,
            draining=_draining(facts.drained),
            details_json=orjson.dumps(facts.details).decode(),
            signer=None
            if signer is None
            else node_pb2.Signer(state=signer.state, floor_slot=signer.floor_slot, fencing_epoch=signer.fencing_epoch),
        )

    async def ListPeers(self, request: node_pb2.ListPeersRequest, context: Any) -> node_pb2.ListPeersResponse:
        return node_pb2.ListPeersResponse(
            peers=[
                node_pb2.Peer(
                    peer_id=peer.peer_id, address=peer.address, name=peer.name, round_trip_ms=peer.round_trip_ms
                )
                for peer in self._facts().peers
            ]
        )

    async def Drain(self, request: node_pb2.DrainRequest, context: Any) -> node_pb2.DrainResponse:
        await self._drain(request.on)
        return node_pb2.DrainResponse(draining=_draining(self._facts().drained))

    async def Handover(self, request: node_pb2.HandoverRequest, context: Any) -> node_pb2.HandoverResponse:
        await self._handover()
        return node_pb2.HandoverResponse()

    def service(self) -> Service:
        return Service("theblock.v1.Node", lambda server: node_pb2_grpc.add_NodeServicer_to_server(self, server))

    def _certificate(self) -> tuple[str, int]:
        """(fingerprint, end in seconds since 1970) of the certificate in use."""
        if self._tls is None:
            return "", 0
        certificate = x509.load_pem_x509_certificate(self._tls.read()[1])
        return certificate.fingerprint(hashes.SHA256()).hex(), int(certificate.not_valid_after_utc.timestamp())


def _draining(drained: Drained) -> node_pb2.Draining:
    return node_pb2.Draining(requested=drained.requested, done=drained.done, left=drained.left)
