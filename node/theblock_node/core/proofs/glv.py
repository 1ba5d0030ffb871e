"""Multiplication in G1 by two scalars of half the length, through a cheap endomorphism (Gallant, Lambert, Vanstone).

The exact twin of what kernels use for short sums; nothing in the protocol needs it.
"""

from __future__ import annotations

from theblock_node.core.proofs.curve import G1, G1Point
from theblock_node.core.proofs.field import P, R

BETA = 0x59E26BCEA0D48BACD4F263F1ACDB5C4F5763473177FFFFFE
"""A cube root of one modulo P: (BETA * x, y) is LAMBDA times (x, y). The other root goes with R - 1 - LAMBDA."""
LAMBDA = 0xB3C4D79D41A917585BFC41088D8DAAA78B17EA66B99C90DD
"""The cube root of one modulo R that goes with BETA."""
HALF_BITS = 126
"""Both parts of a scalar are below 2 to this power in size."""
_V1 = (-0x89D3256894D213E3, 0x6F4D8248EEB859FC8211BBEB7D4F1128)
_V2 = (0x6F4D8248EEB859FD0BE4E1541221250B, 0x89D3256894D213E3)
"""Short vectors (a, b) with a + b * LAMBDA = 0; their determinant is -R."""


def split(scalar: int) -> tuple[int, int]:
    """The short, signed pair (a, b) for which ``a + b * LAMBDA`` is ``scalar`` modulo R; the scalar is below R."""
    c1 = _divide_nearest(-scalar * _V2[1])
    c2 = _divide_nearest(scalar * _V1[1])
    return scalar - c1 * _V1[0] - c2 * _V2[0], -c1 * _V1[1] - c2 * _V2[1]


def multiply(point: G1Point, scalar: int) -> G1Point:
    """``scalar`` times ``point``, for a scalar below R: both halves share their doublings."""
    a, b = split(scalar)
    left = point if a >= 0 else G1.neg(point)
    right = endomorphism(point if b >= 0 else G1.neg(point))
    steps = (None, left, right, G1.add(left, right))
    running = G1.to_xyzz(None)
    for bit in range(HALF_BITS, -1, -1):
        running = G1.double_xyzz(running)
        running = G1.add_mixed(running, steps[(abs(a) >> bit & 1) + 2 * (abs(b) >> bit & 1)])
    return G1.to_affine(running)


def endomorphism(point: G1Point) -> G1Point:
    """LAMBDA times ``point``, for one product."""
    return None if point is None else (BETA * point[0] % P, point[1])


def _divide_nearest(value: int) -> int:
    """``value / R`` to the nearest integer; R is odd, so none is halfway."""
    return (2 * value + R) // (2 * R)
