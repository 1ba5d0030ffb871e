"""The state's root after 1,000 changed rows of a million, beside the hashing alone that it takes at the least."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import blake3
from theblock_node.core import merkle

from bench.figures import Figure, Peer, time_sides

ROWS = 1_000_000
CHANGED = 1000


def run(rows: int = ROWS) -> Iterator[Figure]:
    chance = Random(1)
    paths = [merkle.path_of(0, "accounts/account", number.to_bytes(4, "little")) for number in range(rows)]
    tree = merkle.EMPTY.update({path: path[-8:] for path in paths})
    changes: dict[bytes, bytes | None] = {path: bytes(113) for path in chance.sample(paths, CHANGED)}
    hashes = CHANGED * 2 + _branches(tree, changes)

    def update() -> int:
        tree.update(changes)
        return CHANGED

    def hash_only() -> int:
        data = bytes(67)
        for _ in range(hashes):
            blake3.blake3(data).digest()
        return CHANGED

    rates = time_sides({"ours": update, "limit": hash_only})
    yield Figure(
        "state_root.update",
        1000 * CHANGED / rates["ours"],
        "ms",
        (Peer("the same number of BLAKE3 calls and nothing else", 1000 * CHANGED / rates["limit"]),),
        note=f"{CHANGED:,} changed rows of {rows:,}: {hashes:,} hashes",
        is_time=True,
    )
    proofs = [(path, tree.prove(path)) for path in paths[:CHANGED]]

    def verify() -> int:
        assert all(merkle.verify(tree.root, path, path[-8:], proof) for path, proof in proofs)
        return CHANGED

    def prove() -> int:
        for path, _ in proofs:
            tree.prove(path)
        return CHANGED

    rates = time_sides({"prove": prove, "verify": verify})
    yield Figure("state_root.prove", rates["prove"], "proofs/s", note=f"of one row of {rows:,}")
    yield Figure("state_root.verify", rates["verify"], "proofs/s", note=f"{len(proofs[0][1].steps)} steps")


def _branches(tree: merkle.Tree, changes: dict[bytes, bytes | None]) -> int:
    """Branches above the changed rows, each once: what an update has to hash."""
    above = {
        (step.depth, int.from_bytes(path, "big") >> (merkle.PATH_BITS - step.depth))
        for path in changes
        for step in tree.prove(path).steps
    }
    return len(above)
