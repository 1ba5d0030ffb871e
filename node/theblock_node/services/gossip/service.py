"""Spreads transactions, blocks and votes among validators, and answers what they ask for.

Whoever makes a block sends it whole to all its peers; whoever takes one tells the others only that it has it, and
they ask if it did not reach them. Transactions and votes are passed on in small batches. Nothing is passed on
before it was accepted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog
from google.protobuf.message import Message

from theblock_node.clock import Clock
from theblock_node.core import codec
from theblock_node.core.block import Attestation, Evidence
from theblock_node.core.errors import InvalidBlock, InvalidRecord, InvalidTx
from theblock_node.pb.theblock.p2p.v2 import p2p_pb2 as pb
from theblock_node.services.gossip.relay import Seen, message_id

TX, BLOCK, VOTE, EVIDENCE = 2, 4, 5, 6
"""Topics."""
BATCH_MS = 40
"""How long transactions and votes are gathered before they go out together."""
BATCH_BYTES = 128 * 2**10
BATCH_VOTES = 256
OUTBOX_MAX = 8192

log = structlog.get_logger("gossip")
T = TypeVar("T")


class Misbehaved(Exception):
    """What a peer sent breaks a rule; ``points`` count towards its ban."""

    def __init__(self, reason: str, points: int) -> None:
        super().__init__(reason, points)
        self.reason = reason
        self.points = points


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a block."""

    block_id: bytes
    height: int
    is_head: bool
    is_orphan: bool


class Peer(Protocol):
    public_key: bytes
    height: int
    tip_id: bytes


class Wire(Protocol):
    """What gossip needs of the sessions."""

    def peers(self) -> Iterable[Peer]: ...

    def send(self, peer: Any, message: Message) -> None:
        """``peer`` is one of `peers`."""
        ...


class ChainPort(Protocol):
    """What gossip needs of the chain."""

    def take_block(self, data: bytes) -> Taken:
        """InvalidBlock if it breaks a rule."""
        ...

    def take_vote(self, vote: Attestation) -> bool: ...

    def take_evidence(self, evidence: Evidence) -> bool: ...

    def submit(self, envelope: bytes) -> bytes: ...

    def tip(self) -> tuple[int, bytes]: ...

    def heard_tip(self) -> None: ...

    def pending(self) -> tuple[list[Attestation], list[Evidence]]: ...


