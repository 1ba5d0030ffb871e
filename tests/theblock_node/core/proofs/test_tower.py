"""The extension fields obey the laws of fields, and their short cuts give what the long way gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core.proofs import tower
from theblock_node.core.proofs.field import P, X
from theblock_node.core.proofs.tower import FP2_ONE, FP6_ONE, FP6_ZERO, FP12_ONE

ELEMENTS = st.one_of(st.integers(0, P - 1), st.sampled_from([0, 1, 2, P - 2, P - 1]))
FP2S = st.tuples(ELEMENTS, ELEMENTS)
FP6S = st.tuples(*[ELEMENTS] * 6)
FP12S = st.tuples(FP6S, FP6S)


def plain_product(a, b):
    """The product in Fp12 as polynomials in w over Fp2, term by term, with w⁶ = 9 + u."""
    spread_a, spread_b = spread(a), spread(b)
    terms = [(0, 0)] * 11
    for i, left in enumerate(spread_a):
        for j, right in enumerate(spread_b):
            terms[i + j] = tower.fp2_add(terms[i + j], tower.fp2_mul(left, right))
    for at in range(10, 5, -1):
        terms[at - 6] = tower.fp2_add(terms[at - 6], tower.fp2_mul(terms[at], tower.XI))
    return (*terms[0], *terms[2], *terms[4]), (*terms[1], *terms[3], *terms[5])


def spread(a):
    """The coefficients of w to the powers 0 to 5."""
    low, high = a
    return [part[at : at + 2] for at in (0, 2, 4) for part in (low, high)]


def make_cyclotomic(a):
    """What the easy part of the final exponentiation makes of ``a``."""
    easy = tower.fp12_mul(tower.fp12_conjugate(a), tower.fp12_inverse(a))
    return tower.fp12_mul(tower.fp12_frobenius(tower.fp12_frobenius(easy)), easy)


@given(FP2S, FP2S, FP2S)
def test_fp2_is_a_field(a, b, c):
    assert tower.fp2_mul(a, b) == tower.fp2_mul(b, a)
    assert tower.fp2_mul(a, tower.fp2_mul(b, c)) == tower.fp2_mul(tower.fp2_mul(a, b), c)
    assert tower.fp2_mul(a, tower.fp2_add(b, c)) == tower.fp2_add(tower.fp2_mul(a, b), tower.fp2_mul(a, c))
    assert tower.fp2_square(a) == tower.fp2_mul(a, a)
    assert tower.fp2_sub(a, b) == tower.fp2_add(a, tower.fp2_neg(b))
    if any(a):
        assert tower.fp2_mul(a, tower.fp2_inverse(a)) == FP2_ONE
    assert tower.fp2_power(a, P) == tower.fp2_conjugate(a)


@given(FP2S)
def test_fp2_roots(a):
    root = tower.fp2_square_root(tower.fp2_square(a))

    assert root in (a, tower.fp2_neg(a))
    if any(a):
        assert tower.fp2_square_root(tower.fp2_mul(tower.fp2_square(a), tower.XI)) is None


@pytest.mark.parametrize("a", [(0, 0), (4, 0), (P - 4, 0), (3, 0), (0, 2), (0, P - 2)])
def test_fp2_roots_of_numbers_with_one_part(a):
    root = tower.fp2_square_root(a)
    assert root is not None
    assert tower.fp2_square(root) == a


@given(FP6S)
def test_fp6_has_inverses(a):
    if any(a):
        assert tower.fp6_mul(a, tower.fp6_inverse(a)) == FP6_ONE
    assert tower.fp6_mul(a, (0, 0, 1, 0, 0, 0)) == tuple(part % P for part in tower.fp6_mul_v(a))


@settings(max_examples=50)
@given(FP12S, FP12S)
def test_fp12_products_are_those_of_polynomials(a, b):
    assert tower.fp12_mul(a, b) == plain_product(a, b)
    assert tower.fp12_square(a) == plain_product(a, a)


@settings(max_examples=20, deadline=None)
@given(FP12S.filter(lambda a: a != (FP6_ZERO, FP6_ZERO)))
def test_fp12_inverse_and_powers(a):
    assert tower.fp12_mul(a, tower.fp12_inverse(a)) == FP12_ONE
    assert tower.fp12_power(a, 0) == FP12_ONE
    assert tower.fp12_power(a, 5) == tower.fp12_mul(a, tower.fp12_square(tower.fp12_square(a)))


@settings(max_examples=5, deadline=None)
@given(FP12S)
def test_frobenius_is_the_power_p(a):
    assert tower.fp12_frobenius(a) == tower.fp12_power(a, P)


@settings(max_examples=50)
@given(FP12S, FP2S, FP2S, FP2S)
def test_product_with_a_line_is_the_product(a, constant, w, vw):
    line = ((*constant, 0, 0, 0, 0), (*w, *vw, 0, 0))
    assert tower.fp12_mul_line(a, constant, w, vw) == tower.fp12_mul(a, line)


@settings(max_examples=10, deadline=None)
@given(FP12S.filter(lambda a: a != (FP6_ZERO, FP6_ZERO)))
def test_cyclotomic_short_cuts_give_the_same(a):
    f = make_cyclotomic(a)

    assert tower.fp12_cyclotomic_square(f) == tower.fp12_square(f)
    assert tower.fp12_conjugate(f) == tower.fp12_inverse(f)
    assert tower.fp12_power_x(f) == tower.fp12_power(f, X)
