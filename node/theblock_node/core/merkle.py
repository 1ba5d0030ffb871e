"""Merkle trees: the compressed sparse tree of the state, and RFC 6962-shaped lists, both over BLAKE3.

A row's path has 320 bits: shard (16), table (48), key (256), so a shard and a table of a shard are subtrees. A
branch names the first bit at which the leaves below it differ; branches with one child do not exist. Trees are
immutable and share structure: an update touches about log2(n) branches for each row, and the old root stays
what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import theblock_node.core.crypto as crypto
from theblock_node.core.numeric import U16, Bytes32, FixedBytes, MaxLen

PATH_BYTES = 40
PATH_BITS = 8 * PATH_BYTES
EMPTY_ROOT = bytes(32)
TABLE_PREFIX_BYTES = 6

# A leaf is (hash, path, value hash), a branch (hash, path, depth, left, right): plain tuples, since a state has
# millions. Paths are integers; a branch keeps the path of any leaf below it, for the bits above its depth.
_Node = tuple[Any, ...]
_LEAF = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One turn on the way from the root: the bit at ``depth`` decides, ``sibling`` is the other side."""

    depth: U16
    sibling: Bytes32


@dataclass(frozen=True, slots=True)
class OtherLeaf:
    """The leaf that stands where an absent row would."""

    path: Annotated[bytes, FixedBytes(PATH_BYTES)]
    value_hash: Bytes32


@dataclass(frozen=True, slots=True)
class Proof:
    """Steps from the root; ``other`` ends a proof of absence, None a proof of presence or an empty tree."""

    steps: Annotated[tuple[Step, ...], MaxLen(PATH_BITS)]
    other: OtherLeaf | None


def path_of(shard: int, table: str, key: bytes) -> bytes:
    """The 40-byte path of the row ``key`` (canonical bytes) of a table."""
    return path_in(shard, table_prefix(table), key)


def path_in(shard: int, prefix: bytes, key: bytes) -> bytes:
    """`path_of` a table whose prefix is known."""
    return shard.to_bytes(2, "big") + prefix + crypto.blake3(key)


def table_prefix(table: str) -> bytes:
    """The 6 bytes by which a table stands in a path."""
    return crypto.blake3(table.encode())[:TABLE_PREFIX_BYTES]


class Tree:
    """An immutable sparse Merkle tree from paths to values."""

    __slots__ = ("_node",)

    def __init__(self, node: _Node | None = None) -> None:
        self._node = node

    @property
    def root(self) -> bytes:
        return EMPTY_ROOT if self._node is None else self._node[0]

    def update(self, changes: Mapping[bytes, bytes | None]) -> Tree:
        """The tree with ``changes`` (path -> value, None removes); this one stays as it is."""
        if not changes:
            return self
        rows = [
            (int.from_bytes(path, "big"), None if value is None else _leaf(path, crypto.blake3(value)))
            for path, value in changes.items()
        ]
        rows.sort(key=lambda row: row[0])
        return Tree(_update(self._node, rows, 0, len(rows)))

    def prove(self, path: bytes) -> Proof:
        """A proof that the row at ``path`` is there, or that it is not."""
        wanted = int.from_bytes(path, "big")
        steps: list[Step] = []
        node = self._node
        while node is not None and len(node) != _LEAF:
            _, _, depth, left, right = node
            near, far = (right, left) if _bit(wanted, depth) else (left, right)
            steps.append(Step(depth, far[0]))
            node = near
        if node is None or node[1] == wanted:
            return Proof(tuple(steps), None)
        return Proof(tuple(steps), OtherLeaf(node[1].to_bytes(PATH_BYTES, "big"), node[2]))

    def subtree_root(self, prefix: bytes) -> bytes:
        """The root of all rows whose path starts with ``prefix``: of a shard (2 bytes) or a table of it (8)."""
        bits = 8 * len(prefix)
        wanted = int.from_bytes(prefix, "big")
        node = self._node
        while node is not None and len(node) != _LEAF and node[2] < bits:
            node = node[4] if (wanted >> (bits - 1 - node[2])) & 1 else node[3]
        if node is None or node[1] >> (PATH_BITS - bits) != wanted:
            return EMPTY_ROOT
        return node[0]  # type: ignore[no-any-return]

    def shards(self) -> list[int]:
        """The shards that have a row, ascending."""
        found: set[int] = set()
        waiting = [self._node]
        while waiting:
            node = waiting.pop()
            if node is None:
                continue
            if len(node) == _LEAF or node[2] >= 16:
                found.add(node[1] >> (PATH_BITS - 16))
            else:
                waiting.extend(node[3:])
        return sorted(found)


EMPTY = Tree()


def verify(root: bytes, path: bytes, value: bytes | None, proof: Proof, *, prefix_bits: int = 0) -> bool:
    """Whether ``proof`` shows that the row at ``path`` has ``value`` (None: is absent) under ``root``.

    With ``prefix_bits`` the root is that of a shard (16) or of a table of a shard (64).
    """
    if len(path) != PATH_BYTES:
        return False
    wanted = int.from_bytes(path, "big")
    depths = [step.depth for step in proof.steps]
    if any(low >= high for low, high in zip([prefix_bits - 1, *depths], [*depths, PATH_BITS], strict=True)):
        return False
    if value is not None:
        if proof.other is not None:
            return False
        digest = _leaf(path, crypto.blake3(value))[0]
    elif proof.other is None:
        return not proof.steps and root == EMPTY_ROOT
    else:
        if proof.other.path == path:
            return False
        digest = _leaf(proof.other.path, proof.other.value_hash)[0]
    for step in reversed(proof.steps):
        pair = (step.sibling, digest) if _bit(wanted, step.depth) else (digest, step.sibling)
        digest = _branch_hash(step.depth, *pair)
    return bool(digest == root)


