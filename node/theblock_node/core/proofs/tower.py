"""The extensions of Fp in which pairings live: Fp2 = Fp[u]/(u² + 1), Fp6 = Fp2[v]/(v³ - 9 - u), Fp12 = Fp6[w]/(w² - v).

An element is a tuple of integers, the lowest coefficient first; an Fp6 holds its three Fp2 side by side. Products
are summed as plain integers and reduced once for each coefficient of the result, which in Python is most of the
speed of a pairing. Every result is canonical: equal elements are equal tuples.
"""

from __future__ import annotations

from theblock_node.core.proofs import field
from theblock_node.core.proofs.field import P, X

Fp2 = tuple[int, int]
Fp6 = tuple[int, int, int, int, int, int]
Fp12 = tuple[Fp6, Fp6]

FP2_ZERO: Fp2 = (0, 0)
FP2_ONE: Fp2 = (1, 0)
XI: Fp2 = (9, 1)
"""The element of Fp2 that has neither a square nor a cube root: v³."""
FP6_ZERO: Fp6 = (0, 0, 0, 0, 0, 0)
FP6_ONE: Fp6 = (1, 0, 0, 0, 0, 0)
FP12_ONE: Fp12 = (FP6_ONE, FP6_ZERO)


def fp2_add(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] + b[0]) % P, (a[1] + b[1]) % P


def fp2_sub(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] - b[0]) % P, (a[1] - b[1]) % P


def fp2_neg(a: Fp2) -> Fp2:
    return -a[0] % P, -a[1] % P


def fp2_conjugate(a: Fp2) -> Fp2:
    """``a`` to the power P."""
    return a[0], -a[1] % P


def fp2_mul(a: Fp2, b: Fp2) -> Fp2:
    a0, a1 = a
    b0, b1 = b
    return (a0 * b0 - a1 * b1) % P, (a0 * b1 + a1 * b0) % P


def fp2_square(a: Fp2) -> Fp2:
    a0, a1 = a
    return (a0 + a1) * (a0 - a1) % P, 2 * a0 * a1 % P


def fp2_scale(a: Fp2, factor: int) -> Fp2:
    return a[0] * factor % P, a[1] * factor % P


def fp2_inverse(a: Fp2) -> Fp2:
    """The element whose product with ``a`` is one; ``a`` is not zero."""
    norm = field.inverse(a[0] * a[0] + a[1] * a[1], P)
    return a[0] * norm % P, -a[1] * norm % P


def fp2_power(a: Fp2, exponent: int) -> Fp2:
    result = FP2_ONE
    for bit in bin(exponent)[2:]:
        result = fp2_square(result)
        if bit == "1":
            result = fp2_mul(result, a)
    return result


def fp2_square_root(a: Fp2) -> Fp2 | None:
    """A square root of ``a``; None if there is none."""
    a0, a1 = a
    if a1 == 0:
        real = field.square_root(a0)
        if real is not None:
            return real, 0
        imaginary = field.square_root(-a0)
        assert imaginary is not None, "-1 is no square, so one of two opposite elements is"
        return 0, imaginary
    norm = field.square_root(a0 * a0 + a1 * a1)
    if norm is None:
        return None
    half = field.inverse(2, P)
    x0 = field.square_root((a0 + norm) * half % P)
    if x0 is None:
        x0 = field.square_root((a0 - norm) * half % P)
        assert x0 is not None, "the norm is a square, so one of the two is"
    return x0, a1 * half * field.inverse(x0, P) % P


