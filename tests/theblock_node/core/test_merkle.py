"""The state's tree against a slow one written from the specification, and proofs that only the truth passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core import codec, merkle
from theblock_node.core.crypto import SigningKey, blake3
from theblock_node.core.domains.accounts import ACCOUNTS, Account
from theblock_node.core.merkle import EMPTY, EMPTY_ROOT, PATH_BITS, PATH_BYTES, Proof, Step, verify
from theblock_node.core.transition import shard_roots_root

A1, A2, A3 = (
    f"{shard:04x}:{SigningKey.from_seed(bytes([seed]) * 32).public_key.hex()}"
    for shard, seed in ((1, 1), (2, 2), (1, 3))
)
# Few distinct bits, so that paths share long prefixes and differ in the first and in the last bit.
PATHS = st.builds(
    lambda first, middle, last: bytes([first]) + bytes([middle]) * (PATH_BYTES - 2) + bytes([last]),
    st.sampled_from([0, 1, 0x80, 0xFF]),
    st.sampled_from([0, 0xFF]),
    st.sampled_from([0, 1, 2, 0x80]),
)
VALUES = st.sampled_from([b"", b"a", b"b"])
ROWS = st.dictionaries(PATHS, VALUES, max_size=12)
CHANGES = st.dictionaries(PATHS, st.none() | VALUES, max_size=8)


def slow_root(rows: dict[bytes, bytes], depth: int = 0) -> bytes:
    """Section 1.3 of the ledger's specification, word by word."""
    if not rows:
        return EMPTY_ROOT
    if len(rows) == 1:
        ((path, value),) = rows.items()
        return blake3(b"\0" + path + blake3(value))
    left = {path: value for path, value in rows.items() if not path[depth // 8] >> (7 - depth % 8) & 1}
    right = {path: value for path, value in rows.items() if path not in left}
    if not left or not right:
        return slow_root(rows, depth + 1)
    return blake3(b"\1" + depth.to_bytes(2, "little") + slow_root(left, depth + 1) + slow_root(right, depth + 1))


def account(address: str, balance: int, nonce: int) -> tuple[bytes, bytes]:
    """Path and value of an account's row."""
    return ACCOUNTS.path(address, ACCOUNTS.encode_key(address)), codec.encode(Account(1, address, balance, nonce))


def test_roots_are_the_specifications():
    rows = [account(A1, 5, 1), account(A2, 7, 0), account(A3, 9, 0)]
    trees = [EMPTY.update(dict(rows[:count])) for count in range(4)]

    assert rows[0][0].hex() == ("00018d0e0dc456cd2bc1ae76b4189453d460284f682ac1160a531f31232a9901736aad20d39680c0")
    assert [tree.root.hex() for tree in trees] == [
        "00" * 32,
        "3a0aca29c1f46fb5ec0896579c196aba3519794e5ef08fa72f17bb5f02d86e8f",
        "93d71910671fcf9a90c1e4a470453834dfa3bd39dcf0035878b0a2f9b6cf4281",
        "107faa826d44df2b7fd9fddbbcb8ca2037e606ca51560b220948e3e1e85fc3cf",
    ]
    assert trees[3].subtree_root(b"\0\1").hex() == "6c1dffe49c9dab1d5c2d80064cef7224ce37c70867853b732cb9fed374fcdb06"
    assert shard_roots_root(trees[3]).hex() == "98f3ea040a5f6e72fc7857dbeeb5796c925127b7e9573246a55c96e7b3a556e8"
    assert [step.depth for step in trees[3].prove(rows[0][0]).steps] == [14, 66]


@settings(max_examples=300)
@given(ROWS, st.lists(CHANGES, max_size=4))
def test_updates_lead_to_the_same_root_as_building_anew(rows, updates):
    tree, expected = EMPTY.update(dict(rows)), dict(rows)
    for changes in updates:
        before, old_root = tree, tree.root
        tree = tree.update(changes)
        expected = {path: value for path, value in {**expected, **changes}.items() if value is not None}

        assert tree.root == slow_root(expected)
        assert before.root == old_root


@settings(max_examples=300)
@given(ROWS, PATHS)
def test_presence_and_absence_are_proved(rows, path):
    tree = EMPTY.update(dict(rows))
    proof = tree.prove(path)
    value = rows.get(path)

    assert verify(tree.root, path, value, proof)
    assert codec.decode(Proof, codec.encode(proof)) == proof
    for lie in (None, b"", b"a", b"z"):
        assert verify(tree.root, path, lie, proof) == (lie == value)
    assert not verify(blake3(tree.root), path, value, proof)


@settings(max_examples=300)
@given(ROWS.filter(lambda rows: len(rows) > 1), st.data())
def test_a_forged_proof_is_refused(rows, data):
    """Any other steps, any other leaf at the end, any proof of another row."""
    tree = EMPTY.update(dict(rows))
    path = data.draw(st.sampled_from(sorted(rows)))
    proof = tree.prove(path)
    at = data.draw(st.integers(0, len(proof.steps) - 1))
    step = proof.steps[at]
    others = [
        replace(proof, steps=proof.steps[:at] + proof.steps[at + 1 :]),
        replace(proof, steps=proof.steps[: at + 1] + proof.steps[at:]),
        replace(proof, steps=proof.steps + (Step(PATH_BITS - 1, bytes(32)),)),
        _with_step(proof, at, Step(step.depth, blake3(step.sibling))),
        _with_step(proof, at, Step(step.depth ^ 1, step.sibling)),
        _with_step(proof, at, Step(PATH_BITS, step.sibling)),
        replace(proof, other=merkle.OtherLeaf(path, blake3(rows[path]))),
        replace(proof, steps=()),
    ]
    for forged in others:
        assert not verify(tree.root, path, rows[path], forged)
        assert not verify(tree.root, path, None, forged)


@given(ROWS.filter(lambda rows: len(rows) > 1), st.data())
def test_a_row_is_not_denied_with_anothers_proof(rows, data):
    tree = EMPTY.update(dict(rows))
    path, other = data.draw(st.permutations(sorted(rows)))[:2]
    steps = tree.prove(other).steps
    leaf = merkle.OtherLeaf(other, blake3(rows[other]))

    assert not verify(tree.root, path, None, Proof(steps, leaf))
    assert not verify(tree.root, path, None, Proof(steps, merkle.OtherLeaf(path, blake3(rows[path]))))


def _with_step(proof: Proof, at: int, step: Step) -> Proof:
    return replace(proof, steps=(*proof.steps[:at], step, *proof.steps[at + 1 :]))


def test_a_branch_does_not_pass_for_a_leaf():
    """What a branch is hashed from, shown as a leaf's path and value: the first byte and the length differ."""
    tree = EMPTY.update({bytes(PATH_BYTES): b"a", b"\xff" * PATH_BYTES: b"b"})
    inner = EMPTY.update({bytes(PATH_BYTES): b"a", bytes(PATH_BYTES - 1) + b"\1": b"b"})

    assert not verify(tree.root, bytes(PATH_BYTES), inner.root, tree.prove(bytes(PATH_BYTES)))
    assert tree.root != inner.root


@given(st.dictionaries(PATHS, VALUES, max_size=12), PATHS)
def test_a_subtree_has_a_root_and_proofs_of_its_own(rows, path):
    tree = EMPTY.update(dict(rows))
    shard = path[:2]
    inside = {other: value for other, value in rows.items() if other[:2] == shard}
    proof = tree.prove(path)
    cut = replace(proof, steps=tuple(step for step in proof.steps if step.depth >= 16))

    assert tree.subtree_root(shard) == slow_root(inside)
    if path in rows:
        assert verify(tree.subtree_root(shard), path, rows[path], cut, prefix_bits=16)
    if cut != proof and path in rows:
        assert not verify(tree.subtree_root(shard), path, rows[path], proof, prefix_bits=16)
    assert tree.shards() == sorted({int.from_bytes(other[:2], "big") for other in rows})


def test_a_path_of_another_length_proves_nothing():
    tree = EMPTY.update({bytes(PATH_BYTES): b"a"})

    assert not verify(tree.root, bytes(PATH_BYTES - 1), b"a", Proof((), None))
    assert not verify(tree.root, bytes(PATH_BYTES + 1), b"a", Proof((), None))


def test_list_roots_are_the_specifications():
    items = [b"\0", b"\1", b"\2"]

    assert [merkle.list_root(items[:count]).hex() for count in range(4)] == [
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        "1ad48f49627079d806b802c74f40c39d55fe1d78b3faf0f8017aec62cec42122",
        "a7c40517c3ba6ed1c930a04047fc7d941e0c6c86dff760457784186431014629",
        "b8a32224c977fedb0f8860d7bb067da5e88821ebc3a518f29bf21afeee562d43",
    ]


def slow_list_root(items: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if len(items) < 2:
        return blake3(b"\0" + items[0]) if items else blake3(b"")
    middle = 1 << (len(items) - 1).bit_length() - 1
    return blake3(b"\1" + slow_list_root(items[:middle]) + slow_list_root(items[middle:]))


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=40), st.data())
def test_each_item_of_a_list_is_proved_at_its_place_alone(items, data):
    root = merkle.list_root(items)
    index = data.draw(st.integers(0, len(items) - 1))
    path = merkle.list_proof(items, index)

    assert root == slow_list_root(items)
    assert merkle.list_root_from_proof(items[index], index, len(items), path) == root
    assert merkle.list_root_from_proof(items[index] + b"!", index, len(items), path) != root
    assert merkle.list_root_from_proof(items[index], index, len(items), [*path, bytes(32)]) is None
    if path:
        assert merkle.list_root_from_proof(items[index], index, len(items), path[:-1]) is None
        assert merkle.list_root_from_proof(items[index], index, len(items), [path[0][:31], *path[1:]]) is None


@pytest.mark.parametrize(("index", "count"), [(0, 0), (1, 1), (-1, 3), (3, 3)])
def test_no_item_stands_outside_its_list(index, count):
    assert merkle.list_root_from_proof(b"", index, count, []) is None
