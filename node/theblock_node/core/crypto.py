"""Hashes and signatures; the only module that imports crypto libraries.

Acceptance of an Ed25519 signature is libsodium's: small-order keys and non-canonical scalars are refused.
Another library would accept other signatures and fork the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import blake3 as _blake3
from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError
from nacl.exceptions import ValueError as NaclValueError


def blake3(data: bytes) -> bytes:
    """32 bytes of BLAKE3."""
    return _blake3.blake3(data).digest()


def blake3_xof(data: bytes, size: int) -> bytes:
    """``size`` bytes of BLAKE3's extendable output."""
    return _blake3.blake3(data).digest(length=size)


def blake3_keyed(key: bytes, parts: Iterable[bytes]) -> bytes:
    """BLAKE3 keyed with 32 bytes, over the concatenation of ``parts``."""
    hasher = _blake3.blake3(key=key)
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def blake2b_512(data: bytes) -> bytes:
    """64 bytes of BLAKE2b, with which snarkjs names circuits."""
    return hashlib.blake2b(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA-256 twice, as Bitcoin hashes headers."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


class SigningKey:
    """An Ed25519 key pair (RFC 8032)."""

    __slots__ = ("_secret", "public_key")

    def __init__(self, seed: bytes) -> None:
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        if len(seed) != 32:
            raise ValueError("a seed is 32 bytes")
        return cls(seed)

    def sign(self, message: bytes) -> bytes:
        return crypto_sign(message, self._secret)[:64]

    def __repr__(self) -> str:
        return f"SigningKey({self.public_key.hex()})"


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the key's over ``message``; False for anything malformed."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except (BadSignatureError, NaclValueError):
        return False
    return True


def verify_batch(items: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """`verify` of each (public key, message, signature)."""
    return [verify(*item) for item in items]


def is_valid_key(public_key: bytes) -> bool:
    """Whether the bytes are a point that signatures can be checked with."""
    return len(public_key) == 32 and bool(crypto_core_ed25519_is_valid_point(public_key))
