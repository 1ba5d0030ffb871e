"""Header chains for tests: the real Bitcoin headers, and chains of our own that take no work to mine."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import theblock_node.services.bridge
from theblock_node.core import codec
from theblock_node.core.domains.bridge import pow as work

EASY_BITS = 0x207FFFFF
START_TIME = 1_600_000_000
DATA = Path(theblock_node.services.bridge.__path__[0]) / "data" / "bitcoin-mainnet-headers-1-1111.bin"


def real_headers() -> list[bytes]:
    """Bitcoin's own, heights 1 to 1111."""
    data = DATA.read_bytes()
    return [data[at : at + 80] for at in range(0, len(data), 80)]


def mine_bitcoin(parent: bytes, timestamp: int, bits: int = EASY_BITS, *, root: bytes = bytes(32)) -> bytes:
    """A header of Bitcoin's form on ``parent`` (as people write hashes) that meets its bits."""
    target = work.compute_target(bits)
    for nonce in range(2**32):
        data = struct.pack("<I32s32sIII", 1, parent[::-1], root, timestamp, bits, nonce)
        if int.from_bytes(hash_of(data), "big") <= target:
            return data
    raise AssertionError("no nonce")


def mine_tbpow(chain_id: str, height: int, parent: bytes, timestamp: int, bits: int = EASY_BITS) -> bytes:
    """A `tbpow/1` header that meets its bits."""
    target = work.compute_target(bits)
    for nonce in range(2**32):
        data = codec.encode(work.TbpowHeader(chain_id, height, parent, bytes(32), timestamp, bits, nonce))
        if int.from_bytes(work.parse_header(work.Profile.TBPOW, chain_id, data).hash, "big") <= target:
            return data
    raise AssertionError("no nonce")


def hash_of(data: bytes) -> bytes:
    """Hash of a header of Bitcoin's form, as people write it."""
    return work.parse_header(work.Profile.BITCOIN, "", data).hash


def bitcoin_chain(*, spacing: int = 600, start: bytes | None = None, time: int = START_TIME) -> Iterator[bytes]:
    """A chain of our own from its first header on, without an end, as long as no retarget comes."""
    header = start or mine_bitcoin(bytes(32), time)
    if start is None:
        yield header
    while True:
        time += spacing
        header = mine_bitcoin(hash_of(header), time, root=spacing.to_bytes(32, "big"))
        yield header
