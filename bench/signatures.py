"""Ed25519 verification beside PyNaCl, and libsodium called through its C interface and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from nacl._sodium import ffi, lib
from nacl.signing import VerifyKey
from theblock_node.core import crypto

from bench.figures import Figure, compare

COUNT = 256
MESSAGE_BYTES = 264
"""Of a transfer's payload with the chain's tag in front."""


def run() -> Iterator[Figure]:
    keys = [crypto.SigningKey.from_seed(bytes([number]) * 32) for number in range(16)]
    messages = [number.to_bytes(2, "little") * (MESSAGE_BYTES // 2) for number in range(COUNT)]
    items = [(keys[at % 16].public_key, message, keys[at % 16].sign(message)) for at, message in enumerate(messages)]

    def with_pynacl() -> int:
        for public_key, message, signature in items:
            VerifyKey(public_key).verify(message, signature)
        return COUNT

    signed = [signature + message for _, message, signature in items]
    room, size = ffi.new("unsigned char[]", 64 + MESSAGE_BYTES), ffi.new("unsigned long long *")

    def with_libsodium() -> int:
        for (public_key, _, _), data in zip(items, signed, strict=True):
            assert lib.crypto_sign_open(room, size, data, len(data), public_key) == 0
        return COUNT

    def one_by_one() -> int:
        assert all(crypto.verify(*item) for item in items)
        return COUNT

    def as_a_batch() -> int:
        assert all(crypto.verify_batch(items))
        return COUNT

    peers = {"PyNaCl VerifyKey.verify": with_pynacl, "libsodium through cffi": with_libsodium}
    yield compare("signatures.verify", "signatures/s", "ours", {"ours": one_by_one, **peers})
    yield compare(
        "signatures.verify_batch", "signatures/s", "ours", {"ours": as_a_batch, **peers}, note=f"{COUNT} at once"
    )
