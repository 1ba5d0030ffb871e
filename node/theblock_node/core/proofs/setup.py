"""A setup by a single party, for development: whoever knows its secret numbers can forge proofs.

Keys for real use come from a ceremony (snarkjs: powers of tau, contributions, a beacon). Keys made here say what
they are: no contributions, and a circuit hash with a tag of its own; networks refuse them unless their parameters
allow it. The secret numbers are drawn by the caller, and forgotten there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from theblock_node.core import crypto
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import field, native, polynomial, r1cs
from theblock_node.core.proofs.curve import G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.keys import Coefficient, ProvingKey, VerifyingKey
from theblock_node.core.proofs.r1cs import R1cs

DEV_TAG = b"THEBLOCK-INSECURE-DEV-SETUP\x00"
DOMAIN_SIZE_MAX = 2**14
KERNELS_DOMAIN_SIZE_MAX = 2**18
"""With the kernels, which take a second for 2**14 points; larger keys are made by tools not written in Python."""


@dataclass(frozen=True, slots=True, repr=False)
class ToxicWaste:
    """What nobody may know once the key exists; all of it below R."""

    tau: int
    alpha: int
    beta: int
    delta: int


@dataclass(frozen=True, slots=True)
class _Columns:
    """By wire: the value at tau of the polynomials of its columns in A, B and C."""

    a: list[int]
    b: list[int]
    c: list[int]


def setup_dev(circuit_file: bytes, toxic: ToxicWaste) -> ProvingKey:
    """The proving key of the circuit in an `.r1cs` file; gamma is one, as in snarkjs."""
    system = r1cs_file.read(circuit_file)
    power = r1cs.domain_power(system)
    size = 1 << power
    size_max = DOMAIN_SIZE_MAX if native.LIBRARY is None else KERNELS_DOMAIN_SIZE_MAX
    if size > size_max:
        raise InvalidRecord("snark.domain_size", size=size, max=size_max)
    _check_toxic(toxic, size)

    coefficients = list_coefficients(system)
    columns = _evaluate_columns(system, coefficients, polynomial.lagrange_at(power, toxic.tau))
    mixed = [
        (toxic.beta * a + toxic.alpha * b + c) % R for a, b, c in zip(columns.a, columns.b, columns.c, strict=True)
    ]
    delta_inverse = field.inverse(toxic.delta, R)
    public = system.public_count + 1
    hidden = [value * delta_inverse % R for value in mixed[public:]]
    odd = [value * delta_inverse % R for value in polynomial.lagrange_at(power + 1, toxic.tau)[1::2]]

    g1 = iter(
        native.multiply_generator_g1(
            [toxic.alpha, toxic.beta, toxic.delta, *mixed[:public], *columns.a, *columns.b, *hidden, *odd]
        )
    )
    beta2, delta2, *b2 = native.multiply_generator_g2([toxic.beta, toxic.delta, *columns.b])
    alpha1, beta1, delta1 = next(g1), next(g1), next(g1)
    ic, a, b1, c, h = (
        tuple(next(g1) for _ in range(count))
        for count in (public, system.wire_count, system.wire_count, len(hidden), size)
    )
    return ProvingKey(
        verifying=VerifyingKey(alpha1, beta2, G2.generator, delta2, ic),
        beta1=beta1,
        delta1=delta1,
        domain_size=size,
        coefficients=tuple(coefficients),
        a=a,
        b1=b1,
        b2=tuple(b2),
        c=c,
        h=h,
        circuit_hash=hash_dev_circuit(circuit_file),
        contributions=(),
    )


def hash_dev_circuit(circuit_file: bytes) -> bytes:
    """What stands for the circuit in a key that was made here."""
    return crypto.blake2b_512(DEV_TAG + circuit_file)


def is_dev_key(key: ProvingKey, circuit_file: bytes) -> bool:
    """Whether ``key`` was made here for that file."""
    return not key.contributions and key.circuit_hash == hash_dev_circuit(circuit_file)


def list_coefficients(system: R1cs) -> list[Coefficient]:
    """The entries of A and B, row by row, then a row for each public wire that keeps the inputs apart."""
    entries = [
        Coefficient(matrix, row, wire, value)
        for row, constraint in enumerate(system.constraints)
        for matrix, combination in ((0, constraint.a), (1, constraint.b))
        for wire, value in combination
    ]
    first = len(system.constraints)
    return entries + [Coefficient(0, first + wire, wire, 1) for wire in range(system.public_count + 1)]


def _evaluate_columns(system: R1cs, coefficients: Sequence[Coefficient], lagrange: Sequence[int]) -> _Columns:
    columns = _Columns(*([0] * system.wire_count for _ in range(3)))
    for matrix, row, wire, value in coefficients:
        column = columns.b if matrix else columns.a
        column[wire] = (column[wire] + value * lagrange[row]) % R
    for row, constraint in enumerate(system.constraints):
        for wire, value in constraint.c:
            columns.c[wire] = (columns.c[wire] + value * lagrange[row]) % R
    return columns


def _check_toxic(toxic: ToxicWaste, size: int) -> None:
    """Refuse numbers for which there is no key, or one that anybody can forge with."""
    for what, value in (("tau", toxic.tau), ("alpha", toxic.alpha), ("beta", toxic.beta), ("delta", toxic.delta)):
        if not 0 < value < R:
            raise InvalidRecord("snark.toxic_range", what=what)
    if toxic.delta in (1, R - 1):
        raise InvalidRecord("snark.toxic_range", what="delta")
    if pow(toxic.tau, 2 * size, R) == 1:
        raise InvalidRecord("snark.toxic_range", what="tau")
