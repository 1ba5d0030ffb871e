"""The keys that an oracle signs readings with: the one in use, and one that a changed file has staged.

The chain says from which height on a key counts, so the chain's registry decides which one signs, not a timer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from theblock_node.core.crypto import SigningKey, verify
from theblock_node.core.domains.energy.records import OracleKey

_PROBE = b"theblock/energy/key-probe"


@dataclass(frozen=True, slots=True)
class KeyRing:
    active: SigningKey
    staged: SigningKey | None = None
    invalid: str = ""
    """Why the file, as it lies now, was not taken; empty if it was."""

    @property
    def newest(self) -> SigningKey:
        """The key that is to be registered."""
        return self.staged or self.active


def parse_key(data: bytes) -> SigningKey:
    """The key of a file with the hex of a 32-byte seed; refuses anything else without showing it."""
    try:
        seed = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        raise ValueError("not hexadecimal") from None
    if len(seed) != 32:
        raise ValueError(f"{len(seed)} bytes where 32 are wanted")
    key = SigningKey.from_seed(seed)
    if not verify(key.public_key, _PROBE, key.sign(_PROBE)):
        raise ValueError("it cannot check its own signature")
    return key


def reload(ring: KeyRing, data: bytes) -> KeyRing:
    """The ring after the file changed: a new key is staged, a bad file changes nothing but the report."""
    try:
        key = parse_key(data)
    except ValueError as wrong:
        return replace(ring, invalid=str(wrong))
    if key.public_key == ring.active.public_key:
        return KeyRing(ring.active)
    return KeyRing(ring.active, key)


def choose(ring: KeyRing, registered: Sequence[OracleKey], height: int) -> SigningKey | None:
    """The loaded key that counts at ``height``, the youngest of several; None if the chain knows none of them."""
    loaded = {key.public_key: key for key in (ring.active, ring.staged) if key is not None}
    usable = [row for row in registered if row.is_usable(height) and row.public_key in loaded]
    return loaded[usable[-1].public_key] if usable else None


def promote(ring: KeyRing, chosen: Iterable[bytes | None]) -> KeyRing:
    """Put the staged key in use once it signs for every provider; ``chosen`` are their keys now."""
    if ring.staged is None:
        return ring
    now = set(chosen)
    return KeyRing(ring.staged, None, ring.invalid) if now == {ring.staged.public_key} else ring
