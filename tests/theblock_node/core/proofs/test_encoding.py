"""Points as bytes: published encodings, and one encoding for each point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snark import OUTSIDE_G2
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import encoding
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import P, R

TWO_G1 = bytes.fromhex("d3cf876dc108c2d3a81c8716a91678d9851518685b04859b021a132ee7440603")
ONE = (1).to_bytes(32, "little")
SCALARS = st.one_of(st.integers(1, R - 1), st.sampled_from([0, 1, 2, R - 1]))


def refused(decode, data: bytes) -> str:
    with pytest.raises(InvalidRecord) as refusal:
        decode(data, what="point")
    assert refusal.value.facts["what"] == "point"
    return refusal.value.code


def test_published_encodings():
    assert encoding.compress_g1(G1.generator) == ONE
    assert encoding.compress_g1(G1.neg(G1.generator)) == ONE[:-1] + b"\x80"
    assert encoding.compress_g1(G1.multiply(G1.generator, 2)) == TWO_G1
    assert encoding.compress_g1(None) == bytes(31) + b"\x40"
    assert encoding.compress_g2(None) == bytes(63) + b"\x40"
    assert encoding.evm_g1(G1.generator).hex() == "00" * 31 + "01" + "00" * 31 + "02"
    assert encoding.evm_g2(None) == bytes(128)
    # The imaginary part first, as EIP-197 says.
    assert encoding.evm_g2(G2.generator)[:32] == G2.generator[0][1].to_bytes(32, "big")


@settings(max_examples=15, deadline=None)
@given(SCALARS)
def test_points_come_back(scalar):
    left, right = G1.multiply(G1.generator, scalar), G2.multiply(G2.generator, scalar)

    for point in (left, G1.neg(left)):
        assert encoding.decompress_g1(encoding.compress_g1(point), what="point") == point
        assert encoding.read_evm_g1(encoding.evm_g1(point), what="point") == point
    for twisted in (right, G2.neg(right)):
        assert encoding.decompress_g2(encoding.compress_g2(twisted), what="point") == twisted
        assert encoding.read_evm_g2(encoding.evm_g2(twisted), what="point") == twisted


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_bytes_are_a_point_in_its_one_encoding_or_are_refused(short, long):
    for data, decode, encode, group in (
        (short, encoding.decompress_g1, encoding.compress_g1, G1),
        (long, encoding.decompress_g2, encoding.compress_g2, G2),
    ):
        try:
            point = decode(data, what="point")
        except InvalidRecord:
            continue
        assert encode(point) == data
        assert group.is_on_curve(point)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(ONE[:-1], "snark.point_size", id="short"),
        pytest.param(ONE + b"\0", "snark.point_size", id="long"),
        pytest.param(bytes(31) + b"\xc0", "snark.point_flags", id="both-flags"),
        pytest.param(ONE[:-1] + b"\x40", "snark.point_flags", id="infinity-with-x"),
        pytest.param((P + 1).to_bytes(32, "little"), "snark.coordinate_range", id="one-plus-p"),
        pytest.param(P.to_bytes(32, "little"), "snark.coordinate_range", id="p"),
        pytest.param((2**254 - 1).to_bytes(32, "little"), "snark.coordinate_range", id="largest"),
        pytest.param((4).to_bytes(32, "little"), "snark.not_on_curve", id="no-such-x"),
        pytest.param(bytes(32), "snark.not_on_curve", id="zero"),
    ],
)
def test_compressed_point_is_refused(data, code):
    assert refused(encoding.decompress_g1, data) == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(bytes(32), "snark.point_size", id="short"),
        pytest.param(ONE + P.to_bytes(32, "little"), "snark.coordinate_range", id="imaginary-p"),
        pytest.param(P.to_bytes(32, "little") + ONE, "snark.coordinate_range", id="real-p"),
        pytest.param(bytes(63) + b"\xc0", "snark.point_flags", id="both-flags"),
        pytest.param(bytes(64), "snark.not_on_curve", id="zero"),
    ],
)
def test_compressed_point_of_g2_is_refused(data, code):
    assert refused(encoding.decompress_g2, data) == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(bytes(63), "snark.point_size", id="short"),
        pytest.param(P.to_bytes(32, "big") + bytes(32), "snark.coordinate_range", id="p-for-zero"),
        pytest.param((1).to_bytes(32, "big") * 2, "snark.not_on_curve", id="off-the-curve"),
    ],
)
def test_ethereum_point_is_refused(data, code):
    assert refused(encoding.read_evm_g1, data) == code
    assert refused(encoding.read_evm_g2, data + bytes(64)) == code


def test_point_outside_the_group_is_decoded_for_others_to_judge():
    assert encoding.decompress_g2(encoding.compress_g2(OUTSIDE_G2), what="point") == OUTSIDE_G2


def test_scalars_are_below_r():
    assert encoding.read_scalar(encoding.scalar_bytes(R - 1), what="input") == R - 1
    for data in (R.to_bytes(32, "little"), bytes(31), bytes(33)):
        with pytest.raises(InvalidRecord) as refusal:
            encoding.read_scalar(data, what="input")
        assert refusal.value.code == "snark.scalar_range"