def fp6_add(a: Fp6, b: Fp6) -> Fp6:
    """The sum, not reduced: for operands of products only."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5]


def fp6_neg(a: Fp6) -> Fp6:
    return -a[0] % P, -a[1] % P, -a[2] % P, -a[3] % P, -a[4] % P, -a[5] % P


def fp6_mul_v(a: Fp6) -> Fp6:
    """``a`` times v, not reduced."""
    return 9 * a[4] - a[5], 9 * a[5] + a[4], a[0], a[1], a[2], a[3]


def fp6_mul(a: Fp6, b: Fp6) -> Fp6:
    """The product, by Karatsuba over the three coefficients; the operands need not be reduced."""
    a0, a1, a2, a3, a4, a5 = a
    b0, b1, b2, b3, b4, b5 = b
    s0, s1 = a0 * b0 - a1 * b1, a0 * b1 + a1 * b0
    t0, t1 = a2 * b2 - a3 * b3, a2 * b3 + a3 * b2
    u0, u1 = a4 * b4 - a5 * b5, a4 * b5 + a5 * b4
    c0, c1, d0, d1 = a2 + a4, a3 + a5, b2 + b4, b3 + b5
    x0, x1 = c0 * d0 - c1 * d1 - t0 - u0, c0 * d1 + c1 * d0 - t1 - u1
    c0, c1, d0, d1 = a0 + a2, a1 + a3, b0 + b2, b1 + b3
    y0, y1 = c0 * d0 - c1 * d1 - s0 - t0, c0 * d1 + c1 * d0 - s1 - t1
    c0, c1, d0, d1 = a0 + a4, a1 + a5, b0 + b4, b1 + b5
    z0, z1 = c0 * d0 - c1 * d1 - s0 - u0, c0 * d1 + c1 * d0 - s1 - u1
    return (
        (s0 + 9 * x0 - x1) % P,
        (s1 + 9 * x1 + x0) % P,
        (y0 + 9 * u0 - u1) % P,
        (y1 + 9 * u1 + u0) % P,
        (z0 + t0) % P,
        (z1 + t1) % P,
    )


def fp6_inverse(a: Fp6) -> Fp6:
    """The element whose product with ``a`` is one; ``a`` is not zero."""
    a0, a1, a2 = a[0:2], a[2:4], a[4:6]
    c0 = fp2_sub(fp2_square(a0), fp2_mul(XI, fp2_mul(a1, a2)))
    c1 = fp2_sub(fp2_mul(XI, fp2_square(a2)), fp2_mul(a0, a1))
    c2 = fp2_sub(fp2_square(a1), fp2_mul(a0, a2))
    crossed = fp2_add(fp2_mul(a1, c2), fp2_mul(a2, c1))
    norm = fp2_inverse(fp2_add(fp2_mul(a0, c0), fp2_mul(XI, crossed)))
    return (*fp2_mul(c0, norm), *fp2_mul(c1, norm), *fp2_mul(c2, norm))


def fp12_mul(a: Fp12, b: Fp12) -> Fp12:
    low, high = fp6_mul(a[0], b[0]), fp6_mul(a[1], b[1])
    crossed = fp6_mul(fp6_add(a[0], a[1]), fp6_add(b[0], b[1]))
    return _fp6_reduce(fp6_add(low, fp6_mul_v(high))), _fp6_minus(crossed, low, high)


def fp12_square(a: Fp12) -> Fp12:
    half = fp6_mul(a[0], a[1])
    whole = fp6_mul(fp6_add(a[0], a[1]), fp6_add(a[0], fp6_mul_v(a[1])))
    return _fp6_minus(whole, half, fp6_mul_v(half)), _fp6_reduce(fp6_add(half, half))


def fp12_conjugate(a: Fp12) -> Fp12:
    """``a`` to the power P⁶; for what the easy part of the final exponentiation gives, its inverse."""
    return a[0], fp6_neg(a[1])


def fp12_inverse(a: Fp12) -> Fp12:
    """The element whose product with ``a`` is one; ``a`` is not zero."""
    minus = fp6_neg(fp6_mul_v(fp6_mul(a[1], a[1])))
    norm = fp6_inverse(_fp6_reduce(fp6_add(fp6_mul(a[0], a[0]), minus)))
    return fp6_mul(a[0], norm), fp6_neg(fp6_mul(a[1], norm))


def fp12_power(a: Fp12, exponent: int) -> Fp12:
    result = FP12_ONE
    for bit in bin(exponent)[2:]:
        result = fp12_square(result)
        if bit == "1":
            result = fp12_mul(result, a)
    return result


def fp12_frobenius(a: Fp12) -> Fp12:
    """``a`` to the power P."""
    (a0, a1, a2, a3, a4, a5), (b0, b1, b2, b3, b4, b5) = a
    low = (a0, -a1 % P, *fp2_mul((a2, -a3), _FROBENIUS[2]), *fp2_mul((a4, -a5), _FROBENIUS[4]))
    high = (
        *fp2_mul((b0, -b1), _FROBENIUS[1]),
        *fp2_mul((b2, -b3), _FROBENIUS[3]),
        *fp2_mul((b4, -b5), _FROBENIUS[5]),
    )
    return low, high


def fp12_mul_line(a: Fp12, constant: Fp2, w: Fp2, vw: Fp2) -> Fp12:
    """``a`` times ``constant + w·w + vw·v·w``, the shape of a line at a point; 13 products in Fp2 for 18."""
    a0, a1, a2, a3, a4, a5 = a[0]
    c0, c1 = constant
    low = (
        *(a0 * c0 - a1 * c1, a0 * c1 + a1 * c0),
        *(a2 * c0 - a3 * c1, a2 * c1 + a3 * c0),
        *(a4 * c0 - a5 * c1, a4 * c1 + a5 * c0),
    )
    high = _fp6_mul_01(a[1], w, vw)
    crossed = _fp6_mul_01(fp6_add(a[0], a[1]), (c0 + w[0], c1 + w[1]), vw)
    return _fp6_reduce(fp6_add(low, fp6_mul_v(high))), _fp6_minus(crossed, low, high)


def fp12_cyclotomic_square(a: Fp12) -> Fp12:
    """``a`` squared where its power P⁴ - P² + 1 is one (Granger and Scott): three squares in Fp4."""
    (a0, a1, a2, a3, a4, a5), (b0, b1, b2, b3, b4, b5) = a
    s0, s1, s2, s3 = _fp4_square(a0, a1, b2, b3)
    t0, t1, t2, t3 = _fp4_square(b0, b1, a4, a5)
    u0, u1, u2, u3 = _fp4_square(a2, a3, b4, b5)
    low = (
        *((3 * s0 - 2 * a0) % P, (3 * s1 - 2 * a1) % P),
        *((3 * t0 - 2 * a2) % P, (3 * t1 - 2 * a3) % P),
        *((3 * u0 - 2 * a4) % P, (3 * u1 - 2 * a5) % P),
    )
    high = (
        *((3 * (9 * u2 - u3) + 2 * b0) % P, (3 * (9 * u3 + u2) + 2 * b1) % P),
        *((3 * s2 + 2 * b2) % P, (3 * s3 + 2 * b3) % P),
        *((3 * t2 + 2 * b4) % P, (3 * t3 + 2 * b5) % P),
    )
    return low, high


def fp12_power_x(a: Fp12) -> Fp12:
    """``a`` to the power of the curve's parameter, where `fp12_cyclotomic_square` may be used."""
    result = a
    for bit in bin(X)[3:]:
        result = fp12_cyclotomic_square(result)
        if bit == "1":
            result = fp12_mul(result, a)
    return result


