"""The kernels of BN254 against their exact twins, bit for bit, on every back end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.snark import OUTSIDE_G2
from theblock_kernels import bn254
from theblock_kernels.bn254 import Field, NotCanonical, Operation, Transform
from theblock_node.core.proofs import curve, field, pairing, polynomial, tower
from theblock_node.core.proofs.curve import FP2, G1, G2
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats.container import g1_bytes, g2_bytes, montgomery_bytes

FIELDS = pytest.mark.parametrize(("which", "modulus"), [(Field.P, P), (Field.R, R)], ids=["fp", "fr"])
ZERO = bytes(32)


def plain(values):
    return b"".join(value.to_bytes(32, "little") for value in values)


def numbers(data):
    return [int.from_bytes(data[at : at + 32], "little") for at in range(0, len(data), 32)]


def edges(modulus):
    return [0, 1, 2, modulus - 1, modulus - 2, modulus // 2, 2**64 - 1, 2**64, 2**128 - 1, 2**192, 2**253 % modulus]


@FIELDS
def test_field_operations_are_the_twins(kernels, which, modulus):
    chance = random.Random(1)
    drawn = [chance.randrange(modulus) for _ in range(2000)]
    left = [value for value in edges(modulus) for _ in edges(modulus)] + drawn
    right = [value for _ in edges(modulus) for value in edges(modulus)] + drawn[::-1]

    def compute(operation):
        return numbers(bn254.compute(kernels, which, operation, plain(left), plain(right)))

    assert compute(Operation.ADD) == [(a + b) % modulus for a, b in zip(left, right, strict=True)]
    assert compute(Operation.SUB) == [(a - b) % modulus for a, b in zip(left, right, strict=True)]
    assert compute(Operation.MUL) == [a * b % modulus for a, b in zip(left, right, strict=True)]
    assert compute(Operation.INVERSE) == [field.inverse(a, modulus) if a else 0 for a in left]


@FIELDS
def test_montgomery_form_is_that_of_files(kernels, which, modulus):
    values = edges(modulus)

    stored = bn254.to_montgomery(kernels, which, plain(values))

    assert stored == b"".join(montgomery_bytes(value, modulus) for value in values)
    assert bn254.from_montgomery(kernels, which, stored) == plain(values)


@FIELDS
@pytest.mark.parametrize("over", [0, 1, 2**256])
def test_what_is_no_element_is_refused(kernels, which, modulus, over):
    value = min(modulus + over, 2**256 - 1)
    with pytest.raises(NotCanonical):
        bn254.compute(kernels, which, Operation.ADD, plain([value]), ZERO)
    with pytest.raises(NotCanonical):
        bn254.to_montgomery(kernels, which, plain([value]))


@pytest.mark.parametrize("power", range(8))
@pytest.mark.parametrize(
    ("kind", "twin"),
    [
        (Transform.TO_VALUES, polynomial.ntt),
        (Transform.TO_COEFFICIENTS, polynomial.intt),
        (Transform.TO_ODD_POINTS, polynomial.to_odd_points),
    ],
    ids=["values", "coefficients", "odd-points"],
)
def test_transforms_are_the_twins(kernels, power, kind, twin):
    chance = random.Random(power)
    values = [chance.randrange(R) for _ in range(1 << power)]

    assert numbers(bn254.transform(kernels, kind, plain(values))) == twin(values)


def test_a_large_transform_holds_at_points_that_horner_reaches(kernels):
    chance = random.Random(14)
    coefficients = [chance.randrange(R) for _ in range(1 << 14)]

    values = numbers(bn254.transform(kernels, Transform.TO_VALUES, plain(coefficients)))

    for at in (0, 1, 77, 8191, 8192, 16383):
        assert values[at] == polynomial.evaluate(coefficients, pow(field.root_of_unity(14), at, R))
    assert numbers(bn254.transform(kernels, Transform.TO_COEFFICIENTS, plain(values))) == coefficients


@pytest.mark.parametrize("window_bits", [0, 2, 3, 5, 8, 13, 16])
def test_sums_are_the_twins_in_every_special_case(kernels, window_bits):
    chance = random.Random(2)
    for group, encode, msm in ((G1, g1_bytes, bn254.msm_g1), (G2, g2_bytes, bn254.msm_g2)):
        points = group.multiply_generator([chance.randrange(R) for _ in range(24)])
        scalars = [0, 1, 2, R - 1, R - 2, 2**253, 127, 128, 129, *(chance.randrange(R) for _ in range(15))]
        points[10:13], scalars[10:13] = [points[9]] * 3, [scalars[9]] * 3  # Equal points in one bucket,
        points[14], scalars[14] = group.neg(points[13]), scalars[13]  # opposite ones,
        points[16], scalars[16] = group.neg(points[15]), R - scalars[15]  # one twice by way of its opposite,
        points[17] = None  # and none.

        made = msm(kernels, b"".join(map(encode, points)), plain(scalars), window_bits=window_bits)

        assert made == encode(group.msm(points, scalars))


@settings(max_examples=20, deadline=None)
@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([0, 1, 2, R - 1, R - 2, 2**253, 127, 128])), max_size=40
    )
)
def test_small_multiples_that_collide_sum_up(kernels, drawn):
    points = [G1.multiply(G1.generator, factor) for factor, _ in drawn]
    scalars = [scalar for _, scalar in drawn]
    wanted = g1_bytes(G1.multiply(G1.generator, sum(factor * scalar for factor, scalar in drawn) % R))

    for window_bits in (0, 3, 8):
        encoded = b"".join(map(g1_bytes, points))
        assert bn254.msm_g1(kernels, encoded, plain(scalars), window_bits=window_bits) == wanted


@pytest.mark.parametrize("window_bits", [0, 4, 11])
def test_a_large_sum_is_what_its_numbers_say(kernels, window_bits):
    """The points are known multiples of the generator; most scalars are bits, as in a witness."""
    chance = random.Random(3)
    logarithms = [chance.randrange(R) for _ in range(5000)]
    scalars = [chance.choice((0, 1, 1, 1, chance.randrange(R))) for _ in logarithms]
    points = bn254.multiples_g1(kernels, g1_bytes(G1.generator), plain(logarithms))
    wanted = sum(a * b for a, b in zip(logarithms, scalars, strict=True)) % R

    made = bn254.msm_g1(kernels, points, plain(scalars), window_bits=window_bits)

    assert made == g1_bytes(G1.multiply(G1.generator, wanted))


@pytest.mark.slow
def test_a_sum_of_more_points_than_one_chunk_is_what_its_numbers_say(kernels):
    chance = random.Random(4)
    count = 2 * 2**17 + 3
    logarithms = [chance.randrange(R) for _ in range(1000)]
    scalars = [chance.randrange(R) if at % 5 == 0 else at % 3 for at in range(count)]
    base = bn254.multiples_g1(kernels, g1_bytes(G1.generator), plain(logarithms))
    wanted = sum(logarithms[at % 1000] * scalar for at, scalar in enumerate(scalars)) % R

    made = bn254.msm_g1(kernels, (base * (count // 1000 + 1))[: 64 * count], plain(scalars))

    assert made == g1_bytes(G1.multiply(G1.generator, wanted))


def test_multiples_are_the_twins(kernels):
    scalars = [0, 1, 2, 255, 256, R - 1, 2**253, 12345678901234567890]

    assert bn254.multiples_g1(kernels, g1_bytes(G1.generator), plain(scalars)) == b"".join(
        map(g1_bytes, G1.multiply_generator(scalars))
    )
    assert bn254.multiples_g2(kernels, g2_bytes(G2.generator), plain(scalars)) == b"".join(
        map(g2_bytes, G2.multiply_generator(scalars))
    )


def test_pairings_are_the_twins_before_and_after_the_last_exponentiation(kernels):
    def flat(value):
        return b"".join(montgomery_bytes(part, P) for half in value for part in half)

    pairs = [
        (G1.multiply(G1.generator, 5), G2.generator),
        (G1.neg(G1.generator), G2.multiply(G2.generator, 77)),
        (None, G2.generator),
        (G1.generator, None),
    ]
    twin = pairing.miller_loop([(left, pairing.line_function(right)) for left, right in pairs])

    loop = bn254.miller_loop(
        kernels, b"".join(g1_bytes(left) for left, _ in pairs), b"".join(g2_bytes(right) for _, right in pairs)
    )

    assert loop == flat(twin)
    assert bn254.final_exponentiation(kernels, loop) == flat(pairing.final_exponentiation(twin))


def test_points_outside_the_group_or_the_curve_are_told_apart(kernels):
    inside = G2.multiply(G2.generator, 3)
    off = (inside[0], inside[0])
    points = [None, G2.generator, inside, OUTSIDE_G2, off]

    assert bn254.are_in_g2(kernels, b"".join(map(g2_bytes, points))) == [True, True, True, False, False]


def test_points_of_the_twist_are_told_apart_as_by_the_twin(kernels):
    points = []
    for real in range(1, 25):
        x = (real, 7)
        y = tower.fp2_square_root(FP2.add(FP2.mul(FP2.square(x), x), G2.b))
        if y is not None:
            # Of any order; times the cofactor in the group; times the order outside it.
            points += [(x, y), G2.multiply((x, y), 2 * P - R), G2.multiply((x, y), R)]
    assert len(points) >= 9

    answers = bn254.are_in_g2(kernels, b"".join(map(g2_bytes, points)))

    assert answers == [curve.is_in_g2(point) for point in points]
    assert answers[:3] == [False, True, False]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda kernels: bn254.msm_g1(kernels, bytes(63), ZERO), id="half-a-point"),
        pytest.param(lambda kernels: bn254.msm_g1(kernels, bytes(128), ZERO), id="fewer-scalars"),
        pytest.param(lambda kernels: bn254.msm_g1(kernels, bytes(64), ZERO, window_bits=17), id="too-wide-a-window"),
        pytest.param(lambda kernels: bn254.msm_g1(kernels, b"\xff" * 64, ZERO), id="no-coordinates"),
        pytest.param(lambda kernels: bn254.transform(kernels, Transform.TO_VALUES, bytes(96)), id="three-points"),
        pytest.param(lambda kernels: bn254.transform(kernels, Transform.TO_VALUES, b""), id="no-points"),
        pytest.param(lambda kernels: bn254.miller_loop(kernels, bytes(64), b""), id="half-a-pair"),
        pytest.param(lambda kernels: bn254.final_exponentiation(kernels, bytes(32)), id="short-value"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(kernels, call):
    with pytest.raises(ValueError, match=r"."):
        call(kernels)
