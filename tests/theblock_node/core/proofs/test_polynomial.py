"""Transforms: published values, the definition, and what they are used for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.proofs import field, polynomial
from theblock_node.core.proofs.field import R

SEQUENCES = st.integers(0, 5).flatmap(
    lambda power: st.lists(st.integers(0, R - 1), min_size=1 << power, max_size=1 << power)
)


def test_published_values():
    assert polynomial.ntt([1, 2, 3, 4]) == [
        0xA,
        0x16789AF3A83522EB1969386A2F88C094A419FE246C11F9394,
        0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593EFFFFFFF,
        0x30644E72E131A02850C6967BFE2F29AB91A061A5812D67470242134D2EE06C69,
    ]
    eight = polynomial.ntt(range(1, 9))
    assert (eight[0], eight[4]) == (0x24, R - 4)
    assert eight[1] == 0x02701A4FD3F1D3E7A309CDC72C7C8FCB5C94AF009CB48E6E51461367A2F1796


@given(SEQUENCES)
def test_transform_is_its_definition_and_comes_back(coefficients):
    root = field.root_of_unity(len(coefficients).bit_length() - 1)
    values = polynomial.ntt(coefficients)

    assert values == [polynomial.evaluate(coefficients, pow(root, at, R)) for at in range(len(coefficients))]
    assert polynomial.intt(values) == coefficients


@given(SEQUENCES)
def test_odd_points_are_those_of_the_doubled_domain(values):
    doubled = polynomial.ntt(polynomial.intt(values) + [0] * len(values))

    assert polynomial.to_odd_points(values) == doubled[1::2]
    assert values == doubled[::2]


@given(SEQUENCES, SEQUENCES)
def test_product_of_values_is_the_product_of_polynomials(left, right):
    size = 2 * max(len(left), len(right))
    values = [
        a * b % R
        for a, b in zip(
            polynomial.ntt(left + [0] * (size - len(left))),
            polynomial.ntt(right + [0] * (size - len(right))),
            strict=True,
        )
    ]
    product = [0] * size
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            product[i + j] = (product[i + j] + a * b) % R
    assert polynomial.intt(values) == product


@pytest.mark.parametrize("power", [0, 1, 4])
def test_lagrange_values_interpolate(power):
    coefficients = [pow(3, at, R) for at in range(1 << power)]
    at_point = polynomial.lagrange_at(power, 0x1234567)

    combined = sum(a * b for a, b in zip(polynomial.ntt(coefficients), at_point, strict=True)) % R
    assert combined == polynomial.evaluate(coefficients, 0x1234567)


def test_other_lengths_have_no_transform():
    for length in (0, 3, 6):
        with pytest.raises(AssertionError):
            polynomial.ntt([1] * length)


def test_long_transform_at_a_few_points():
    coefficients = [at * at % R for at in range(2**10)]
    root = field.root_of_unity(10)
    values = polynomial.ntt(coefficients)
    for at in (0, 1, 511, 512, 777, 1023):
        assert values[at] == polynomial.evaluate(coefficients, pow(root, at, R))