class Gossip:
    def __init__(self, *, wire: Wire, chain: ChainPort, clock: Clock) -> None:
        self._wire = wire
        self._chain = chain
        self._clock = clock
        self._seen = Seen()
        self._txs: list[tuple[bytes, bytes]] = []
        self._votes: list[tuple[bytes, bytes]] = []
        """(message id, bytes) that wait to be passed on."""
        self._flushing: asyncio.TimerHandle | None = None

    # From the chain and the pool.

    def publish_block(self, data: bytes, block_id: bytes, height: int) -> None:
        """Our own block, whole, to everybody."""
        self._seen.note(message_id(BLOCK, block_id), None, self._clock.now_ms())
        self._send_all(pb.BlockMessage(block=data))

    def publish_tx(self, envelope: bytes) -> None:
        identity = message_id(TX, envelope)
        self._seen.note(identity, None, self._clock.now_ms())
        self._queue(self._txs, identity, envelope)

    def publish_votes(self, votes: Iterable[Attestation]) -> None:
        """Our own votes, at once."""
        encoded = [codec.encode(vote) for vote in votes]
        for data in encoded:
            self._seen.note(message_id(VOTE, data), None, self._clock.now_ms())
        self._send_all(pb.Attestations(attestations=encoded))

    def publish_evidence(self, evidence: Iterable[Evidence]) -> None:
        self._send_all(pb.EvidenceMessage(evidence=[codec.encode(each) for each in evidence]))

    # From peers.

    def joined(self, peer: Peer) -> None:
        """Tell a new peer what is on its way into a block; its Hello told us of its head."""
        votes, evidence = self._chain.pending()
        if votes:
            encoded = [codec.encode(vote) for vote in votes[-BATCH_VOTES:]]
            self._wire.send(peer, pb.Attestations(attestations=encoded))
        if evidence:
            self._wire.send(peer, pb.EvidenceMessage(evidence=[codec.encode(each) for each in evidence]))
        self._chain.heard_tip()

    def receive(self, peer: Peer, message: Message) -> None:
        """Act on a message; `Misbehaved` if it should not have been sent."""
        match message:
            case pb.BlockMessage():
                self._take_block(peer, message.block)
            case pb.Tip():
                self._take_tip(peer, message)
            case pb.Transactions():
                self._take_txs(peer, message.envelopes)
            case pb.Attestations():
                self._take_votes(peer, message.attestations)
            case pb.EvidenceMessage():
                self._take_evidence(peer, message.evidence)

    def _take_block(self, peer: Peer, data: bytes) -> None:
        try:
            taken = self._chain.take_block(data)
        except InvalidBlock as refused:
            raise Misbehaved(refused.code, 20 if refused.code == "block.timestamp" else 100) from refused
        peer.height, peer.tip_id = taken.height, taken.block_id
        identity = message_id(BLOCK, taken.block_id)
        is_new = self._seen.note(identity, peer.public_key, self._clock.now_ms())
        if is_new and taken.is_head:
            tip = pb.Tip(height=taken.height, block_id=taken.block_id)
            self._send_all(tip, but=self._seen.holders(identity))
        if taken.is_orphan:
            self._chain.heard_tip()

    def _take_tip(self, peer: Peer, tip: pb.Tip) -> None:
        if len(tip.block_id) != 32:
            raise Misbehaved("malformed", 100)
        peer.height, peer.tip_id = tip.height, tip.block_id
        identity = message_id(BLOCK, tip.block_id)
        if self._seen.holders(identity):
            self._seen.note(identity, peer.public_key, self._clock.now_ms())
        self._chain.heard_tip()

    def _take_txs(self, peer: Peer, envelopes: Iterable[bytes]) -> None:
        for envelope in envelopes:
            if not self._seen.note(message_id(TX, envelope), peer.public_key, self._clock.now_ms()):
                continue
            try:
                self._chain.submit(envelope)
            except InvalidTx as refused:
                if refused.code in ("tx.malformed", "tx.bad_signature", "tx.too_large", "tx.wrong_chain"):
                    raise Misbehaved(refused.code, 50) from refused

    def _take_votes(self, peer: Peer, encoded: Iterable[bytes]) -> None:
        for data in encoded:
            identity = message_id(VOTE, data)
            if not self._seen.note(identity, peer.public_key, self._clock.now_ms()):
                continue
            if self._chain_take(Attestation, data, self._chain.take_vote):
                self._queue(self._votes, identity, data)

    def _take_evidence(self, peer: Peer, encoded: Iterable[bytes]) -> None:
        for data in encoded:
            identity = message_id(EVIDENCE, data)
            if not self._seen.note(identity, peer.public_key, self._clock.now_ms()):
                continue
            if self._chain_take(Evidence, data, self._chain.take_evidence):
                self._send_all(pb.EvidenceMessage(evidence=[data]), but={peer.public_key})

    def _chain_take(self, record: type[T], data: bytes, take: Callable[[T], bool]) -> bool:
        try:
            return take(codec.decode(record, data, profile=codec.GOSSIP))
        except (InvalidRecord, InvalidBlock) as refused:
            raise Misbehaved(refused.code, 100) from refused

    # Out.

    def _queue(self, box: list[tuple[bytes, bytes]], identity: bytes, data: bytes) -> None:
        """Send with the next batch; when it is full the oldest is not passed on: others have it too."""
        box.append((identity, data))
        del box[:-OUTBOX_MAX]
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(BATCH_MS / 1000, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        txs, self._txs = self._txs, []
        votes, self._votes = self._votes, []
        for peer in self._wire.peers():
            for part in _split(self._lacking(peer, txs)):
                self._wire.send(peer, pb.Transactions(envelopes=part))
            for part in _split(self._lacking(peer, votes)):
                self._wire.send(peer, pb.Attestations(attestations=part))

    def _lacking(self, peer: Peer, box: list[tuple[bytes, bytes]]) -> list[bytes]:
        return [data for identity, data in box if peer.public_key not in self._seen.holders(identity)]

    def _send_all(self, message: Message, *, but: Iterable[bytes] = ()) -> None:
        skipped = set(but)
        for peer in self._wire.peers():
            if peer.public_key not in skipped:
                self._wire.send(peer, message)


def _split(items: list[bytes]) -> list[list[bytes]]:
    """Parts that fit a frame."""
    parts: list[list[bytes]] = []
    size = BATCH_BYTES
    for item in items:
        if size + len(item) > BATCH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += len(item)
    return parts
