"""The one way from proofs to the native kernels; where there is no library, the exact twins answer.

Whatever answers, the answer is the same bit for bit: kernels that differ from their twin are a defect. `back_end`
says which it is. Called by `groth16`, `keys`, `prover` and `setup` where Python would take milliseconds or more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from theblock_node.core.proofs import curve
from theblock_node.core.proofs.curve import G1, G2, G1Point, G2Point
from theblock_node.core.proofs.field import ELEMENT_BYTES, MONTGOMERY_BITS, R

if TYPE_CHECKING:
    from theblock_kernels.library import Library
    from theblock_kernels.snark import Bases as Bases
    from theblock_kernels.snark import Prover as Prover
    from theblock_kernels.snark import Verifier as Verifier

    from theblock_node.core.proofs.groth16 import Proof
    from theblock_node.core.proofs.keys import ProvingKey, VerifyingKey

try:
    from theblock_kernels import bn254, library, snark
except ImportError:
    # A host without the package, or without what it opens libraries with.
    _IS_INSTALLED = False
else:
    _IS_INSTALLED = True

TWIN = "twin"
_ZERO = bytes(ELEMENT_BYTES)


def _open() -> Library | None:
    if not _IS_INSTALLED:
        return None
    try:
        return library.load()
    except library.KernelsMissing:
        return None


LIBRARY = _open()
"""None where there is none for this machine."""


def back_end() -> str:
    """What computes here: a back end of the kernels, or the twin."""
    return TWIN if LIBRARY is None else LIBRARY.back_end


def msm_g1(points: Sequence[G1Point], scalars: Sequence[int]) -> G1Point:
    """As `G1.msm`."""
    if LIBRARY is None:
        return G1.msm(points, scalars)
    return _read_g1(bn254.msm_g1(LIBRARY, _write_g1(points), snark.encode(scalars)))


def msm_g2(points: Sequence[G2Point], scalars: Sequence[int]) -> G2Point:
    """As `G2.msm`."""
    if LIBRARY is None:
        return G2.msm(points, scalars)
    return _read_g2(bn254.msm_g2(LIBRARY, _write_g2(points), snark.encode(scalars)))


def multiply_generator_g1(scalars: Sequence[int]) -> list[G1Point]:
    """As `G1.multiply_generator`."""
    if LIBRARY is None:
        return G1.multiply_generator(scalars)
    numbers = _read(bn254.multiples_g1(LIBRARY, _write_g1([G1.generator]), snark.encode(scalars)))
    return [_point(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]


def multiply_generator_g2(scalars: Sequence[int]) -> list[G2Point]:
    """As `G2.multiply_generator`."""
    if LIBRARY is None:
        return G2.multiply_generator(scalars)
    numbers = _read(bn254.multiples_g2(LIBRARY, _write_g2([G2.generator]), snark.encode(scalars)))
    return [_twisted(*numbers[at : at + 4]) for at in range(0, len(numbers), 4)]


def is_in_g2(point: G2Point) -> bool:
    """As `curve.is_in_g2`, for a point of G2's curve."""
    return are_in_g2([point])


def are_in_g2(points: Sequence[G2Point]) -> bool:
    """Whether all of ``points``, which are on the curve, are in the group."""
    if LIBRARY is None:
        return all(map(curve.is_in_g2, points))
    return all(bn254.are_in_g2(LIBRARY, _write_g2(points)))


def load_verifier(key: VerifyingKey) -> Verifier | None:
    """A key that was checked, in the memory of the kernels; None where the twin verifies."""
    if LIBRARY is None:
        return None
    fixed = _write_g1([key.alpha]) + _write_g2([key.beta, key.gamma, key.delta])
    return snark.Verifier(LIBRARY, fixed, _write_g1(key.ic))


def holds(verifier: Verifier, proofs: Sequence[Proof], weights: Sequence[int], inputs: Sequence[int]) -> bool:
    """Whether the sum of the equations of ``proofs`` holds, each times its weight.

    ``inputs`` are the sum of the weights and the weighted sums of the inputs, below R. The points were checked.
    """
    parts = b"".join(_write_g1([proof.a]) + _write_g2([proof.b]) + _write_g1([proof.c]) for proof in proofs)
    return verifier.holds(parts, weights, inputs)


def load_prover(key: ProvingKey) -> Prover | None:
    """A key that was checked, in the memory of the kernels; None where the twin proves."""
    return None if LIBRARY is None else snark.Prover(LIBRARY, encode_bases(key))


def encode_bases(key: ProvingKey) -> Bases:
    """A key as the kernels take it, on the host or on a device; only where there is a library."""
    fixed = _write_g1([key.verifying.alpha, key.beta1, key.delta1]) + _write_g2(
        [key.verifying.beta, key.verifying.delta]
    )
    # The kernels multiply by plain wires, so their entries carry the radix twice, as those of files do.
    radix = pow(2, 2 * MONTGOMERY_BITS, R)
    entries = b"".join(
        snark.encode_coefficient(matrix, row, wire, (value * radix % R).to_bytes(ELEMENT_BYTES, "little"))
        for matrix, row, wire, value in key.coefficients
    )
    g1 = {name: _write_g1(points) for name, points in (("a", key.a), ("b1", key.b1), ("c", key.c), ("h", key.h))}
    return snark.Bases(key.verifying.public_count, fixed, entries, b2=_write_g2(key.b2), **g1)


def prove(prover: Prover, witness: Sequence[int], *, r: int, s: int) -> tuple[G1Point, G2Point, G1Point]:
    """The points A, B and C for wires and blinders below R; not verified."""
    wires = bytearray().join(value.to_bytes(ELEMENT_BYTES, "little") for value in witness)
    try:
        data = prover.prove(wires, r=snark.encode([r]), s=snark.encode([s]))
    finally:
        # They are secret, and memory that is given back keeps what it held.
        wires[:] = bytes(len(wires))
    a, b, c = (data[first:last] for first, last in ((0, 64), (64, 192), (192, 256)))
    return _read_g1(a), _read_g2(b), _read_g1(c)


def _write_g1(points: Iterable[G1Point]) -> bytes:
    return _write(_ZERO * 2 if point is None else snark.encode(point) for point in points)


def _write_g2(points: Iterable[G2Point]) -> bytes:
    return _write(_ZERO * 4 if point is None else snark.encode(point[0] + point[1]) for point in points)


def _write(parts: Iterable[bytes]) -> bytes:
    assert LIBRARY is not None
    return bn254.to_montgomery(LIBRARY, bn254.Field.P, b"".join(parts))


def _read(data: bytes) -> list[int]:
    assert LIBRARY is not None
    plain = bn254.from_montgomery(LIBRARY, bn254.Field.P, data)
    return [int.from_bytes(plain[at : at + ELEMENT_BYTES], "little") for at in range(0, len(plain), ELEMENT_BYTES)]


def _read_g1(data: bytes) -> G1Point:
    return _point(*_read(data))


def _read_g2(data: bytes) -> G2Point:
    return _twisted(*_read(data))


def _point(x: int, y: int) -> G1Point:
    return (x, y) if x or y else None


def _twisted(x0: int, x1: int, y0: int, y1: int) -> G2Point:
    return ((x0, x1), (y0, y1)) if x0 or x1 or y0 or y1 else None
