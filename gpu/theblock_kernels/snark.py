"""Keys and proofs of Groth16 as the kernels have them: bytes in, bytes out.

Forms are those of `bn254`; proofs are A, B and C, 256 bytes. Keys are checked by whoever hands them in
(`core.proofs.keys`): here only what could make the kernels read past an array.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from theblock_kernels.bn254 import ELEMENT_BYTES, G1_BYTES, G2_BYTES, TRANSFORM_POWER_MAX, check, count_of
from theblock_kernels.library import Library

PROOF_BYTES = 2 * G1_BYTES + G2_BYTES
COEFFICIENT_BYTES = 12 + ELEMENT_BYTES


@dataclass(frozen=True, slots=True)
class Bases:
    """The sections of a `.zkey` file that a prover reads, as they stand in it."""

    public_count: int
    fixed: bytes
    """alpha1, beta1, delta1, beta2, delta2."""
    coefficients: bytes
    """Without the count before them."""
    a: bytes
    b1: bytes
    b2: bytes
    c: bytes
    h: bytes


class Prover:
    """A proving key in the memory of the kernels."""

    def __init__(self, library: Library, bases: Bases) -> None:
        """Raises `ValueError` where the parts of the key do not fit together."""
        self._library = library
        self.wire_count = count_of(bases.a, G1_BYTES)
        self.domain_size = count_of(bases.h, G1_BYTES)
        power = self.domain_size.bit_length() - 1
        hidden = self.wire_count - bases.public_count - 1
        sizes = (len(bases.fixed), len(bases.b1), len(bases.b2), len(bases.c))
        if (
            sizes != (3 * G1_BYTES + 2 * G2_BYTES, len(bases.a), self.wire_count * G2_BYTES, hidden * G1_BYTES)
            or self.domain_size.bit_count() != 1
            or not 1 <= power <= TRANSFORM_POWER_MAX
            or bases.public_count < 0
        ):
            raise ValueError("the parts of the key do not fit together")
        key = library.lib.tb_proving_key_new(
            self.wire_count,
            bases.public_count,
            power,
            bases.fixed,
            bases.coefficients,
            count_of(bases.coefficients, COEFFICIENT_BYTES),
            bases.a,
            bases.b1,
            bases.b2,
            bases.c,
            bases.h,
        )
        if key == library.ffi.NULL:
            raise ValueError("the key holds what is no element or no entry, or is too large")
        self._key = library.ffi.gc(key, library.lib.tb_proving_key_free)

    def prove(self, witness: bytes | bytearray, *, r: bytes, s: bytes) -> bytes:
        """A, B and C for the plain wires and blinders; not verified."""
        self._check_witness(witness)
        if len(r) != ELEMENT_BYTES or len(s) != ELEMENT_BYTES:
            raise ValueError("a blinder is one element")
        return self._fill(PROOF_BYTES, "tb_prove", self._library.ffi.from_buffer(witness), r, s)

    def compute_quotient(self, witness: bytes) -> bytes:
        """The values of A·B - C at the odd powers of the root of the doubled domain, plain."""
        self._check_witness(witness)
        return self._fill(self.domain_size * ELEMENT_BYTES, "tb_quotient", witness)

    def compute_rows(self, matrix: int, witness: bytes) -> bytes:
        """The matrix A (0) or B (1) times the witness, plain."""
        self._check_witness(witness)
        buffer = bytearray(self.domain_size * ELEMENT_BYTES)
        check(self._library.lib.tb_rows(self._key, matrix, witness, self._library.ffi.from_buffer(buffer)))
        return bytes(buffer)

    def _check_witness(self, witness: bytes | bytearray) -> None:
        if len(witness) != self.wire_count * ELEMENT_BYTES:
            raise ValueError("the witness is not as long as the key")

    def _fill(self, size: int, name: str, *arguments: Any) -> bytes:
        buffer = bytearray(size)
        check(getattr(self._library.lib, name)(self._key, *arguments, self._library.ffi.from_buffer(buffer)))
        return bytes(buffer)


class Verifier:
    """A verifying key in the memory of the kernels, with its lines."""

    def __init__(self, library: Library, fixed: bytes, ic: bytes) -> None:
        """``fixed`` is alpha1, beta2, gamma2, delta2: points of their groups, none of them infinity."""
        if len(fixed) != G1_BYTES + 3 * G2_BYTES:
            raise ValueError("the parts of the key do not fit together")
        self._library = library
        self._ic_count = count_of(ic, G1_BYTES)
        key = library.lib.tb_verifying_key_new(fixed, ic, self._ic_count)
        if key == library.ffi.NULL:
            raise MemoryError("the kernels")
        self._key = library.ffi.gc(key, library.lib.tb_verifying_key_free)

    def holds(self, proofs: bytes, weights: Sequence[int], inputs: Sequence[int]) -> bool:
        """Whether the weighted sum of the equations of ``proofs`` holds.

        ``inputs`` are the sum of the weights, then the weighted sums of the inputs, below the order. The points of
        the proofs are in their groups, none of them infinity.
        """
        if count_of(proofs, PROOF_BYTES) != len(weights) or len(inputs) != self._ic_count:
            raise ValueError("the proofs, their weights and their inputs do not fit together")
        lib = self._library.lib
        return check(lib.tb_holds(self._key, proofs, encode(weights), len(weights), encode(inputs))) == 1


def encode(values: Iterable[int]) -> bytes:
    """Plain elements."""
    return b"".join(value.to_bytes(ELEMENT_BYTES, "little") for value in values)


def encode_coefficient(matrix: int, row: int, wire: int, value: bytes) -> bytes:
    """An entry of ``Bases.coefficients``; the value carries the radix twice."""
    return struct.pack("<III", matrix, row, wire) + value
