"""The kernels of BN254 as functions of bytes: sums in both groups, transforms, pairings.

Elements are 32 bytes, little-endian. Coordinates are in Montgomery form, as `.zkey` files have them; scalars and
polynomials are plain. A point is x then y, and infinity is all zero. What is not an element is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from theblock_kernels.library import Library

ELEMENT_BYTES = 32
G1_BYTES = 64
G2_BYTES = 128
FP12_BYTES = 12 * ELEMENT_BYTES
TRANSFORM_POWER_MAX = 27
WINDOW_BITS_MAX = 16
_NO_MEMORY, _NOT_CANONICAL = -1, -2


class Field(IntEnum):
    P = 0
    R = 1


class Operation(IntEnum):
    ADD = 0
    SUB = 1
    MUL = 2
    INVERSE = 3


class Transform(IntEnum):
    TO_VALUES = 0
    TO_COEFFICIENTS = 1
    TO_ODD_POINTS = 2


class NotCanonical(ValueError):
    """A buffer holds what is no element: at or above its modulus."""


def check(status: int) -> int:
    """The status of a call that went well; raises what the others stand for."""
    if status == _NO_MEMORY:
        raise MemoryError("the kernels")
    if status == _NOT_CANONICAL:
        raise NotCanonical("an element is not below its modulus")
    assert status >= 0, f"the kernels failed: {status}"
    return status


def count_of(data: bytes, size: int) -> int:
    """How many parts of ``size`` bytes ``data`` is."""
    if len(data) % size:
        raise ValueError(f"{len(data)} bytes are no multiple of {size}")
    return len(data) // size


def compute(library: Library, field: Field, operation: Operation, left: bytes, right: bytes) -> bytes:
    """The operation on each pair of plain elements; an inverse is that of ``left``, and zero's is zero."""
    _check_equal(count := count_of(left, ELEMENT_BYTES), count_of(right, ELEMENT_BYTES))
    return _fill(library, len(left), lambda out: library.lib.tb_field(field, operation, left, right, out, count))


def to_montgomery(library: Library, field: Field, data: bytes) -> bytes:
    count = count_of(data, ELEMENT_BYTES)
    return _fill(library, len(data), lambda out: library.lib.tb_convert(field, 1, data, out, count))


def from_montgomery(library: Library, field: Field, data: bytes) -> bytes:
    count = count_of(data, ELEMENT_BYTES)
    return _fill(library, len(data), lambda out: library.lib.tb_convert(field, 0, data, out, count))


def msm_g1(library: Library, points: bytes, scalars: bytes, *, window_bits: int = 0) -> bytes:
    """The sum of scalars times points; the window is chosen by the size unless it is given."""
    count = _check_msm(points, scalars, G1_BYTES, window_bits)
    return _fill(library, G1_BYTES, lambda out: library.lib.tb_g1_msm(points, scalars, count, window_bits, out))


def msm_g2(library: Library, points: bytes, scalars: bytes, *, window_bits: int = 0) -> bytes:
    """As `msm_g1`, over Fp2."""
    count = _check_msm(points, scalars, G2_BYTES, window_bits)
    return _fill(library, G2_BYTES, lambda out: library.lib.tb_g2_msm(points, scalars, count, window_bits, out))


def multiples_g1(library: Library, base: bytes, scalars: bytes) -> bytes:
    """``base`` times each scalar."""
    _check_equal(len(base), G1_BYTES)
    count = count_of(scalars, ELEMENT_BYTES)
    return _fill(library, count * G1_BYTES, lambda out: library.lib.tb_g1_multiples(base, scalars, count, out))


def multiples_g2(library: Library, base: bytes, scalars: bytes) -> bytes:
    """As `multiples_g1`, over Fp2."""
    _check_equal(len(base), G2_BYTES)
    count = count_of(scalars, ELEMENT_BYTES)
    return _fill(library, count * G2_BYTES, lambda out: library.lib.tb_g2_multiples(base, scalars, count, out))


def are_in_g2(library: Library, points: bytes) -> list[bool]:
    """Of each point, whether it is on the curve of G2 and in the group."""
    count = count_of(points, G2_BYTES)
    answers = _fill(library, count, lambda out: library.lib.tb_g2_in_group(points, count, out))
    return [answer == 1 for answer in answers]


def transform(library: Library, kind: Transform, values: bytes) -> bytes:
    """A transform over Fr, of as many elements as a power of two."""
    count = count_of(values, ELEMENT_BYTES)
    power = count.bit_length() - 1
    if count.bit_count() != 1 or power > TRANSFORM_POWER_MAX:
        raise ValueError(f"no transform has {count} points")
    buffer = bytearray(values)
    check(library.lib.tb_transform(kind, power, library.ffi.from_buffer(buffer)))
    return bytes(buffer)


def miller_loop(library: Library, lefts: bytes, rights: bytes) -> bytes:
    """The product of the pairs before the final exponentiation."""
    _check_equal(count := count_of(lefts, G1_BYTES), count_of(rights, G2_BYTES))
    return _fill(library, FP12_BYTES, lambda out: library.lib.tb_miller_loop(lefts, rights, count, out))


def final_exponentiation(library: Library, value: bytes) -> bytes:
    """A value that is not zero, to the power (P¹² - 1) / R."""
    _check_equal(len(value), FP12_BYTES)
    return _fill(library, FP12_BYTES, lambda out: library.lib.tb_final_exponentiation(value, out))


def _fill(library: Library, size: int, call: Callable[[Any], int]) -> bytes:
    buffer = bytearray(max(size, 1))
    check(call(library.ffi.from_buffer(buffer)))
    return bytes(buffer[:size])


def _check_msm(points: bytes, scalars: bytes, size: int, window_bits: int) -> int:
    _check_equal(count := count_of(points, size), count_of(scalars, ELEMENT_BYTES))
    if not (window_bits == 0 or 2 <= window_bits <= WINDOW_BITS_MAX):
        raise ValueError(f"no window has {window_bits} bits")
    return count


def _check_equal(left: int, right: int) -> None:
    if left != right:
        raise ValueError(f"{left} does not fit {right}")
