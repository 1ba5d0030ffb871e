"""Foreign headers and their proof of work: pure functions over one header and its parent's record.

`bitcoin/1` is Bitcoin's own rule: double SHA-256 at most the target, a retarget every 2016 blocks clamped to a
factor of four, a time above the median of the last eleven. `tbpow/1` hashes with BLAKE3 and keeps its bits.
No target is ever easier than the chain's limit: Bitcoin's own, or that of the header at which a test chain began.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from theblock_node.core import codec, crypto
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.core.numeric import U32, U64, Bytes32, MaxLen

BITCOIN_HEADER_BYTES = 80
BITCOIN_POW_LIMIT_BITS = 0x1D00FFFF
RETARGET_INTERVAL = 2016
RETARGET_SECONDS = 14 * 24 * 3600
MEDIAN_SPAN = 11
FUTURE_SECONDS = 7200
BITCOIN_GENESIS = bytes.fromhex(
    "01000000" + 64 * "0" + "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
"""Bitcoin's first header, height 0."""


class Profile(Enum):
    TBPOW = "tbpow/1"
    BITCOIN = "bitcoin/1"


@dataclass(frozen=True, slots=True)
class ForeignHeader:
    """What every profile's header says; hashes are in the order in which people write them."""

    hash: bytes
    parent: bytes
    merkle_root: bytes
    timestamp: int
    bits: int
    height: int | None
    """None where the header does not say it."""


@dataclass(frozen=True, slots=True)
class TbpowHeader:
    """The bytes of a `tbpow/1` header are this record's."""

    external_chain_id: Annotated[str, MaxLen(64)]
    height: U64
    parent: Bytes32
    merkle_root: Bytes32
    timestamp: U64
    bits: U32
    nonce: U64


@dataclass(frozen=True, slots=True)
class Before:
    """What a header's validity depends on: its parent."""

    hash: bytes
    height: int
    bits: int
    period_time: int
    """Time of the first header of the parent's retarget period."""
    recent: tuple[int, ...]
    """Times of the parent and up to ten before it, oldest first."""


def parse_header(profile: Profile, chain_id: str, data: bytes) -> ForeignHeader:
    """Read a header's bytes; refuses what is not one."""
    if profile is Profile.BITCOIN:
        if len(data) != BITCOIN_HEADER_BYTES:
            raise InvalidTx("bridge.header_length", size=len(data), expected=BITCOIN_HEADER_BYTES)
        _, parent, merkle_root, timestamp, bits, _ = struct.unpack("<I32s32sIII", data)
        return ForeignHeader(crypto.sha256d(data)[::-1], parent[::-1], merkle_root[::-1], timestamp, bits, None)
    try:
        header = codec.decode(TbpowHeader, data)
    except InvalidRecord as refused:
        raise InvalidTx("bridge.header_malformed", cause=refused.code) from refused
    if header.external_chain_id != chain_id:
        raise InvalidTx("bridge.wrong_chain", chain_id=header.external_chain_id)
    tag = b"theblock/bridge/header/v1"
    digest = crypto.blake3(struct.pack("<I", len(tag)) + tag + data)
    return ForeignHeader(digest, header.parent, header.merkle_root, header.timestamp, header.bits, header.height)


def compute_target(bits: int) -> int:
    """The target of compact bits; refuses zero, negative and overflowing ones."""
    exponent, mantissa = bits >> 24, bits & 0x7FFFFF
    if bits & 0x800000 or mantissa == 0 or exponent > 34 or (exponent > 32 and mantissa >> 8 * (35 - exponent)):
        raise InvalidTx("bridge.bad_bits", bits=f"{bits:08x}")
    target = mantissa << 8 * (exponent - 3) if exponent >= 3 else mantissa >> 8 * (3 - exponent)
    if not 0 < target < 2**256:
        raise InvalidTx("bridge.bad_bits", bits=f"{bits:08x}")
    return target


def compute_bits(target: int) -> int:
    """The compact form of a target, as Bitcoin rounds it."""
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x800000:
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def compute_work(bits: int) -> int:
    """Hashes that a header stands for."""
    return 2**256 // (compute_target(bits) + 1)


def limit_of(profile: Profile, start_bits: int) -> int:
    """The easiest bits that a chain which begins with ``start_bits`` ever allows."""
    if profile is Profile.TBPOW or compute_target(start_bits) > compute_target(BITCOIN_POW_LIMIT_BITS):
        return start_bits
    return BITCOIN_POW_LIMIT_BITS


def starts_period(height: int) -> bool:
    """Whether the bits of a period of Bitcoin's begin with this height."""
    return height % RETARGET_INTERVAL == 0


def expected_bits(profile: Profile, before: Before, limit_bits: int) -> int:
    """The bits that the header after ``before`` must have."""
    if profile is Profile.TBPOW or not starts_period(before.height + 1):
        return before.bits
    spent = before.recent[-1] - before.period_time
    spent = max(RETARGET_SECONDS // 4, min(spent, RETARGET_SECONDS * 4))
    target = compute_target(before.bits) * spent // RETARGET_SECONDS
    return compute_bits(min(target, compute_target(limit_bits)))


def check_work(header: ForeignHeader) -> None:
    """Refuse a header whose hash does not meet its own bits."""
    if int.from_bytes(header.hash, "big") > compute_target(header.bits):
        raise InvalidTx("bridge.bad_pow", hash=header.hash.hex())


def check_header(profile: Profile, header: ForeignHeader, before: Before, *, limit_bits: int, now_seconds: int) -> None:
    """Refuse a header that may not follow ``before``."""
    if header.parent != before.hash:
        raise InvalidTx("bridge.unknown_parent", parent=header.parent.hex())
    if header.height not in (None, before.height + 1):
        raise InvalidTx("bridge.bad_height", height=header.height, expected=before.height + 1)
    expected = expected_bits(profile, before, limit_bits)
    if header.bits != expected:
        raise InvalidTx("bridge.bad_bits", bits=f"{header.bits:08x}", expected=f"{expected:08x}")
    check_work(header)
    median = sorted(before.recent)[len(before.recent) // 2]
    if header.timestamp <= median:
        raise InvalidTx("bridge.bad_time", timestamp=header.timestamp, median=median)
    if header.timestamp > now_seconds + FUTURE_SECONDS:
        raise InvalidTx("bridge.bad_time", timestamp=header.timestamp, now=now_seconds)


def begin(header: ForeignHeader, height: int) -> Before:
    """What the header after a checkpoint will depend on."""
    return Before(header.hash, height, header.bits, header.timestamp, (header.timestamp,))


def follow(before: Before, header: ForeignHeader) -> Before:
    """What the header after ``header`` will depend on."""
    height = before.height + 1
    return Before(
        header.hash,
        height,
        header.bits,
        header.timestamp if starts_period(height) else before.period_time,
        (*before.recent, header.timestamp)[-MEDIAN_SPAN:],
    )
