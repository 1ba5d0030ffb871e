"""The optimal ate pairing of BN254, as products of pairings that share their squarings and their last exponentiation.

The lines of a point of G2 do not depend on what it is paired with, so keys keep theirs: `line_function` once,
`miller_loop` each time. Points of G2 must be in the group (`curve.is_in_g2`), else the result means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from theblock_node.core.proofs import curve, field
from theblock_node.core.proofs.curve import G1Point, G2Point
from theblock_node.core.proofs.field import P, X
from theblock_node.core.proofs.tower import (
    FP2_ONE,
    FP12_ONE,
    Fp2,
    Fp12,
    fp2_add,
    fp2_mul,
    fp2_neg,
    fp2_scale,
    fp2_square,
    fp2_sub,
    fp12_conjugate,
    fp12_cyclotomic_square,
    fp12_frobenius,
    fp12_inverse,
    fp12_mul,
    fp12_mul_line,
    fp12_power_x,
    fp12_square,
)


class Line(NamedTuple):
    """A line through points of G2; at (x, y) of G1 its value is ``y_factor·y + x_factor·x·w + constant·v·w``."""

    y_factor: Fp2
    x_factor: Fp2
    constant: Fp2


Lines = Sequence[Line]
"""The lines of one point of G2 in the order in which the loop takes them; none for infinity."""
_Projective = tuple[Fp2, Fp2, Fp2]


def line_function(point: G2Point) -> Lines:
    """The lines of ``point``, whatever it will be paired with."""
    if point is None:
        return ()
    lines: list[Line] = []
    running: _Projective = (*point, FP2_ONE)
    minus = (point[0], fp2_neg(point[1]))
    for digit in LOOP:
        running = _double(running, lines)
        if digit:
            running = _add(running, point if digit > 0 else minus, lines)
    first = curve.endomorphism(point)
    x, y = curve.endomorphism(first)
    running = _add(running, first, lines)
    _add(running, (x, fp2_neg(y)), lines)
    return tuple(lines)


def miller_loop(pairs: Iterable[tuple[G1Point, Lines]]) -> Fp12:
    """The product over ``pairs`` before the final exponentiation; a pair with infinity counts as one."""
    active = [(point, iter(lines)) for point, lines in pairs if point is not None and lines]
    result = FP12_ONE
    for digit in LOOP:
        result = fp12_square(result)
        for _ in range(2 if digit else 1):
            for point, lines in active:
                result = _mul_line(result, next(lines), point)
    for _ in range(2):
        for point, lines in active:
            result = _mul_line(result, next(lines), point)
    return result


def final_exponentiation(value: Fp12) -> Fp12:
    """``value`` to the power (P¹² - 1) / R, by the addition chain of Scott and others for the hard part."""
    easy = fp12_mul(fp12_conjugate(value), fp12_inverse(value))
    f = fp12_mul(fp12_frobenius(fp12_frobenius(easy)), easy)
    fx = fp12_power_x(f)
    fxx = fp12_power_x(fx)
    fxxx = fp12_power_x(fxx)
    fp = fp12_frobenius(f)
    fpp = fp12_frobenius(fp)
    y0 = fp12_mul(fp12_mul(fp, fpp), fp12_frobenius(fpp))
    y1 = fp12_conjugate(f)
    fxx_p = fp12_frobenius(fxx)
    y2 = fp12_frobenius(fxx_p)
    y3 = fp12_conjugate(fp12_frobenius(fx))
    y4 = fp12_conjugate(fp12_mul(fx, fxx_p))
    y5 = fp12_conjugate(fxx)
    y6 = fp12_conjugate(fp12_mul(fxxx, fp12_frobenius(fxxx)))
    t0 = fp12_mul(fp12_mul(fp12_cyclotomic_square(y6), y4), y5)
    t1 = fp12_mul(fp12_mul(y3, y5), t0)
    t0 = fp12_mul(t0, y2)
    t1 = fp12_cyclotomic_square(fp12_mul(fp12_cyclotomic_square(t1), t0))
    t0 = fp12_cyclotomic_square(fp12_mul(t1, y1))
    return fp12_mul(t0, fp12_mul(t1, y0))


def pairing(left: G1Point, right: G2Point) -> Fp12:
    """e(left, right)."""
    return final_exponentiation(miller_loop([(left, line_function(right))]))


def is_product_one(pairs: Iterable[tuple[G1Point, G2Point]]) -> bool:
    """Whether the pairings of ``pairs`` multiply to one."""
    loops = miller_loop((left, line_function(right)) for left, right in pairs)
    return final_exponentiation(loops) == FP12_ONE


def _mul_line(value: Fp12, line: Line, point: tuple[int, int]) -> Fp12:
    x, y = point
    return fp12_mul_line(value, fp2_scale(line.y_factor, y), fp2_scale(line.x_factor, x), line.constant)


def _double(point: _Projective, lines: list[Line]) -> _Projective:
    """Twice ``point``; its tangent joins ``lines``."""
    x, y, z = point
    a = fp2_scale(fp2_mul(x, y), _HALF)
    b, c = fp2_square(y), fp2_square(z)
    e = fp2_mul(fp2_scale(c, 3), curve.G2.b)
    f = fp2_scale(e, 3)
    g = fp2_scale(fp2_add(b, f), _HALF)
    h = fp2_sub(fp2_square(fp2_add(y, z)), fp2_add(b, c))
    lines.append(Line(fp2_neg(h), fp2_scale(fp2_square(x), 3), fp2_sub(e, b)))
    y3 = fp2_sub(fp2_square(g), fp2_scale(fp2_square(e), 3))
    return fp2_mul(a, fp2_sub(b, f)), y3, fp2_mul(b, h)


def _add(point: _Projective, other: tuple[Fp2, Fp2], lines: list[Line]) -> _Projective:
    """``point + other``; the line through both joins ``lines``. The loop never adds equal or opposite points."""
    (x1, y1, z1), (x2, y2) = point, other
    o = fp2_sub(y1, fp2_mul(y2, z1))
    slope = fp2_sub(x1, fp2_mul(x2, z1))
    c, d = fp2_square(o), fp2_square(slope)
    e = fp2_mul(slope, d)
    f = fp2_mul(z1, c)
    g = fp2_mul(x1, d)
    k = fp2_sub(fp2_add(e, f), fp2_scale(g, 2))
    lines.append(Line(slope, fp2_neg(o), fp2_sub(fp2_mul(x2, o), fp2_mul(y2, slope))))
    y3 = fp2_sub(fp2_mul(fp2_sub(g, k), o), fp2_mul(y1, e))
    return fp2_mul(slope, k), y3, fp2_mul(e, z1)


def _non_adjacent_form(value: int) -> list[int]:
    """The digits -1, 0 and 1 of ``value``, lowest first, no two neighbours of them non-zero."""
    digits = []
    while value:
        digit = 2 - value % 4 if value % 2 else 0
        digits.append(digit)
        value = (value - digit) // 2
    return digits


_HALF = field.inverse(2, P)
LOOP = _non_adjacent_form(6 * X + 2)[-2::-1]
"""The digits of 6X + 2 below the leading one, highest first."""
