"""The erasure code: golden vectors, an independent slow twin, and recovery from any shards that suffice."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core import coding

GOLDEN_4_2 = ["3a1a7a5a", "ba9afada"]
GOLDEN_16_8 = ["ed", "f2", "d3", "cc", "91", "8e", "af", "b0"]


def slow_multiply(left: int, right: int) -> int:
    """Carry-less product modulo 0x11D, bit by bit."""
    product = 0
    for bit in range(8):
        if right >> bit & 1:
            product ^= left << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11D << bit - 8
    return product


def slow_inverse(value: int) -> int:
    return next(other for other in range(1, 256) if slow_multiply(value, other) == 1)


def slow_encode(shards: list[bytes], parity: int) -> list[bytes]:
    data = len(shards)
    rows = []
    for row in range(parity):
        made = bytearray(len(shards[0]))
        for at, shard in enumerate(shards):
            factor = slow_inverse((data + row) ^ at)
            for index, value in enumerate(shard):
                made[index] ^= slow_multiply(factor, value)
        rows.append(bytes(made))
    return rows


@st.composite
def coded(draw: st.DrawFn) -> tuple[bytes, int, int, list[bytes]]:
    data, parity = draw(st.integers(1, 20)), draw(st.integers(0, 12))
    chunk = draw(st.binary(min_size=1, max_size=300))
    shards = coding.split(chunk, data)
    return chunk, data, parity, shards + coding.encode(shards, parity)


def test_field_agrees_with_its_definition_everywhere():
    for left in range(256):
        assert [coding.multiply(left, right) for right in range(256)] == [
            slow_multiply(left, right) for right in range(256)
        ]
    assert [coding.inverse(value) for value in range(1, 256)] == [slow_inverse(value) for value in range(1, 256)]


@pytest.mark.parametrize(
    ("data", "parity", "rows"),
    [
        pytest.param(4, 2, ["47a77aba", "a747ba7a"], id="4+2"),
        pytest.param(2, 1, ["8ef4"], id="2+1"),
        pytest.param(1, 2, ["01", "8e"], id="1+2"),
    ],
)
def test_parity_rows_are_the_cauchy_matrix(data, parity, rows):
    assert [bytes(coding.matrix_row(data + row, data)).hex() for row in range(parity)] == rows


def test_golden_parity_of_counting_bytes():
    shards = [bytes(range(4 * at, 4 * at + 4)) for at in range(4)]

    assert [shard.hex() for shard in coding.encode(shards, 2)] == GOLDEN_4_2
    assert coding.encode([bytes([value]) for value in range(16)], 8) == [bytes.fromhex(text) for text in GOLDEN_16_8]


@given(coded())
@settings(max_examples=60, deadline=None)
def test_encoding_agrees_with_the_slow_twin(given_code):
    _, data, parity, shards = given_code
    assert shards[data:] == slow_encode(shards[:data], parity)


@given(coded(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_shards_that_suffice_give_back_everything(given_code, chance):
    chunk, data, parity, shards = given_code
    kept = chance.sample(range(data + parity), data)

    made = coding.reconstruct({at: shards[at] for at in kept}, range(data + parity), data=data, parity=parity)

    assert [made[at] for at in range(data + parity)] == shards
    assert coding.join([made[at] for at in range(data)], len(chunk)) == chunk


def test_every_loss_of_a_small_code_is_recovered():
    shards = coding.split(bytes(range(1, 61)), 6)
    shards += coding.encode(shards, 4)
    for lost in combinations(range(10), 4):
        present = {at: shard for at, shard in enumerate(shards) if at not in lost}
        assert coding.reconstruct(present, lost, data=6, parity=4) == {at: shards[at] for at in lost}


def test_loss_that_is_fatal_to_a_raw_vandermonde_matrix_is_recovered():
    shards = coding.split(bytes(range(160)), 16)
    shards += coding.encode(shards, 8)
    kept = [at for at in range(16) if at not in (0, 3, 5)] + [16, 17, 20]

    made = coding.reconstruct({at: shards[at] for at in kept}, (0, 3, 5), data=16, parity=8)

    assert made == {at: shards[at] for at in (0, 3, 5)}


def test_widest_code_works():
    shards = coding.split(bytes(range(200)), 128)
    shards += coding.encode(shards, 127)
    made = coding.reconstruct(dict(list(enumerate(shards))[127:]), range(3), data=128, parity=127)
    assert made == {at: shards[at] for at in range(3)}


@pytest.mark.parametrize(
    ("size", "data", "shard_size"),
    [
        pytest.param(1_048_604, 16, 65_538, id="a-chunk"),
        pytest.param(5, 16, 1, id="less-than-a-byte-each"),
        pytest.param(17, 16, 2, id="one-byte-over"),
        pytest.param(262_144, 16, 16_384, id="even"),
        pytest.param(0, 3, 0, id="empty"),
    ],
)
def test_shards_are_of_one_size_and_padding_is_cut(size, data, shard_size):
    chunk = bytes(at % 251 for at in range(size))
    shards = coding.split(chunk, data)
    assert {len(shard) for shard in shards} == {shard_size}
    assert len(shards) == data
    assert coding.join(shards, size) == chunk


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda: coding.encode([b"ab", b"a"], 1), id="uneven"),
        pytest.param(lambda: coding.encode([], 1), id="no-data"),
        pytest.param(lambda: coding.encode([b"a"] * 129, 127), id="256-shards"),
        pytest.param(lambda: coding.reconstruct({0: b"a"}, [1], data=2, parity=1), id="too-few"),
        pytest.param(lambda: coding.reconstruct({0: b"a", 3: b"b"}, [1], data=2, parity=1), id="no-such-shard"),
        pytest.param(lambda: coding.reconstruct({0: b"a", 2: b"bb"}, [1], data=2, parity=1), id="uneven-shards"),
    ],
)
def test_misuse_is_refused(act):
    with pytest.raises(ValueError):
        act()
