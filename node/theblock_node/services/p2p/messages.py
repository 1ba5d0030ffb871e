"""Which message travels under which frame type, on which lane, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from theblock_node.pb.theblock.p2p.v2 import p2p_pb2 as pb
from theblock_node.transport.provider import Lane

WIRE_VERSION = 2
SMALL = 16 * 2**10
USUAL = 256 * 2**10
RESPONSE_MAX = 16 * 2**20 + USUAL
BLOCK_MAX = 16 * 2**20 + SMALL


@dataclass(frozen=True, slots=True)
class MessageType:
    number: int
    record: type[Message]
    lane: Lane
    size_max: int


TYPES = (
    MessageType(0x0001, pb.Hello, Lane.GOSSIP, SMALL),
    MessageType(0x0002, pb.HelloAck, Lane.GOSSIP, SMALL),
    MessageType(0x0006, pb.HelloConfirm, Lane.GOSSIP, SMALL),
    MessageType(0x0003, pb.Ping, Lane.GOSSIP, SMALL),
    MessageType(0x0004, pb.Pong, Lane.GOSSIP, SMALL),
    MessageType(0x0201, pb.Transactions, Lane.GOSSIP, USUAL),
    MessageType(0x0203, pb.BlockMessage, Lane.GOSSIP, BLOCK_MAX),
    MessageType(0x0206, pb.Tip, Lane.GOSSIP, SMALL),
    MessageType(0x0210, pb.Attestations, Lane.GOSSIP, USUAL),
    MessageType(0x0211, pb.EvidenceMessage, Lane.GOSSIP, USUAL),
    MessageType(0x0301, pb.Request, Lane.BULK, SMALL),
    MessageType(0x0302, pb.Response, Lane.BULK, RESPONSE_MAX),
)
BY_NUMBER = {each.number: each for each in TYPES}
BY_RECORD = {each.record: each for each in TYPES}


def limit_of(number: int) -> int:
    """Largest payload of a frame type; types that we do not know are skipped, within reason."""
    found = BY_NUMBER.get(number)
    return USUAL if found is None else found.size_max


def type_of(message: Message) -> MessageType:
    return BY_RECORD[type(message)]


class Malformed(Exception):
    """A payload is not the message that its frame names."""


def decode(number: int, payload: bytes) -> Message | None:
    """The message of a frame; None for a type of a later version."""
    found = BY_NUMBER.get(number)
    if found is None:
        return None
    try:
        return found.record.FromString(payload)
    except DecodeError as refused:
        raise Malformed(f"{found.record.__name__}: {refused}") from refused
