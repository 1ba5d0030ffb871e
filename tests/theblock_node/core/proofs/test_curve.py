"""The groups: published points, every special case of a sum, and sums by buckets against sums by definition."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snark import OUTSIDE_G2
from theblock_node.core.proofs import curve
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import P, R

GROUPS = pytest.mark.parametrize("group", [pytest.param(G1, id="g1"), pytest.param(G2, id="g2")])
SCALARS = st.one_of(st.integers(0, R - 1), st.sampled_from([0, 1, 2, R - 1, R - 2, 2**253, 2**7, 2**7 - 1, 2**7 + 1]))


def test_published_numbers():
    assert G1.multiply((1, 2), 2) == (
        0x030644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD3,
        0x15ED738C0E0A7C92E7845F96B2AE9C0A68A6A449E3538FC7FF3EBF7A5A18A2C4,
    )
    assert G2.b == (
        0x2B149D40CEB8AAAE81BE18991BE06AC3B5B4C5E559DBEFA33267E6DC24A138E5,
        0x9713B03AF0FED4CD2CAFADEED8FDF4A74FA084E52D1852E4A2BD0685C315D2,
    )
    assert curve.PSI_X == (
        0x2FB347984F7911F74C0BEC3CF559B143B78CC310C2C3330C99E39557176F553D,
        0x16C9E55061EBAE204BA4CC8BD75A079432AE2A1D0B7C9DCE1665D51C640FCBA2,
    )
    assert curve.PSI_Y == (
        0x063CF305489AF5DCDC5EC698B6E2F9B9DBAAE0EDA9C95998DC54014671A0135A,
        0x07C03CBCAC41049A0704B5A7EC796F2B21807DC98FA25BD282D37F632623B0E3,
    )


@GROUPS
def test_generator_is_on_the_curve_and_has_order_r(group):
    assert group.is_on_curve(group.generator)
    assert group.multiply(group.generator, R) is None
    assert group.multiply(group.generator, R - 1) == group.neg(group.generator)


@GROUPS
def test_a_bent_point_is_off_the_curve(group):
    x, y = group.generator
    assert not group.is_on_curve((x, group.field.add(y, group.field.one)))
    assert not group.is_on_curve((y, x))
    assert group.is_on_curve(None)


@GROUPS
def test_sums_with_equal_opposite_and_absent_points(group):
    one = group.generator
    two, three = group.multiply(one, 2), group.multiply(one, 3)

    assert group.add(one, one) == two
    assert group.add(one, two) == three
    assert group.add(one, group.neg(one)) is None
    assert group.add(None, one) == one == group.add(one, None)
    assert group.add(None, None) is None
    assert group.neg(None) is None
    assert group.total([one, None, two, group.neg(three)]) is None


@GROUPS
def test_full_sums_agree_with_mixed_ones(group):
    one = group.to_xyzz(group.generator)
    two = group.double_xyzz(one)
    other_two = group.add_xyzz(group.add_xyzz(two, one), group.to_xyzz(group.neg(group.generator)))

    assert other_two != two, "the same point in another form"
    assert group.to_affine(other_two) == group.to_affine(two)
    assert group.to_affine(group.add_xyzz(two, other_two)) == group.multiply(group.generator, 4)
    minus_two = group.to_xyzz(group.neg(group.to_affine(two)))
    assert group.add_xyzz(other_two, minus_two) is None
    assert group.add_xyzz(None, two) == two == group.add_xyzz(two, None)
    assert group.double_xyzz(None) is None


@GROUPS
def test_many_points_become_affine_together(group):
    points = [None, group.to_xyzz(group.generator), None]
    for _ in range(4):
        points.append(group.double_xyzz(points[-1] or points[1]))

    assert group.to_affine_batch(points) == [group.to_affine(point) for point in points]
    assert group.to_affine_batch([]) == []
    assert group.to_affine_batch([None]) == [None]


@settings(max_examples=10, deadline=None)
@given(SCALARS, SCALARS)
def test_multiplication_distributes(a, b):
    for group in (G1, G2):
        sums = group.add(group.multiply(group.generator, a), group.multiply(group.generator, b))
        assert sums == group.multiply(group.generator, (a + b) % R)


@GROUPS
def test_tables_multiply_the_generator(group):
    scalars = [0, 1, 2, 63, 64, 65, R - 1, 2**253, 0x1234567890ABCDEF]
    assert group.multiply_generator(scalars) == [group.multiply(group.generator, scalar) for scalar in scalars]


@pytest.mark.parametrize(
    ("scalar", "window_bits", "digits"),
    [
        pytest.param(0x1234567890ABCDEF, 8, [-17, -50, -84, -111, 121, 86, 52, 18, 0], id="small"),
        pytest.param(0, 4, [0, 0], id="zero"),
        pytest.param(2**7, 8, [-128, 1, 0], id="half-the-base"),
        pytest.param(2**7 - 1, 8, [127, 0], id="below-half-the-base"),
    ],
)
def test_signed_digits(scalar, window_bits, digits):
    assert curve.signed_digits(scalar, window_bits)[: len(digits)] == digits


@pytest.mark.parametrize("window_bits", range(2, 17))
def test_signed_digits_have_room_for_the_last_borrow(window_bits):
    for scalar in (R - 1, R - 2, 2**253, 2**253 - 1):
        digits = curve.signed_digits(scalar, window_bits)
        assert sum(digit << window_bits * at for at, digit in enumerate(digits)) == scalar
        assert all(-(1 << window_bits - 1) <= digit < 1 << window_bits - 1 for digit in digits)
    assert curve.signed_digits(R - 1, 16)[-3:] == [-7886, 20083, 12388]


def test_sum_by_buckets_is_the_published_one():
    points = [G1.multiply(G1.generator, k) for k in (1, 2, 3, 4)]
    assert G1.msm(points, [3, R - 1, 0, 2**200]) == (
        7709620675560657544772143328835461748818699618459127775343628043796477978866,
        3666041215789833728672031494155951213843829049111428749328752231179895878016,
    )


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), SCALARS), max_size=24))
def test_sum_by_buckets_is_the_sum(terms):
    """Few different points, so that buckets hold equal, opposite and infinite ones."""
    for group in (G1, G2):
        points = [
            group.multiply(group.generator, k) if k >= 0 else group.neg(group.multiply(group.generator, -k))
            for k, _ in terms
        ]
        scalars = [scalar for _, scalar in terms]
        expected = group.multiply(group.generator, sum(k * scalar for k, scalar in terms) % R)

        assert group.msm(points, scalars) == expected
        assert group.msm_naive(points, scalars) == expected


@pytest.mark.parametrize("count", [1, 15, 16, 33, 130])
def test_sum_by_buckets_does_not_depend_on_its_window(count):
    points = G1.multiply_generator(range(1, count + 1))
    scalars = [pow(5, at, R) for at in range(count)]

    total = sum((at + 1) * scalar for at, scalar in enumerate(scalars)) % R
    assert G1.msm(points, scalars) == G1.multiply(G1.generator, total)


def test_group_of_g2_is_told_from_its_curve():
    assert G2.is_on_curve(OUTSIDE_G2)
    assert not curve.is_in_g2(OUTSIDE_G2)
    assert G2.multiply(OUTSIDE_G2, R) is not None
    assert curve.is_in_g2(G2.multiply(G2.generator, 12345))
    assert curve.is_in_g2(None)
    # Cleared of its cofactor, it is inside.
    assert curve.is_in_g2(G2.multiply(OUTSIDE_G2, 2 * P - R))
