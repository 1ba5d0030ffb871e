"""Proof of retrievability: a provider opens randomly chosen pieces of the shards that it holds.

Two RFC 9162-shaped trees: the 4096-byte pieces of a shard lie under its shard id, the shard ids of an object
under its `shards_root` at index ``chunk * n + slot``. The chain keeps only the root and the counts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from theblock_node.core import crypto, merkle
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import U32, Bytes32, MaxLen

PIECE_BYTES = 4096
SHARD_BYTES_MAX = 4 * 2**20
PATH_LENGTH_MAX = 34
SAMPLE_BYTES = 24


@dataclass(frozen=True, slots=True)
class Sample:
    """What one challenge asks for; the piece follows from ``draw`` once the shard's length is known."""

    chunk: int
    slot: int
    draw: int


@dataclass(frozen=True, slots=True)
class Opening:
    """The answer to one sample."""

    shard_bytes: U32
    data: Annotated[bytes, MaxLen(PIECE_BYTES)]
    piece_path: Annotated[tuple[Bytes32, ...], MaxLen(PATH_LENGTH_MAX)]
    shard_path: Annotated[tuple[Bytes32, ...], MaxLen(PATH_LENGTH_MAX)]


def digest(domain: str, body: bytes) -> bytes:
    """BLAKE3 of a length-prefixed domain tag and ``body``."""
    return crypto.blake3(_text(domain) + body)


def pieces_of(shard: bytes) -> list[bytes]:
    return [shard[start : start + PIECE_BYTES] for start in range(0, len(shard), PIECE_BYTES)]


def compute_shard_id(slot: int, size: int, pieces_root: bytes) -> bytes:
    return digest("theblock/storage/shard/v1", struct.pack("<HQ", slot, size) + pieces_root)


def shard_id(slot: int, shard: bytes) -> bytes:
    """The name of a shard: it commits to slot, length and every piece."""
    return compute_shard_id(slot, len(shard), merkle.list_root(pieces_of(shard)))


def compute_contract_id(chain_id: int, core_id: bytes, owner: str, nonce: int) -> bytes:
    body = struct.pack("<I", chain_id) + core_id + _text(owner) + struct.pack("<Q", nonce)
    return digest("theblock/storage/contract/v1", body)


def compute_phase(contract: str, provider: str, epoch_blocks: int) -> int:
    """The block of each epoch at which a replica is challenged."""
    drawn = digest("theblock/storage/phase/v1", _text(contract) + _text(provider))
    return int.from_bytes(drawn[:8], "little") % epoch_blocks


def compute_samples(
    beacon: bytes, contract: str, provider: str, epoch: int, *, chunk_count: int, slots: Sequence[int], count: int
) -> list[Sample]:
    """Which pieces the beacon asks of a provider in an epoch (bias below 2^-40; duplicates allowed)."""
    tag = _text("theblock/storage/por-challenge/v1")
    seed = tag + beacon + _text(contract) + _text(provider) + struct.pack("<Q", epoch)
    stream = crypto.blake3_xof(seed, SAMPLE_BYTES * count)
    draws = [struct.unpack_from("<QQQ", stream, SAMPLE_BYTES * index) for index in range(count)]
    return [Sample(a % chunk_count, slots[b % len(slots)], c) for a, b, c in draws]


def open_sample(sample: Sample, shard: bytes, shard_ids: Sequence[bytes], n: int) -> Opening:
    """The answer to ``sample`` by the holder of ``shard``; ``shard_ids`` are the object's in (chunk, slot) order."""
    pieces = pieces_of(shard)
    index = sample.draw % len(pieces)
    return Opening(
        len(shard),
        pieces[index],
        tuple(merkle.list_proof(pieces, index)),
        tuple(merkle.list_proof(shard_ids, sample.chunk * n + sample.slot)),
    )


def verify_opening(sample: Sample, opening: Opening, shards_root: bytes, *, chunk_count: int, n: int) -> None:
    """Refuse an opening that does not show the asked piece under ``shards_root``."""
    if not 1 <= opening.shard_bytes <= SHARD_BYTES_MAX:
        raise InvalidTx("storage.por_length", shard_bytes=opening.shard_bytes)
    piece_count = -(-opening.shard_bytes // PIECE_BYTES)
    piece = sample.draw % piece_count
    if len(opening.data) != min(PIECE_BYTES, opening.shard_bytes - piece * PIECE_BYTES):
        raise InvalidTx("storage.por_length", piece=piece, size=len(opening.data))
    pieces_root = merkle.list_root_from_proof(opening.data, piece, piece_count, opening.piece_path)
    if pieces_root is None:
        raise InvalidTx("storage.por_path", which="piece")
    shard = compute_shard_id(sample.slot, opening.shard_bytes, pieces_root)
    index = sample.chunk * n + sample.slot
    root = merkle.list_root_from_proof(shard, index, chunk_count * n, opening.shard_path)
    if root is None:
        raise InvalidTx("storage.por_path", which="shard")
    if root != shards_root:
        raise InvalidTx("storage.por_root", chunk=sample.chunk, slot=sample.slot)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data
