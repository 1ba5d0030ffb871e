"""The two prime fields of BN254: `P` under the curve's coordinates, `R` for scalars, witnesses and polynomials.

Elements are integers in [0, modulus). The native kernels take their constants from here, so that there is one
source of numbers. Files of the circom family store most elements in Montgomery form (times 2**256); that form
appears where such files are read and written, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

X = 4965661367192848881
"""The curve's parameter; both moduli are polynomials in it."""
P = 36 * X**4 + 36 * X**3 + 24 * X**2 + 6 * X + 1
R = 36 * X**4 + 36 * X**3 + 18 * X**2 + 6 * X + 1

ELEMENT_BYTES = 32
MONTGOMERY_BITS = 256
TWO_ADICITY = 28
"""R - 1 is divisible by 2 to this power: the longest domain has as many points."""
NON_RESIDUE = 5
"""The smallest non-residue of R; roots of unity are its powers, as in snarkjs and arkworks."""

_ROOT = pow(NON_RESIDUE, (R - 1) >> TWO_ADICITY, R)
_RADIX = {modulus: pow(2, MONTGOMERY_BITS, modulus) for modulus in (P, R)}
_RADIX_INVERSE = {modulus: pow(2, -MONTGOMERY_BITS, modulus) for modulus in (P, R)}


def inverse(value: int, modulus: int) -> int:
    """The element whose product with ``value`` is one; ``value`` is not zero."""
    assert value % modulus, "zero has no inverse"
    return pow(value, -1, modulus)


def batch_inverse(values: Sequence[int], modulus: int) -> list[int]:
    """The inverse of each of ``values``, none of which is zero, for the price of one inversion."""
    products = [1]
    for value in values:
        products.append(products[-1] * value % modulus)
    running = inverse(products[-1], modulus)
    inverses = [0] * len(values)
    for at in range(len(values) - 1, -1, -1):
        inverses[at] = running * products[at] % modulus
        running = running * values[at] % modulus
    return inverses


def square_root(value: int) -> int | None:
    """A square root of ``value`` modulo P; None if there is none."""
    root = pow(value, (P + 1) // 4, P)
    return root if root * root % P == value % P else None


def root_of_unity(power: int) -> int:
    """The generator of the domain of ``2**power`` points."""
    assert 0 <= power <= TWO_ADICITY, power
    return pow(_ROOT, 1 << (TWO_ADICITY - power), R)


def to_montgomery(value: int, modulus: int) -> int:
    return value * _RADIX[modulus] % modulus


def from_montgomery(value: int, modulus: int) -> int:
    return value * _RADIX_INVERSE[modulus] % modulus
