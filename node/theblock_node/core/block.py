"""Headers, bodies, receipts and attestations: the records that nodes exchange and keep.

The header is 531 bytes, fixed. Fields of systems that are not built yet (proof of work, PoH, VDF, blobs,
cross-shard messages, read batches) are zero, and `check_unused` refuses anything else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated

from theblock_node.core import codec, crypto, merkle
from theblock_node.core.address import Address
from theblock_node.core.errors import InvalidBlock, InvalidRecord
from theblock_node.core.numeric import I8, U8, U16, U32, U64, Bytes32, Bytes64, MaxLen
from theblock_node.core.tx import TxEnvelope

MAGIC = 0x31484254  # "TBH1", little-endian
HEADER_BYTES = 531
ZERO = bytes(32)


@dataclass(frozen=True, slots=True)
class Header:
    magic: U32
    version: U16
    chain_id: U32
    height: U64
    slot: U64
    parent: Bytes32
    checkpoint_height: U64
    """The justified checkpoint as of the parent."""
    checkpoint_hash: Bytes32
    timestamp_ms: U64
    proposer: Bytes32
    """Ed25519 key."""
    difficulty: U64
    retune_hint: I8
    base_fee: U64
    tx_root: Bytes32
    receipts_root: Bytes32
    state_root: Bytes32
    """After this block."""
    shard_roots_root: Bytes32
    economics_hash: Bytes32
    blob_root: Bytes32
    xshard_root: Bytes32
    read_root: Bytes32
    poh_hash: Bytes32
    poh_ticks: U64
    vdf_commit: Bytes32
    vdf_output_hash: Bytes32
    gas_used: U64
    nonce: U64


@dataclass(frozen=True, slots=True)
class Attestation:
    """A validator's vote that a checkpoint follows from a justified one (Casper FFG)."""

    validator: Bytes32
    source_height: U64
    source_hash: Bytes32
    target_height: U64
    target_hash: Bytes32
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class SignedHeader:
    header: Header
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class DoubleVote:
    first: Attestation
    second: Attestation


@dataclass(frozen=True, slots=True)
class SurroundVote:
    inner: Attestation
    outer: Attestation


@dataclass(frozen=True, slots=True)
class DoubleProposal:
    first: SignedHeader
    second: SignedHeader


@dataclass(frozen=True, slots=True)
class Evidence:
    version: U8
    body: DoubleVote | SurroundVote | DoubleProposal


@dataclass(frozen=True, slots=True)
class TxEvent:
    name: Annotated[str, MaxLen(80)]
    data: Annotated[bytes, MaxLen(65_536)]


@dataclass(frozen=True, slots=True)
class TxLog:
    contract: Address
    topics: Annotated[tuple[Bytes32, ...], MaxLen(4)]
    data: Annotated[bytes, MaxLen(65_536)]


@dataclass(frozen=True, slots=True)
class TxReceipt:
    """What became of one transaction. FAILED still pays its fee and uses its nonce; its effects are undone."""

    version: U8
    tx_id: Bytes32
    block_height: U64
    index: U32
    status: U8
    """0 SUCCESS, 1 FAILED."""
    error_code: Annotated[str, MaxLen(80)]
    gas_used: U64
    base_fee_paid: U64
    tip_paid: U64
    fee_consumer: U64
    fee_industrial: U64
    rebate_used: U64
    logs: Annotated[tuple[TxLog, ...], MaxLen(256)]
    events: Annotated[tuple[TxEvent, ...], MaxLen(1024)]
    contract: Address | None
    output_hash: Bytes32


Unbuilt = Annotated[tuple[U8, ...], MaxLen(0)]
"""A list of a system that is not built yet: always empty, so its bytes do not depend on what it will hold."""


@dataclass(frozen=True, slots=True)
class Body:
    version: U8
    transactions: Annotated[tuple[TxEnvelope, ...], MaxLen(65_536)]
    coinbase: Unbuilt = ()
    economics: Unbuilt = ()
    receipts: Unbuilt = ()
    receipt_header: Unbuilt = ()
    root_bundles: Unbuilt = ()
    l2_roots: Unbuilt = ()
    l2_sizes: Unbuilt = ()
    treasury_events: Unbuilt = ()
    xshard_in: Unbuilt = ()
    xshard_out: Unbuilt = ()
    evidence: Annotated[tuple[Evidence, ...], MaxLen(16)] = ()
    attestations: Annotated[tuple[Attestation, ...], MaxLen(1024)] = ()
    vdf_output: Unbuilt = ()
    vdf_proof: Unbuilt = ()
    read_batch: Unbuilt = ()


@dataclass(frozen=True, slots=True)
class Block:
    header: Header
    body: Body
    leader_sig: Bytes64 | None
    """Over the block id; None only in the genesis block."""

    @property
    def id(self) -> bytes:
        return block_id(self.header)


def block_id(header: Header) -> bytes:
    """BLAKE3 of the 531 header bytes."""
    return crypto.blake3(codec.encode(header))


def decode_block(data: bytes, *, size_max: int) -> Block:
    if len(data) > size_max:
        raise InvalidBlock("block.size", size=len(data), max=size_max)
    try:
        return codec.decode(Block, data, profile=codec.BLOCK)
    except InvalidRecord as refused:
        raise InvalidBlock("block.decode", cause=refused.code, **refused.facts) from refused


def attestation_digest(chain_id: int, attestation: Attestation) -> bytes:
    """What an attester signs."""
    return crypto.blake3(
        b"TBATT1"
        + struct.pack("<IQ", chain_id, attestation.source_height)
        + attestation.source_hash
        + struct.pack("<Q", attestation.target_height)
        + attestation.target_hash
    )


def evidence_id(evidence: Evidence) -> bytes:
    return crypto.blake3(codec.encode(evidence))


def tx_root(tx_ids: list[bytes]) -> bytes:
    return merkle.list_root(tx_ids)


def receipts_root(receipts: tuple[TxReceipt, ...]) -> bytes:
    return merkle.list_root([codec.encode(receipt) for receipt in receipts])


_UNUSED_DIGESTS = (
    "economics_hash",
    "blob_root",
    "xshard_root",
    "read_root",
    "poh_hash",
    "vdf_commit",
    "vdf_output_hash",
)
_UNUSED_NUMBERS = ("difficulty", "retune_hint", "poh_ticks", "nonce")


def check_unused(header: Header) -> None:
    """Refuse a header that uses a field whose system is not built."""
    for name in _UNUSED_DIGESTS:
        if getattr(header, name) != ZERO:
            raise InvalidBlock("block.header", field=name, reason="must be zero")
    for name in _UNUSED_NUMBERS:
        if getattr(header, name) != 0:
            raise InvalidBlock("block.header", field=name, reason="must be zero")