def _fp6_reduce(a: Fp6) -> Fp6:
    return a[0] % P, a[1] % P, a[2] % P, a[3] % P, a[4] % P, a[5] % P


def _fp6_minus(a: Fp6, b: Fp6, c: Fp6) -> Fp6:
    """``a - b - c``, reduced."""
    return (
        *((a[0] - b[0] - c[0]) % P, (a[1] - b[1] - c[1]) % P),
        *((a[2] - b[2] - c[2]) % P, (a[3] - b[3] - c[3]) % P),
        *((a[4] - b[4] - c[4]) % P, (a[5] - b[5] - c[5]) % P),
    )


def _fp6_mul_01(a: Fp6, c: Fp2, d: Fp2) -> Fp6:
    """``a`` times ``c + d·v``, not reduced."""
    a0, a1, a2, a3, a4, a5 = a
    c0, c1 = c
    d0, d1 = d
    e0, e1 = a4 * d0 - a5 * d1, a4 * d1 + a5 * d0
    return (
        a0 * c0 - a1 * c1 + 9 * e0 - e1,
        a0 * c1 + a1 * c0 + 9 * e1 + e0,
        a0 * d0 - a1 * d1 + a2 * c0 - a3 * c1,
        a0 * d1 + a1 * d0 + a2 * c1 + a3 * c0,
        a2 * d0 - a3 * d1 + a4 * c0 - a5 * c1,
        a2 * d1 + a3 * d0 + a4 * c1 + a5 * c0,
    )


def _fp4_square(a0: int, a1: int, b0: int, b1: int) -> tuple[int, int, int, int]:
    """The square of ``a + b·s`` with s² = 9 + u, not reduced."""
    b_square0, b_square1 = (b0 + b1) * (b0 - b1), 2 * b0 * b1
    return (
        (a0 + a1) * (a0 - a1) + 9 * b_square0 - b_square1,
        2 * a0 * a1 + 9 * b_square1 + b_square0,
        2 * (a0 * b0 - a1 * b1),
        2 * (a0 * b1 + a1 * b0),
    )


_FROBENIUS = tuple(fp2_power(XI, k * (P - 1) // 6) for k in range(6))
"""What w to the power k is multiplied by when it is raised to the power P."""
