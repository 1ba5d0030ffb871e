"""Proofs that something stands in a foreign block, and what only looks like one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chain import Chain
from theblock_node.core import crypto, merkle
from theblock_node.core.domains.bridge import records as r
from theblock_node.core.domains.bridge.inclusion import check_inclusion
from theblock_node.core.domains.bridge.pow import Profile
from theblock_node.core.errors import InvalidTx

LEAVES = [b"transaction %d" % at for at in range(7)]


def bitcoin_tree(leaves: list[bytes], index: int) -> tuple[bytes, list[bytes]]:
    """(root as people write it, path of ``index``), as Bitcoin builds it."""
    row, path = [crypto.sha256d(leaf) for leaf in leaves], []
    while len(row) > 1:
        if len(row) % 2:
            row.append(row[-1])
        path.append(row[index ^ 1])
        row = [crypto.sha256d(row[at] + row[at + 1]) for at in range(0, len(row), 2)]
        index //= 2
    return row[0][::-1], path


def refusal(profile: Profile, root: bytes, leaf: bytes, index: int, count: int, path: list[bytes]) -> str:
    with pytest.raises(InvalidTx) as refused:
        check_inclusion(profile, root, leaf, index=index, count=count, path=path)
    return refused.value.code


@given(st.integers(1, 40), st.data())
def test_every_leaf_of_every_tree_is_proved_and_no_other(count, data):
    leaves = [b"leaf %d" % at for at in range(count)]
    index = data.draw(st.integers(0, count - 1))
    root, path = bitcoin_tree(leaves, index)

    check_inclusion(Profile.BITCOIN, root, leaves[index], index=index, count=count, path=path)
    assert refusal(Profile.BITCOIN, root, b"forged", index, count, path) == "bridge.invalid_proof"
    assert refusal(Profile.BITCOIN, root, leaves[index], count, count, path) == "bridge.invalid_proof"
    if path:
        assert refusal(Profile.BITCOIN, root, leaves[index], index, count, path[:-1]) == "bridge.invalid_proof"
    assert refusal(Profile.BITCOIN, root, leaves[index], index, count, [*path, root]) == "bridge.invalid_proof"


def test_inner_node_does_not_pose_as_a_transaction():
    root, path = bitcoin_tree(LEAVES[:4], 0)
    node = crypto.sha256d(LEAVES[0]) + crypto.sha256d(LEAVES[1])

    assert refusal(Profile.BITCOIN, root, node, 0, 2, path[1:]) == "bridge.invalid_proof"


def test_repeated_end_of_a_list_is_not_another_list():
    root, _ = bitcoin_tree(LEAVES[:3], 2)
    same_root, path = bitcoin_tree([*LEAVES[:3], LEAVES[2]], 3)

    assert same_root == root
    assert refusal(Profile.BITCOIN, root, LEAVES[2], 3, 4, path) == "bridge.invalid_proof"


def test_tbpow_proof_follows_the_vector():
    name = struct.pack("<I", 5) + b"ext-1" + struct.pack("<I", 6) + b"native"
    leaf = name + struct.pack("<Q", 7) + struct.pack("<I", 5) + b"alice" + struct.pack("<Q", 500) + b"\xaa" * 32
    path = [crypto.blake3(b"\x00x1"), crypto.blake3(b"\x00x2")]
    root = bytes.fromhex("64a575fc4cd414012bfcc29ccae5e199020adca470f1068d5eead26847cc1db5")

    assert crypto.blake3(b"\x00" + leaf).hex() == "ac7a06e5f4211f29dae58e830dc19c4f246da4b7093acd5f7ae37f595bcb09d4"
    assert merkle.list_root([leaf, b"x1", b"x2"]) == root
    check_inclusion(Profile.TBPOW, root, leaf, index=0, count=3, path=path)
    assert refusal(Profile.TBPOW, root, leaf, 0, 3, path[::-1]) == "bridge.invalid_proof"


def test_unknown_chain_has_no_inclusion():
    request = r.GetInclusion("bitcoin", bytes(32), b"", 0, 1, ())

    with pytest.raises(InvalidTx, match=r"bridge\.unknown_chain"):
        Chain().query("bridge.inclusion", request)
