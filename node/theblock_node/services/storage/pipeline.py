"""One chunk of an object on its way out and back: compress, encrypt, erasure-code, name.

Pure but for the libraries' own state, and heavy: the service runs it in a thread. Compressed bytes never reach a
consensus value but through the ciphertext, so another version of the compressor may pack differently.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from theblock_node.core import coding
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import retrieval

CHUNK_LADDER = (2**20, 2 * 2**20, 4 * 2**20)
"""Sizes of chunks: the least one, and what larger objects take so that their manifests stay small."""
SEAL_BYTES = 28
"""What encryption adds to a chunk: nonce and tag."""
SAVING = 16
"""A chunk stays as it is unless packing saves one part in so many."""
LEVEL = 3
WINDOW_LOG = 23
COMPRESSIONS = ("none", "zstd")
PLAIN = "none"
SEALED = "chacha20-poly1305"
ENCRYPTIONS = (PLAIN, SEALED)
ERASURE = "reed-solomon"
NO_KEY = bytes(32)
"""Where nothing is encrypted."""
_TAG = b"theblock/storage/chunk/v1"


@dataclass(frozen=True, slots=True)
class Layout:
    """How an object is cut and coded."""

    data: int
    parity: int
    chunk_bytes: int
    compression: str
    encryption: str

    @property
    def n(self) -> int:
        return self.data + self.parity


@dataclass(frozen=True, slots=True)
class CodedChunk:
    """A chunk as it is stored; ``shards`` by slot."""

    plain_len: int
    packed_len: int
    cipher_len: int
    shards: tuple[bytes, ...]
    shard_ids: tuple[bytes, ...]


def choose_chunk_bytes(size: int, data: int, *, chunks_max: int) -> int:
    """The least chunk of the ladder by which an object of ``size`` has at most ``chunks_max`` chunks."""
    for step in CHUNK_LADDER:
        fits = coding.compute_shard_size(step + SEAL_BYTES, data) <= retrieval.SHARD_BYTES_MAX
        if fits and -(-size // step) <= chunks_max:
            return step
    raise InvalidRecord("storage.too_large", size=size, chunks_max=chunks_max)


def encode_chunk(plain: bytes, index: int, layout: Layout, *, key: bytes, salt: bytes) -> CodedChunk:
    """The shards of chunk ``index`` and their ids."""
    packed = _compress(plain) if layout.compression == "zstd" else plain
    if layout.encryption == SEALED:
        nonce = _nonce(index)
        cipher = nonce + ChaCha20Poly1305(key).encrypt(nonce, packed, _associated(salt, index, len(plain)))
    else:
        cipher = packed
    shards = coding.split(cipher, layout.data)
    shards += coding.encode(shards, layout.parity)
    ids = tuple(retrieval.shard_id(slot, shard) for slot, shard in enumerate(shards))
    return CodedChunk(len(plain), len(packed), len(cipher), tuple(shards), ids)


def decode_chunk(
    shards: Mapping[int, bytes],
    index: int,
    layout: Layout,
    *,
    plain_len: int,
    packed_len: int,
    cipher_len: int,
    key: bytes,
    salt: bytes,
) -> bytes:
    """The plain bytes of chunk ``index`` from any ``data`` of its shards, which were checked against their ids."""
    if len(shards) < layout.data:
        raise InvalidRecord("storage.unrecoverable", chunk=index, shards=len(shards), needed=layout.data)
    data = coding.reconstruct(shards, range(layout.data), data=layout.data, parity=layout.parity)
    cipher = coding.join([data[slot] for slot in range(layout.data)], cipher_len)
    packed = _open(cipher, index, key, salt, plain_len) if layout.encryption == SEALED else cipher
    if len(packed) != packed_len:
        raise InvalidRecord("storage.integrity", chunk=index, reason="packed length")
    plain = packed if packed_len == plain_len else _decompress(packed, plain_len)
    if len(plain) != plain_len:
        raise InvalidRecord("storage.integrity", chunk=index, reason="length")
    return plain


def rebuild_shards(shards: Mapping[int, bytes], wanted: Sequence[int], *, data: int, parity: int) -> dict[int, bytes]:
    """The ``wanted`` shards of a chunk from any ``data`` others."""
    if len(shards) < data:
        raise InvalidRecord("storage.unrecoverable", shards=len(shards), needed=data)
    return coding.reconstruct(shards, wanted, data=data, parity=parity)


def _open(cipher: bytes, index: int, key: bytes, salt: bytes, plain_len: int) -> bytes:
    nonce = _nonce(index)
    if cipher[: len(nonce)] != nonce:
        raise InvalidRecord("storage.integrity", chunk=index, reason="nonce")
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, cipher[len(nonce) :], _associated(salt, index, plain_len))
    except InvalidTag as wrong:
        # The shards are what the chain's root commits to, so it is the key that does not fit.
        raise InvalidRecord("storage.bad_key", chunk=index) from wrong


def _nonce(index: int) -> bytes:
    """A key encrypts each index once, so the index is nonce enough."""
    return struct.pack("<IQ", 0, index)


def _associated(salt: bytes, index: int, plain_len: int) -> bytes:
    return struct.pack("<I", len(_TAG)) + _TAG + salt + struct.pack("<QI", index, plain_len)


def _compress(plain: bytes) -> bytes:
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(plain)
    return packed if len(packed) <= len(plain) - len(plain) // SAVING - 1 else plain


def _decompress(packed: bytes, plain_len: int) -> bytes:
    """At most ``plain_len`` bytes, whatever the frame says of itself."""
    try:
        parameters = zstandard.get_frame_parameters(packed)
        if parameters.content_size != plain_len or parameters.window_size > 1 << WINDOW_LOG:
            raise InvalidRecord("storage.decompress", content_size=parameters.content_size, plain_len=plain_len)
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=plain_len)
    except zstandard.ZstdError as wrong:
        raise InvalidRecord("storage.decompress", reason=str(wrong)) from wrong
