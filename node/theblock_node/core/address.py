"""Addresses: ``hhhh:account``, four hex digits of the shard and what holds the account's keys.

An account of a key is the key's hex. System accounts are names on shard 0 that nobody can sign for.
"""

from __future__ import annotations

import re
from typing import Annotated

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import MaxLen, Pattern

ADDRESS_PATTERN = r"[0-9a-f]{4}:[0-9a-f]{64}|0000:[a-z][a-z0-9_-]{1,31}"
_KEY_ADDRESS = re.compile(r"([0-9a-f]{4}):([0-9a-f]{64})")
_SYSTEM_ADDRESS = re.compile(r"0000:[a-z][a-z0-9_-]{1,31}")

Address = Annotated[str, MaxLen(69), Pattern(ADDRESS_PATTERN)]


def address_of(public_key: bytes, shard: int = 0) -> str:
    """The address of a key's account on ``shard``."""
    assert len(public_key) == 32
    return f"{shard:04x}:{public_key.hex()}"


def parse_address(text: str) -> tuple[int, str]:
    """(shard, account); refuses what is not an address."""
    found = _KEY_ADDRESS.fullmatch(text)
    if found is not None:
        return int(found[1], 16), found[2]
    if _SYSTEM_ADDRESS.fullmatch(text):
        return 0, text[5:]
    raise InvalidRecord("address.format", address=text[:80])


def is_system_address(text: str) -> bool:
    return _KEY_ADDRESS.fullmatch(text) is None and _SYSTEM_ADDRESS.fullmatch(text) is not None


def shard_of(text: str) -> int:
    return int(text[:4], 16)
