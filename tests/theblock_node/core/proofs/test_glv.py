"""Scalars in two halves: the published splits, always short, always the same multiple."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core.proofs import glv
from theblock_node.core.proofs.curve import G1
from theblock_node.core.proofs.field import P, R


def test_numbers_go_together():
    assert (glv.BETA**3 % P, glv.LAMBDA**3 % R) == (1, 1)
    assert (glv.LAMBDA**2 + glv.LAMBDA + 1) % R == 0
    assert glv.endomorphism(G1.generator) == G1.multiply(G1.generator, glv.LAMBDA)
    assert glv.endomorphism(None) is None
    # The other cube root of one belongs to the other number.
    assert glv.endomorphism(G1.generator) != G1.multiply(G1.generator, R - 1 - glv.LAMBDA)


@pytest.mark.parametrize(
    ("scalar", "halves"),
    [
        (0, (0, 0)),
        (1, (1, 0)),
        (R - 1, (-1, 0)),
        (
            0x1234567890ABCDEF1234567890ABCDEF1234567890ABCDEF,
            (0x2A3FCF405C7EBBC2C383D8B63881E29D, -0x168AD61F0DD2F931B6CF6B0ED95BA4E2),
        ),
    ],
)
def test_published_splits(scalar, halves):
    assert glv.split(scalar) == halves


@given(st.integers(0, R - 1))
def test_halves_are_short_and_add_up(scalar):
    a, b = glv.split(scalar)

    assert (a + b * glv.LAMBDA - scalar) % R == 0
    assert max(abs(a), abs(b)) < 1 << glv.HALF_BITS


@settings(max_examples=15, deadline=None)
@given(st.one_of(st.integers(0, R - 1), st.sampled_from([0, 1, 2, R - 1, glv.LAMBDA, R - glv.LAMBDA])))
def test_multiples_are_the_same(scalar):
    assert glv.multiply(G1.generator, scalar) == G1.multiply(G1.generator, scalar)
    assert glv.multiply(None, scalar) is None
