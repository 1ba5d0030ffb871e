"""What a reader needs to fetch, check and decode an object. It names itself by its bytes; the chain keeps the names.

The core (everything but who holds what) is the lasting name of the content: moving a shard gives another manifest
with the same core, and the shard ids lie under `shards_root` in (chunk, slot) order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar

from theblock_node.core import codec, coding, merkle
from theblock_node.core.domains.storage.records import CHUNKS_MAX, SLOTS_MAX, ProviderId
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import U8, U32, U64, Bytes16, Bytes32, MaxLen
from theblock_node.core.proofs import retrieval
from theblock_node.services.storage import pipeline
from theblock_node.services.storage.pipeline import CodedChunk, Layout

MANIFEST_BYTES_MAX = 4 * 2**20
"""It travels in one message."""
_CHUNK_BYTES = 24
_SHARD_BYTES = 32


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """One chunk; ``shard_ids`` by slot."""

    plain_len: U32
    packed_len: U32
    cipher_len: U32
    shard_len: U32
    shard_ids: Annotated[tuple[Bytes32, ...], MaxLen(SLOTS_MAX)]


@dataclass(frozen=True)
class Manifest:
    VERSION: ClassVar[int] = 3

    version: U8
    object_salt: Bytes16
    total_len: U64
    content_mac: Bytes32
    """BLAKE3 of the plain bytes, keyed with the content key."""
    compression: Annotated[str, MaxLen(32)]
    encryption: Annotated[str, MaxLen(32)]
    erasure: Annotated[str, MaxLen(32)]
    data: U8
    parity: U8
    rs_matrix: U8
    chunk_len: U32
    """Nominal; the last chunk may be shorter."""
    chunks: Annotated[tuple[ChunkRow, ...], MaxLen(CHUNKS_MAX)]
    providers: Annotated[tuple[ProviderId, ...], MaxLen(SLOTS_MAX)]
    """Who holds the shards of each slot, of every chunk."""

    @property
    def n(self) -> int:
        return self.data + self.parity

    @property
    def layout(self) -> Layout:
        return Layout(self.data, self.parity, self.chunk_len, self.compression, self.encryption)

    @cached_property
    def manifest_id(self) -> bytes:
        return retrieval.digest("theblock/storage/manifest/v3", codec.encode(self))

    @cached_property
    def core_id(self) -> bytes:
        """The same whoever holds the shards."""
        return retrieval.digest("theblock/storage/manifest-core/v3", codec.encode(replace(self, providers=())))

    @cached_property
    def shards_root(self) -> bytes:
        return merkle.list_root(self.shard_ids)

    @property
    def shard_ids(self) -> list[bytes]:
        """In (chunk, slot) order."""
        return [shard_id for row in self.chunks for shard_id in row.shard_ids]

    def size_of(self, slots: Sequence[int]) -> int:
        """Bytes of the shards of some slots over all chunks."""
        return len(slots) * sum(row.shard_len for row in self.chunks)

    def slots_by_provider(self) -> dict[str, tuple[int, ...]]:
        """The slots of each provider, ascending."""
        held: dict[str, tuple[int, ...]] = {}
        for slot, name in enumerate(self.providers):
            held[name] = (*held.get(name, ()), slot)
        return held

    def shards(self, slots: Sequence[int]) -> Iterator[tuple[int, int, bytes, int]]:
        """(chunk, slot, shard id, size) of every shard of some slots."""
        for chunk, row in enumerate(self.chunks):
            for slot in slots:
                yield chunk, slot, row.shard_ids[slot], row.shard_len


def chunks_max(n: int) -> int:
    """How many chunks of ``n`` shards a manifest has room for."""
    room = MANIFEST_BYTES_MAX - 1024 - 68 * n
    return min(CHUNKS_MAX, room // (_CHUNK_BYTES + _SHARD_BYTES * n))


def to_row(coded: CodedChunk) -> ChunkRow:
    return ChunkRow(coded.plain_len, coded.packed_len, coded.cipher_len, len(coded.shards[0]), coded.shard_ids)


def with_holders(manifest: Manifest, holders: Mapping[int, str]) -> Manifest:
    """The manifest with other providers at some slots."""
    names = tuple(holders.get(slot, name) for slot, name in enumerate(manifest.providers))
    return replace(manifest, providers=names)


def read_manifest(data: bytes) -> Manifest:
    """A manifest from its bytes; refuses one that no reader could use."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise InvalidRecord("storage.too_large", size=len(data), max=MANIFEST_BYTES_MAX)
    manifest = codec.decode(Manifest, data)
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    _check_algorithms(manifest)
    if manifest.data < 1 or manifest.n > SLOTS_MAX or len(manifest.providers) != manifest.n:
        raise InvalidRecord("storage.manifest_slots", data=manifest.data, parity=manifest.parity)
    if not manifest.chunks or sum(row.plain_len for row in manifest.chunks) != manifest.total_len:
        raise InvalidRecord("storage.manifest_bad_lengths", total_len=manifest.total_len)
    last = len(manifest.chunks) - 1
    for index, row in enumerate(manifest.chunks):
        _check_chunk(manifest, index, row, is_last=index == last)


def _check_algorithms(manifest: Manifest) -> None:
    named = (manifest.compression, manifest.encryption, manifest.erasure, manifest.rs_matrix)
    if (
        manifest.compression not in pipeline.COMPRESSIONS
        or manifest.encryption not in pipeline.ENCRYPTIONS
        or (manifest.erasure, manifest.rs_matrix) != (pipeline.ERASURE, coding.RS_MATRIX)
    ):
        raise InvalidRecord("storage.manifest_invalid_algorithm", named=named)


def _check_chunk(manifest: Manifest, index: int, row: ChunkRow, *, is_last: bool) -> None:
    if len(row.shard_ids) != manifest.n:
        raise InvalidRecord("storage.manifest_slots", chunk=index, shards=len(row.shard_ids))
    sealing = pipeline.SEAL_BYTES if manifest.encryption == pipeline.SEALED else 0
    right = (
        (row.plain_len == manifest.chunk_len or (is_last and 0 < row.plain_len < manifest.chunk_len))
        and 0 < row.plain_len <= pipeline.CHUNK_LADDER[-1]
        and 0 < row.packed_len <= row.plain_len
        and row.cipher_len == row.packed_len + sealing
        and row.shard_len == coding.compute_shard_size(row.cipher_len, manifest.data)
        and row.shard_len <= retrieval.SHARD_BYTES_MAX
    )
    if not right:
        raise InvalidRecord("storage.manifest_bad_lengths", chunk=index)
