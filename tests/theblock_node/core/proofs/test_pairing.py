"""The pairing is bilinear, does not degenerate, and its chain of powers is the power that defines it."""

from __future__ import annotations

import pytest
from theblock_node.core.proofs import pairing, tower
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.tower import FP12_ONE


@pytest.fixture(scope="module")
def unit():
    return pairing.pairing(G1.generator, G2.generator)


def test_final_exponentiation_is_the_power_that_defines_it(unit):
    value = pairing.miller_loop([(G1.generator, pairing.line_function(G2.generator))])
    assert tower.fp12_power(value, (P**12 - 1) // R) == unit


def test_value_at_the_generators_has_order_r(unit):
    assert unit != FP12_ONE
    assert tower.fp12_power(unit, R) == FP12_ONE


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 1), (R - 1, 1), (3**100 % R, 7**90 % R)])
def test_pairing_is_bilinear(unit, a, b):
    left, right = G1.multiply(G1.generator, a), G2.multiply(G2.generator, b)
    assert pairing.pairing(left, right) == tower.fp12_power(unit, a * b % R)


def test_pairing_with_infinity_is_one():
    assert pairing.pairing(None, G2.generator) == FP12_ONE == pairing.pairing(G1.generator, None)
    assert pairing.line_function(None) == ()


def test_loop_has_the_published_number_of_lines():
    assert len(pairing.line_function(G2.generator)) == 65 + 21 + 2


def test_products_are_judged():
    five, six = G1.multiply(G1.generator, 5), G2.multiply(G2.generator, 6)
    minus = G1.neg(G1.multiply(G1.generator, 30))

    assert pairing.is_product_one([(five, six), (minus, G2.generator)])
    assert pairing.is_product_one([(five, six), (None, six), (minus, G2.generator), (five, None)])
    assert not pairing.is_product_one([(five, six), (five, G2.generator)])
    assert pairing.is_product_one([])
