"""Polynomials over Fr by their values: transforms between coefficients and roots of unity.

All sequences are in natural order and as long as a power of two. The exact, slow twin of the kernels' transforms.
"""

from __future__ import annotations

from collections.abc import Sequence

from theblock_node.core.proofs import field
from theblock_node.core.proofs.field import R


def ntt(coefficients: Sequence[int]) -> list[int]:
    """The values at the powers of the root of unity: result i is the sum over j of ``coefficients[j] * w**(i*j)``."""
    power = _power(coefficients)
    values = _bit_reversed(coefficients, power)
    for stage in range(1, power + 1):
        half = 1 << stage - 1
        twiddles = powers(field.root_of_unity(stage), half)
        for start in range(0, len(values), 2 * half):
            for at in range(half):
                low, high = values[start + at], values[start + half + at] * twiddles[at]
                values[start + at] = (low + high) % R
                values[start + half + at] = (low - high) % R
    return values


def intt(values: Sequence[int]) -> list[int]:
    """The coefficients of the polynomial that has ``values`` at the powers of the root of unity."""
    doubled = ntt(values)
    scale = field.inverse(len(values), R)
    return [value * scale % R for value in (doubled[0], *doubled[:0:-1])]


def to_odd_points(values: Sequence[int]) -> list[int]:
    """From the values at the N-th roots of unity to those at the odd powers of the 2N-th root."""
    shift = field.root_of_unity(_power(values) + 1)
    return ntt([value * factor % R for value, factor in zip(intt(values), powers(shift, len(values)), strict=True)])


def lagrange_at(power: int, point: int) -> list[int]:
    """The value at ``point`` of each polynomial that is one at one N-th root and zero at the others, N = ``2**power``.

    ``point`` is none of the roots.
    """
    size = 1 << power
    roots = powers(field.root_of_unity(power), size)
    scale = (pow(point, size, R) - 1) * field.inverse(size, R) % R
    inverses = field.batch_inverse([(point - root) % R for root in roots], R)
    return [scale * root * inverse % R for root, inverse in zip(roots, inverses, strict=True)]


def evaluate(coefficients: Sequence[int], point: int) -> int:
    """The value at ``point``, by Horner's rule."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % R
    return value


def powers(base: int, count: int) -> list[int]:
    """``base`` to the powers 0 to ``count - 1``."""
    result = [1] * count
    for at in range(1, count):
        result[at] = result[at - 1] * base % R
    return result


def _power(values: Sequence[int]) -> int:
    size = len(values)
    assert size.bit_count() == 1, "a transform is over a power of two"
    return size.bit_length() - 1


def _bit_reversed(values: Sequence[int], power: int) -> list[int]:
    if power == 0:
        return list(values)
    return [values[int(f"{at:0{power}b}"[::-1], 2)] for at in range(len(values))]
