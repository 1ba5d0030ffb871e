"""Keys as the operator and people handle them: 32-byte seeds, their public keys and addresses."""

from __future__ import annotations

import secrets

from theblock_node.core import address as addresses
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains.validators import register_digest


def generate_seed() -> bytes:
    """32 bytes of system randomness."""
    return secrets.token_bytes(32)


def public_key(seed: bytes) -> bytes:
    return SigningKey.from_seed(seed).public_key


def address(key: bytes, shard: int = 0) -> str:
    """The address of a public key."""
    return addresses.address_of(key, shard)


def validator_proof(seed: bytes, owner: str, chain_id: int) -> bytes:
    """What `validators.register` wants of the identity key: that it agrees to ``owner``."""
    return SigningKey.from_seed(seed).sign(register_digest(chain_id, owner, bytes(48)))
