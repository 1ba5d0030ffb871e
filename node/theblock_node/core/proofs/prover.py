"""Proofs of Groth16, made slowly and exactly: the twin of the kernels, and what stands in for them on small circuits.

The two blinders hide the witness: the caller draws them uniformly below R for each proof, and never again. Nothing
here runs in constant time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, keys, native, polynomial, r1cs
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.groth16 import PreparedKey, Proof
from theblock_node.core.proofs.keys import ProvingKey, VerifyingKey

if TYPE_CHECKING:
    from theblock_node.core.proofs.native import Prover

DOMAIN_SIZE_MAX = 2**10
"""Larger circuits are for the kernels."""


@dataclass(frozen=True, slots=True)
class UsableKey:
    """A proving key that was checked against the registered key that its proofs must satisfy."""

    key: ProvingKey
    registered: PreparedKey
    native: Prover | None = field(default=None, compare=False, repr=False)
    """The key in the kernels; None where the twin proves."""


def prepare(key: ProvingKey, registered: VerifyingKey) -> UsableKey:
    """The key made ready for proving; one that is hostile, or is not ``registered``'s, is refused."""
    keys.check_proving_key(key, registered)
    return UsableKey(key, groth16.prepare(registered, registered.public_count), native.load_prover(key))


def prove(usable: UsableKey, witness: Sequence[int], *, r: int, s: int) -> Proof:
    """A proof for the public wires of ``witness``, which passed `groth16.verify` as whoever gets it will see it."""
    proof = groth16.decode_proof(groth16.encode_proof(make_proof(usable, witness, r=r, s=s)))
    try:
        groth16.verify(usable.registered, witness[1 : usable.key.verifying.public_count + 1], proof)
    except InvalidRecord as refusal:
        # A witness of another circuit, or a key with a base in a wrong place.
        raise InvalidRecord("snark.self_check", cause=refusal.code) from refusal
    return proof


def make_proof(usable: UsableKey, witness: Sequence[int], *, r: int, s: int) -> Proof:
    """As `prove`, but not verified: for comparing back ends only."""
    assert 0 <= r < R, "blinders are drawn below R"
    assert 0 <= s < R, "blinders are drawn below R"
    key = usable.key
    if usable.native is None and key.domain_size > DOMAIN_SIZE_MAX:
        raise InvalidRecord("snark.no_backend", domain=key.domain_size, max=DOMAIN_SIZE_MAX)
    r1cs.check_shape(witness, key.wire_count)
    if usable.native is not None:
        return Proof(*native.prove(usable.native, witness, r=r, s=s))
    hidden = witness[key.verifying.public_count + 1 :]

    a = G1.total([G1.msm(key.a, witness), key.verifying.alpha, G1.multiply(key.delta1, r)])
    b1 = G1.total([G1.msm(key.b1, witness), key.beta1, G1.multiply(key.delta1, s)])
    b2 = G2.total([G2.msm(key.b2, witness), key.verifying.beta, G2.multiply(key.verifying.delta, s)])
    c = G1.total(
        [
            G1.msm(key.c, hidden),
            G1.msm(key.h, compute_quotient(key, witness)),
            G1.multiply(a, s),
            G1.multiply(b1, r),
            G1.neg(G1.multiply(key.delta1, r * s % R)),
        ]
    )
    return Proof(a, b2, c)


def compute_quotient(key: ProvingKey, witness: Sequence[int]) -> list[int]:
    """The values of A·B - C at the odd powers of the root of the doubled domain; the bases in H divide them."""
    a, b = compute_rows(key, witness)
    c = [left * right % R for left, right in zip(a, b, strict=True)]
    odd_a, odd_b, odd_c = (polynomial.to_odd_points(row) for row in (a, b, c))
    return [(x * y - z) % R for x, y, z in zip(odd_a, odd_b, odd_c, strict=True)]


def compute_rows(key: ProvingKey, witness: Sequence[int]) -> tuple[list[int], list[int]]:
    """The matrices A and B times the witness."""
    a, b = [0] * key.domain_size, [0] * key.domain_size
    for matrix, row, wire, value in key.coefficients:
        product = b if matrix else a
        product[row] = (product[row] + value * witness[wire]) % R
    return a, b
