"""The node's key as it lies in its Secret: the hex of a 32-byte Ed25519 seed."""

from __future__ import annotations

from pathlib import Path

from theblock_node.config import BadConfig
from theblock_node.core.crypto import SigningKey


def load_seed(path: Path) -> bytes:
    """The seed in ``path``; `BadConfig` where it is none. The text never shows what is in the file."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as failed:
        raise BadConfig(f"{path}: cannot be read") from failed
    try:
        seed = bytes.fromhex(text)
    except ValueError as failed:
        raise BadConfig(f"{path}: not hexadecimal") from failed
    if len(seed) != 32:
        raise BadConfig(f"{path}: {len(seed)} bytes where 32 are wanted")
    return seed


def load_key(path: Path) -> SigningKey:
    return SigningKey.from_seed(load_seed(path))