def list_root(items: Sequence[bytes]) -> bytes:
    """The root over a list: leaf ``H(0 || x)``, branch ``H(1 || l || r)``, split at a power of two (RFC 6962)."""
    if not items:
        return crypto.blake3(b"")
    return _fold([crypto.blake3(b"\x00" + item) for item in items])


def list_proof(items: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings of item ``index`` from the leaf up (RFC 9162, 2.1.3.1)."""
    level = [crypto.blake3(b"\x00" + item) for item in items]
    path: list[bytes] = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level = _parents(level)
        index //= 2
    return path


def list_root_from_proof(item: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """The root of a list of ``count`` in which ``item`` stands at ``index``; None if the path does not fit.

    RFC 9162, 2.1.3.2: the exact length of the path is checked.
    """
    if not 0 <= index < count:
        return None
    digest = crypto.blake3(b"\x00" + item)
    last = count - 1
    siblings = iter(path)
    while last:
        if index % 2 or index < last:
            sibling = next(siblings, None)
            if sibling is None or len(sibling) != 32:
                return None
            digest = crypto.blake3(b"\x01" + (sibling + digest if index % 2 else digest + sibling))
        index //= 2
        last //= 2
    return digest if next(siblings, None) is None else None


def _fold(level: list[bytes]) -> bytes:
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def _parents(level: list[bytes]) -> list[bytes]:
    """One level up; a last node without a partner rises as it is, which is RFC 6962's split."""
    paired = [crypto.blake3(b"\x01" + level[at] + level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return paired + level[len(level) - len(level) % 2 :]


def _bit(path: int, depth: int) -> int:
    return (path >> (PATH_BITS - 1 - depth)) & 1


def _leaf(path: bytes, value_hash: bytes) -> _Node:
    return crypto.blake3(b"\x00" + path + value_hash), int.from_bytes(path, "big"), value_hash


_BRANCH_HEADS = [b"\x01" + depth.to_bytes(2, "little") for depth in range(PATH_BITS)]


def _branch_hash(depth: int, left: bytes, right: bytes) -> bytes:
    return crypto.blake3(_BRANCH_HEADS[depth] + left + right)


def _branch(depth: int, left: _Node | None, right: _Node | None) -> _Node | None:
    if left is None or right is None:
        return left or right
    return _branch_hash(depth, left[0], right[0]), left[1], depth, left, right


_Rows = list[tuple[int, _Node | None]]


def _update(node: _Node | None, rows: _Rows, start: int, end: int) -> _Node | None:
    """``node`` with rows[start:end], which are sorted and lie under the same prefix as it."""
    if start == end:
        return node
    if end - start == 1:
        return _update_one(node, *rows[start])
    if node is None or len(node) == _LEAF:
        return _build(_with_leaf(node, rows[start:end]))
    first, last = rows[start][0], rows[end - 1][0]
    path, depth = node[1], node[2]
    # Above this bit everything agrees: the branch and all rows.
    common = PATH_BITS - max((first ^ path).bit_length(), (last ^ path).bit_length())
    if common >= depth:
        middle = _split(rows, start, end, depth)
        left = _update(node[3], rows, start, middle)
        right = _update(node[4], rows, middle, end)
        return node if left is node[3] and right is node[4] else _branch(depth, left, right)
    middle = _split(rows, start, end, common)
    if _bit(path, common):
        return _branch(common, _build(rows[start:middle]), _update(node, rows, middle, end))
    return _branch(common, _update(node, rows, start, middle), _build(rows[middle:end]))


def _update_one(node: _Node | None, path: int, leaf: _Node | None) -> _Node | None:
    """`_update` with a single row: down to where it belongs, and up again. Most of an update is this."""
    above: list[_Node] = []
    while node is not None and len(node) != _LEAF:
        depth = node[2]
        if (path ^ node[1]).bit_length() > PATH_BITS - depth:
            break
        above.append(node)
        node = node[4] if _bit(path, depth) else node[3]
    if node is None or node[1] == path:
        made = leaf
    elif leaf is None:
        made = node
    else:
        depth = PATH_BITS - (path ^ node[1]).bit_length()
        made = _branch(depth, node, leaf) if _bit(path, depth) else _branch(depth, leaf, node)
    if made is node:
        return above[0] if above else node
    for branch in reversed(above):
        depth = branch[2]
        made = _branch(depth, branch[3], made) if _bit(path, depth) else _branch(depth, made, branch[4])
    return made


def _with_leaf(leaf: _Node | None, rows: _Rows) -> _Rows:
    if leaf is None or any(path == leaf[1] for path, _ in rows):
        return rows
    return sorted([*rows, (leaf[1], leaf)], key=lambda row: row[0])


def _build(rows: _Rows) -> _Node | None:
    """A subtree of nothing but ``rows``."""
    kept = [leaf for _, leaf in rows if leaf is not None]
    return _join(kept, 0, len(kept)) if kept else None


def _join(leaves: list[_Node], start: int, end: int) -> _Node:
    if end - start == 1:
        return leaves[start]
    depth = PATH_BITS - (leaves[start][1] ^ leaves[end - 1][1]).bit_length()
    low, high = start, end
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _bit(leaves[middle][1], depth) else (middle + 1, high)
    made = _branch(depth, _join(leaves, start, low), _join(leaves, low, end))
    assert made is not None
    return made


def _split(rows: _Rows, start: int, end: int, depth: int) -> int:
    """The first of the sorted rows whose bit at ``depth`` is 1."""
    while start < end:
        middle = (start + end) // 2
        start, end = (start, middle) if _bit(rows[middle][0], depth) else (middle + 1, end)
    return start
