"""Whether two nodes belong together: the same chain, a common wire version, and the keys that they claim.

Three messages: Hello (dialer), HelloAck (acceptor), HelloConfirm (dialer). Each end signs what both said *and* the
fingerprint of the certificate between them as it knows it, so someone in the middle, who must show another
certificate, makes the two sign different things. Pure; `service.py` sends and receives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from theblock_node.core import crypto
from theblock_node.pb.theblock.p2p.v2 import p2p_pb2 as pb
from theblock_node.services.p2p.messages import WIRE_VERSION
from theblock_node.transport.provider import CloseCode

NONCE_BYTES = 16
REJECT_BACKOFF_MS = 1000
AGENT_MAX = 64


@dataclass(frozen=True, slots=True)
class Local:
    """What a node says of itself in every session."""

    genesis_hash: bytes
    chain_id: int
    key: crypto.SigningKey
    instance: bytes
    agent: str
    wire_min: int = WIRE_VERSION
    wire_max: int = WIRE_VERSION


class Refused(Exception):
    """The handshake ends here; ``reason`` is one of a closed list, and what the other end is told."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def code(self) -> CloseCode:
        return _CODES[self.reason]


_CODES = {
    "bad_network": CloseCode.NETWORK,
    "old_proto": CloseCode.VERSION,
    "new_proto": CloseCode.VERSION,
    "malformed": CloseCode.MALFORMED,
    "identity": CloseCode.IDENTITY,
    "self": CloseCode.DUPLICATE,
    "banned": CloseCode.BANNED,
    "duplicate": CloseCode.DUPLICATE,
    "too_many": CloseCode.RATE_LIMITED,
    "refused": CloseCode.NONE,
}


def make_hello(local: Local, *, nonce: bytes, tip_height: int, tip_id: bytes, now_ms: int) -> pb.Hello:
    return pb.Hello(
        genesis_hash=local.genesis_hash,
        chain_id=local.chain_id,
        wire_min=local.wire_min,
        wire_max=local.wire_max,
        agent=local.agent,
        public_key=local.key.public_key,
        nonce=nonce,
        instance=local.instance,
        tip_height=tip_height,
        tip_id=tip_id,
        sent_ms=now_ms,
    )


def check_hello(local: Local, hello: pb.Hello) -> None:
    """Refuse a stranger; the first failure decides."""
    if hello.genesis_hash != local.genesis_hash or hello.chain_id != local.chain_id:
        raise Refused("bad_network")
    if hello.wire_max < local.wire_min:
        raise Refused("old_proto")
    if hello.wire_min > local.wire_max:
        raise Refused("new_proto")
    lengths = (len(hello.public_key), len(hello.nonce), len(hello.instance), len(hello.tip_id))
    if lengths != (32, NONCE_BYTES, NONCE_BYTES, 32) or len(hello.agent) > AGENT_MAX:
        raise Refused("malformed")
    if hello.public_key == local.key.public_key:
        raise Refused("self")


def binding(genesis_hash: bytes, dialer: bytes, acceptor: bytes, fingerprint: bytes, *, by_dialer: bool) -> bytes:
    """What each end signs, over both encoded Hellos; the last byte says who, so neither can stand in for the other."""
    parts = (genesis_hash, fingerprint, dialer, acceptor)
    joined = b"".join(struct.pack("<I", len(part)) + part for part in parts)
    return crypto.blake3(b"theblock/hello/v2" + joined + bytes([by_dialer]))


def check_binding(public_key: bytes, message: bytes, signature: bytes) -> None:
    if not crypto.verify(public_key, message, signature):
        raise Refused("identity")


def judge_duplicate(
    own_key: bytes, peer_key: bytes, *, new_is_ours: bool, old_is_ours: bool, same_instance: bool
) -> bool:
    """Whether a second session with a peer replaces the first: `True` keeps the new one.

    A restarted peer, or the same end dialing again, means that the old one is dead. Otherwise both dialed at
    once, and both ends keep what the smaller key dialed.
    """
    if not same_instance or new_is_ours == old_is_ours:
        return True
    return new_is_ours == (own_key < peer_key)
