"""Points and scalars as bytes: compressed as arkworks writes them, uncompressed as Ethereum's precompiles read them.

Compressed: x little-endian, and in the top bits of the last byte whether y is the larger of the two roots, or the
point infinity. Every point has one encoding: coordinates at or above P and stray bits are refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import field, tower
from theblock_node.core.proofs.curve import FP2, G1, G2, G1Point, G2Point
from theblock_node.core.proofs.field import ELEMENT_BYTES, P, R
from theblock_node.core.proofs.tower import Fp2

G1_BYTES = 32
G2_BYTES = 64
_LARGER = 0x80
_INFINITY = 0x40
_FLAGS = _LARGER | _INFINITY


def compress_g1(point: G1Point) -> bytes:
    if point is None:
        return _with_flag(bytes(G1_BYTES), _INFINITY)
    x, y = point
    return _with_flag(x.to_bytes(G1_BYTES, "little"), _LARGER if y > P - y else 0)


def compress_g2(point: G2Point) -> bytes:
    if point is None:
        return _with_flag(bytes(G2_BYTES), _INFINITY)
    x, y = point
    return _with_flag(b"".join(c.to_bytes(ELEMENT_BYTES, "little") for c in x), _LARGER if _is_larger(y) else 0)


def decompress_g1(data: bytes, *, what: str) -> G1Point:
    """The point on the curve that ``data`` encodes; ``what`` is named in a refusal."""
    flag, coordinates = _split_flag(data, G1_BYTES, what)
    if flag == _INFINITY:
        return None
    (x,) = coordinates
    y = field.square_root(x**3 + G1.b)
    if y is None:
        raise InvalidRecord("snark.not_on_curve", what=what)
    return x, y if (y > P - y) == (flag == _LARGER) else P - y


def decompress_g2(data: bytes, *, what: str) -> G2Point:
    """As `decompress_g1`; whether the point is also in the group, `curve.is_in_g2` says."""
    flag, coordinates = _split_flag(data, G2_BYTES, what)
    if flag == _INFINITY:
        return None
    x: Fp2 = (coordinates[0], coordinates[1])
    y = tower.fp2_square_root(FP2.add(FP2.mul(FP2.square(x), x), G2.b))
    if y is None:
        raise InvalidRecord("snark.not_on_curve", what=what)
    return x, y if _is_larger(y) == (flag == _LARGER) else FP2.neg(y)


def evm_g1(point: G1Point) -> bytes:
    """64 bytes, big-endian; infinity is all zero."""
    return _big_endian(point or (0, 0))


def evm_g2(point: G2Point) -> bytes:
    """128 bytes, big-endian, the imaginary part of each coordinate first."""
    x, y = point or (tower.FP2_ZERO, tower.FP2_ZERO)
    return _big_endian((x[1], x[0], y[1], y[0]))


def read_evm_g1(data: bytes, *, what: str) -> G1Point:
    x, y = _read_big_endian(data, 2, what)
    point = (x, y) if x or y else None
    if not G1.is_on_curve(point):
        raise InvalidRecord("snark.not_on_curve", what=what)
    return point


def read_evm_g2(data: bytes, *, what: str) -> G2Point:
    x1, x0, y1, y0 = _read_big_endian(data, 4, what)
    point = ((x0, x1), (y0, y1)) if x0 or x1 or y0 or y1 else None
    if not G2.is_on_curve(point):
        raise InvalidRecord("snark.not_on_curve", what=what)
    return point


def scalar_bytes(value: int) -> bytes:
    """A public input or a wire: 32 bytes, little-endian."""
    return value.to_bytes(ELEMENT_BYTES, "little")


def read_scalar(data: bytes, *, what: str) -> int:
    """The scalar below R that ``data`` encodes."""
    value = int.from_bytes(data, "little")
    if len(data) != ELEMENT_BYTES or value >= R:
        raise InvalidRecord("snark.scalar_range", what=what)
    return value


def _is_larger(y: Fp2) -> bool:
    """Whether ``y`` is the larger of itself and its opposite: by the imaginary part, then the real one."""
    minus = FP2.neg(y)
    return (y[1], y[0]) > (minus[1], minus[0])


def _with_flag(data: bytes, flag: int) -> bytes:
    return data[:-1] + bytes([data[-1] | flag])


def _split_flag(data: bytes, size: int, what: str) -> tuple[int, list[int]]:
    """The flag of a compressed point and its canonical coordinates."""
    if len(data) != size:
        raise InvalidRecord("snark.point_size", what=what, size=len(data))
    flag = data[-1] & _FLAGS
    plain = data[:-1] + bytes([data[-1] & ~_FLAGS & 0xFF])
    coordinates = [
        int.from_bytes(plain[at : at + ELEMENT_BYTES], "little") for at in range(0, len(plain), ELEMENT_BYTES)
    ]
    if flag == _FLAGS or (flag == _INFINITY and any(coordinates)):
        raise InvalidRecord("snark.point_flags", what=what)
    if any(coordinate >= P for coordinate in coordinates):
        raise InvalidRecord("snark.coordinate_range", what=what)
    return flag, coordinates


def _big_endian(coordinates: Iterable[int]) -> bytes:
    return b"".join(coordinate.to_bytes(ELEMENT_BYTES, "big") for coordinate in coordinates)


def _read_big_endian(data: bytes, count: int, what: str) -> list[int]:
    if len(data) != count * ELEMENT_BYTES:
        raise InvalidRecord("snark.point_size", what=what, size=len(data))
    coordinates = [int.from_bytes(data[at : at + ELEMENT_BYTES], "big") for at in range(0, len(data), ELEMENT_BYTES)]
    if any(coordinate >= P for coordinate in coordinates):
        raise InvalidRecord("snark.coordinate_range", what=what)
    return coordinates
