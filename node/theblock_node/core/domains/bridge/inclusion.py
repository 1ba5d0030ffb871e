"""Whether something stands in a foreign block: a leaf, its place, and the path to the header's root.

`tbpow/1` has RFC 6962 trees over BLAKE3. Bitcoin's tree of double SHA-256 has two traps, both closed here: 64 bytes
that are an inner node may pose as a transaction, and a list whose end is repeated has the root of the shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence

from theblock_node.core import crypto, merkle
from theblock_node.core.domains.bridge.pow import Profile
from theblock_node.core.errors import InvalidTx

NODE_BYTES = 64


def check_inclusion(
    profile: Profile, root: bytes, leaf: bytes, *, index: int, count: int, path: Sequence[bytes]
) -> None:
    """Refuse unless ``leaf`` stands at ``index`` of ``count`` under ``root``, as the header's record has it."""
    if index >= count:
        raise InvalidTx("bridge.invalid_proof", reason="index beyond the count", index=index, count=count)
    if profile is Profile.BITCOIN:
        found = _bitcoin_root(leaf, index, count, path)
        # People write Bitcoin's hashes backwards, and so does the record.
        found = None if found is None else found[::-1]
    else:
        found = merkle.list_root_from_proof(leaf, index, count, path)
    if found != root:
        raise InvalidTx("bridge.invalid_proof", reason="the path does not lead to the root")


def _bitcoin_root(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to; None if it does not fit the count."""
    if len(leaf) == NODE_BYTES:
        raise InvalidTx("bridge.invalid_proof", reason="64 bytes are no transaction")
    node, width = crypto.sha256d(leaf), count
    for sibling in path:
        if width == 1:
            return None
        is_alone = index == width - 1 and width % 2 == 1
        if is_alone != (sibling == node):
            return None  # Only the last of an odd row is paired with itself.
        node = crypto.sha256d(sibling + node if index % 2 else node + sibling)
        index, width = index // 2, (width + 1) // 2
    return node if width == 1 else None
