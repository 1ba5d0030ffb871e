"""Erasure code over GF(256): any ``data`` of ``data + parity`` shards give back what was coded.

The exact definition, `rs_matrix = 2`: bytes are polynomials over GF(2) modulo 0x11D; shard ``j`` below ``data`` is
the data itself, and shard ``data + r`` is the sum over j of ``inv((data + r) xor j) * shard[j]``. Those rows are a
Cauchy matrix, so every square part of them has an inverse and no choice of lost shards is worse than another.

A product by a constant is a table of 256 bytes, a sum is an exclusive or, so whole shards are handled by
`bytes.translate` and by integers as long as the shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

POLYNOMIAL = 0x11D
RS_MATRIX = 2
"""How manifests name this matrix."""
SHARDS_MAX = 255
_MATRICES_KEPT = 256


def multiply(left: int, right: int) -> int:
    """The product of two elements."""
    if not left or not right:
        return 0
    return _POWERS[_LOGARITHMS[left] + _LOGARITHMS[right]]


def inverse(value: int) -> int:
    """The element whose product with ``value`` is one; ``value`` is not zero."""
    assert 0 < value < 256, "zero has no inverse"
    return _POWERS[255 - _LOGARITHMS[value]]


def matrix_row(shard: int, data: int) -> tuple[int, ...]:
    """What shard ``shard`` is as a sum of the ``data`` shards of the chunk."""
    if shard < data:
        return tuple(int(at == shard) for at in range(data))
    return tuple(inverse(shard ^ at) for at in range(data))


def compute_shard_size(size: int, data: int) -> int:
    """Bytes of each shard of a chunk of ``size`` bytes."""
    return -(-size // data)


def split(chunk: bytes, data: int) -> list[bytes]:
    """``chunk`` as ``data`` shards of equal size, the last ones filled up with zeros."""
    size = compute_shard_size(len(chunk), data)
    return [chunk[at : at + size].ljust(size, b"\0") for at in range(0, size * data, size)] if size else [b""] * data


def join(shards: Sequence[bytes], size: int) -> bytes:
    """The chunk of ``size`` bytes that was split into ``shards``."""
    return b"".join(shards)[:size]


def encode(shards: Sequence[bytes], parity: int) -> list[bytes]:
    """The parity shards of the data ``shards``, which are of equal size."""
    data = len(shards)
    _check_layout(data, parity)
    _check_sizes(shards)
    return [_combine(matrix_row(data + row, data), shards) for row in range(parity)]


def reconstruct(present: Mapping[int, bytes], wanted: Sequence[int], *, data: int, parity: int) -> dict[int, bytes]:
    """The ``wanted`` shards from any ``data`` of those ``present``; more than that are not looked at.

    What is present must be right: a code of this kind cannot tell a wrong shard from a right one.
    """
    _check_layout(data, parity)
    if not all(0 <= at < data + parity for at in (*present, *wanted)):
        raise ValueError("no such shard")
    found = {at: present[at] for at in wanted if at in present}
    lost = [at for at in wanted if at not in present]
    if not lost:
        return found
    if len(present) < data:
        raise ValueError(f"{len(present)} of {data} shards")
    used = tuple(sorted(present)[:data])
    shards = [present[at] for at in used]
    _check_sizes(shards)
    inverted = _invert(used, data)
    for at in lost:
        row = matrix_row(at, data)
        factors = [_dot(row, [inverted[middle][column] for middle in range(data)]) for column in range(data)]
        found[at] = _combine(factors, shards)
    return found


def _combine(factors: Sequence[int], shards: Sequence[bytes]) -> bytes:
    """The sum of the shards, each times its factor."""
    total = 0
    for factor, shard in zip(factors, shards, strict=True):
        if factor:
            total ^= int.from_bytes(shard if factor == 1 else shard.translate(_products(factor)), "little")
    return total.to_bytes(len(shards[0]), "little")


def _dot(left: Sequence[int], right: Sequence[int]) -> int:
    total = 0
    for a, b in zip(left, right, strict=True):
        total ^= multiply(a, b)
    return total


@lru_cache(maxsize=256)
def _products(factor: int) -> bytes:
    """Every byte times ``factor``."""
    return bytes(multiply(factor, value) for value in range(256))


@lru_cache(maxsize=_MATRICES_KEPT)
def _invert(used: tuple[int, ...], data: int) -> tuple[tuple[int, ...], ...]:
    """The inverse of the matrix of the shards ``used``, by elimination; a Cauchy matrix always has one."""
    rows = [[*matrix_row(shard, data), *(int(column == at) for column in range(data))] for at, shard in enumerate(used)]
    for column in range(data):
        pivot = next(at for at in range(column, data) if rows[at][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = inverse(rows[column][column])
        rows[column] = [multiply(scale, value) for value in rows[column]]
        for at in range(data):
            factor = rows[at][column]
            if at != column and factor:
                rows[at] = [
                    value ^ multiply(factor, other) for value, other in zip(rows[at], rows[column], strict=True)
                ]
    return tuple(tuple(row[data:]) for row in rows)


def _check_layout(data: int, parity: int) -> None:
    if data < 1 or parity < 0 or data + parity > SHARDS_MAX:
        raise ValueError(f"{data} + {parity} shards: at least one, at most {SHARDS_MAX}")


def _check_sizes(shards: Sequence[bytes]) -> None:
    if len({len(shard) for shard in shards}) != 1:
        raise ValueError("shards of one chunk are of one size")


def _make_powers() -> tuple[list[int], list[int]]:
    """Powers of the generator 2, twice over so that sums of logarithms need no modulus, and logarithms."""
    powers, logarithms, value = [0] * 510, [0] * 256, 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logarithms[value] = exponent
        value <<= 1
        if value & 0x100:
            value ^= POLYNOMIAL
    return powers, logarithms


_POWERS, _LOGARITHMS = _make_powers()
