"""Integers of the protocol: their types on the wire, and arithmetic that refuses instead of wrapping.

Amounts are u64 nBLOCK. Division floors unless a function says otherwise. Real-valued formulas use `DFP`, the
one decimal context; floats are never used.
"""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass
from typing import Annotated

from theblock_node.core.errors import InvalidRecord

BLOCK = 10**9
"""nBLOCK in one BLOCK."""
U64_MAX = 2**64 - 1
BPS = 10_000
PPM = 1_000_000

DFP = decimal.Context(
    prec=34,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-6143,
    Emax=6144,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)


@dataclass(frozen=True, slots=True)
class IntType:
    """A fixed-width little-endian integer: ``code`` is its `struct` letter, None where struct has none."""

    name: str
    size: int
    signed: bool
    code: str | None

    @property
    def low(self) -> int:
        return -(2 ** (8 * self.size - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (8 * self.size - self.signed)) - 1


@dataclass(frozen=True, slots=True)
class FixedBytes:
    """A byte string of exactly ``size``, without a length on the wire."""

    size: int


@dataclass(frozen=True, slots=True)
class MaxLen:
    """Largest (and smallest) number of bytes of a string, or of items of a list."""

    max: int
    min: int = 0


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a whole string must match."""

    text: str

    def matches(self, value: str) -> bool:
        return re.fullmatch(self.text, value) is not None


U8 = Annotated[int, IntType("u8", 1, False, "B")]
U16 = Annotated[int, IntType("u16", 2, False, "H")]
U32 = Annotated[int, IntType("u32", 4, False, "I")]
U64 = Annotated[int, IntType("u64", 8, False, "Q")]
U128 = Annotated[int, IntType("u128", 16, False, None)]
I8 = Annotated[int, IntType("i8", 1, True, "b")]
I16 = Annotated[int, IntType("i16", 2, True, "h")]
I32 = Annotated[int, IntType("i32", 4, True, "i")]
I64 = Annotated[int, IntType("i64", 8, True, "q")]
Bytes16 = Annotated[bytes, FixedBytes(16)]
Bytes32 = Annotated[bytes, FixedBytes(32)]
Bytes48 = Annotated[bytes, FixedBytes(48)]
Bytes64 = Annotated[bytes, FixedBytes(64)]
Bytes80 = Annotated[bytes, FixedBytes(80)]
Bytes96 = Annotated[bytes, FixedBytes(96)]
Height = U64
Digest = Bytes32
PublicKey = Bytes32
Signature = Bytes64


def add(left: int, right: int) -> int:
    return _u64(left + right)


def sub(left: int, right: int) -> int:
    return _u64(left - right)


def mul(left: int, right: int) -> int:
    return _u64(left * right)


def mul_div(value: int, factor: int, divisor: int) -> int:
    """``value * factor / divisor``, rounded down; the product may exceed 64 bits."""
    return _u64(value * factor // divisor)


def bps(amount: int, points: int) -> int:
    """Basis points of ``amount``, rounded down."""
    return mul_div(amount, points, BPS)


def ppm(amount: int, parts: int) -> int:
    """Parts per million of ``amount``, rounded down."""
    return mul_div(amount, parts, PPM)


def _u64(value: int) -> int:
    if not 0 <= value <= U64_MAX:
        raise InvalidRecord("numeric.overflow", value=str(value))
    return value
