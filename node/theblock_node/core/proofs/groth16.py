"""Groth16 over BN254: whether a proof shows that its prover knows a witness for the public inputs.

Accepted iff e(A, B) = e(alpha, beta) * e(vx, gamma) * e(C, delta), where vx is the key's IC combined by the inputs.
Keys are prepared once (`prepare`, which also refuses hostile ones). This is the definition: the native verifier that
a prepared key may carry gives the same answers. A proof can be re-randomised by anyone who sees it, so it says nothing
about who made it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import encoding, keys, native, pairing
from theblock_node.core.proofs.curve import G1, G2, G1Point, G2Point
from theblock_node.core.proofs.encoding import G1_BYTES, G2_BYTES
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.keys import VerifyingKey
from theblock_node.core.proofs.pairing import Lines
from theblock_node.core.proofs.tower import FP12_ONE, Fp12, fp12_mul, fp12_power

if TYPE_CHECKING:
    from theblock_node.core.proofs.native import Verifier

PROOF_BYTES = 2 * G1_BYTES + G2_BYTES
EVM_PROOF_BYTES = 256
BATCH_MAX = 256
"""Claims in one batch."""


@dataclass(frozen=True, slots=True)
class Proof:
    a: G1Point
    b: G2Point
    c: G1Point


@dataclass(frozen=True, slots=True)
class Claim:
    """That ``proof`` shows ``inputs``."""

    inputs: tuple[int, ...]
    proof: Proof


@dataclass(frozen=True, slots=True)
class PreparedKey:
    """A verifying key that was checked, with what every verification needs of it."""

    key: VerifyingKey
    alpha_beta: Fp12
    """The pairing of alpha and beta, before the final exponentiation."""
    gamma: Lines
    delta: Lines
    native: Verifier | None = field(default=None, compare=False, repr=False)
    """The key in the kernels; None where the twin verifies."""


def prepare(key: VerifyingKey, public_count: int) -> PreparedKey:
    """The key made ready for verifying statements of ``public_count`` inputs; a hostile key is refused."""
    keys.check_verifying_key(key, public_count)
    alpha_beta = pairing.miller_loop([(key.alpha, pairing.line_function(key.beta))])
    gamma, delta = pairing.line_function(key.gamma), pairing.line_function(key.delta)
    return PreparedKey(key, alpha_beta, gamma, delta, native.load_verifier(key))


def verify(prepared: PreparedKey, inputs: Sequence[int], proof: Proof) -> None:
    """Refuse ``proof`` unless it shows ``inputs``; what needs no pairing is refused before there is one."""
    check_inputs(prepared, inputs)
    check_points(proof)
    if not _is_product_one(prepared, inputs, proof):
        raise InvalidRecord("snark.invalid_proof")


def verify_batch(prepared: PreparedKey, claims: Sequence[Claim]) -> list[InvalidRecord | None]:
    """What `verify` refuses about each of ``claims``, None where it holds; a valid one costs less in company."""
    assert len(claims) <= BATCH_MAX, "the caller cuts its batches"
    refusals = [_refusal_of_form(prepared, claim) for claim in claims]
    formed = [claim for claim, refusal in zip(claims, refusals, strict=True) if refusal is None]
    if not formed or _holds_together(prepared, formed):
        return refusals
    return [
        InvalidRecord("snark.invalid_proof")
        if refusal is None and not _is_product_one(prepared, claim.inputs, claim.proof)
        else refusal
        for claim, refusal in zip(claims, refusals, strict=True)
    ]


def check_inputs(prepared: PreparedKey, inputs: Sequence[int]) -> None:
    """Refuse inputs that are too few, too many, or another encoding of a smaller number."""
    if len(inputs) != prepared.key.public_count:
        raise InvalidRecord("snark.input_count", count=len(inputs), wanted=prepared.key.public_count)
    for index, value in enumerate(inputs):
        if not 0 <= value < R:
            raise InvalidRecord("snark.input_range", index=index)


def check_points(proof: Proof) -> None:
    """Refuse points that no proof consists of."""
    for what, point in (("a", proof.a), ("c", proof.c)):
        if point is None:
            raise InvalidRecord("snark.proof_infinity", what=what)
        if not G1.is_on_curve(point):
            raise InvalidRecord("snark.not_on_curve", what=what)
    if proof.b is None:
        raise InvalidRecord("snark.proof_infinity", what="b")
    if not G2.is_on_curve(proof.b):
        raise InvalidRecord("snark.not_on_curve", what="b")
    if not native.is_in_g2(proof.b):
        raise InvalidRecord("snark.not_in_subgroup", what="b")


def encode_proof(proof: Proof) -> bytes:
    """128 bytes: A, B and C compressed."""
    return encoding.compress_g1(proof.a) + encoding.compress_g2(proof.b) + encoding.compress_g1(proof.c)


def decode_proof(data: bytes) -> Proof:
    """The proof that ``data`` encodes, with its points on their curves."""
    if len(data) != PROOF_BYTES:
        raise InvalidRecord("snark.proof_size", size=len(data))
    return Proof(
        encoding.decompress_g1(data[:G1_BYTES], what="a"),
        encoding.decompress_g2(data[G1_BYTES:-G1_BYTES], what="b"),
        encoding.decompress_g1(data[-G1_BYTES:], what="c"),
    )


def encode_proof_evm(proof: Proof) -> bytes:
    """256 bytes, as contracts on Ethereum take them."""
    return encoding.evm_g1(proof.a) + encoding.evm_g2(proof.b) + encoding.evm_g1(proof.c)


def decode_proof_evm(data: bytes) -> Proof:
    if len(data) != EVM_PROOF_BYTES:
        raise InvalidRecord("snark.proof_size", size=len(data))
    return Proof(
        encoding.read_evm_g1(data[:64], what="a"),
        encoding.read_evm_g2(data[64:192], what="b"),
        encoding.read_evm_g1(data[192:], what="c"),
    )


def _refusal_of_form(prepared: PreparedKey, claim: Claim) -> InvalidRecord | None:
    try:
        check_inputs(prepared, claim.inputs)
        check_points(claim.proof)
    except InvalidRecord as refusal:
        return refusal
    return None


def _combine_inputs(key: VerifyingKey, inputs: Sequence[int]) -> G1Point:
    return G1.add(key.ic[0], G1.msm(key.ic[1:], inputs))


def _is_product_one(prepared: PreparedKey, inputs: Sequence[int], proof: Proof) -> bool:
    if prepared.native is not None:
        return native.holds(prepared.native, [proof], [1], [1, *inputs])
    loops = pairing.miller_loop(
        [
            (G1.neg(proof.a), pairing.line_function(proof.b)),
            (_combine_inputs(prepared.key, inputs), prepared.gamma),
            (proof.c, prepared.delta),
        ]
    )
    return pairing.final_exponentiation(fp12_mul(loops, prepared.alpha_beta)) == FP12_ONE


def _holds_together(prepared: PreparedKey, claims: Sequence[Claim]) -> bool:
    """Whether a random combination of the equations of ``claims`` holds, as it does not if one of them fails."""
    weights = keys.draw_weights(b"theblock/groth16/batch/v1", _encode_claims(prepared.key, claims), len(claims))
    width = prepared.key.public_count
    inputs = [
        sum(weight * claim.inputs[at] for weight, claim in zip(weights, claims, strict=True)) % R for at in range(width)
    ]
    total = sum(weights) % R
    if prepared.native is not None:
        return native.holds(prepared.native, [claim.proof for claim in claims], weights, [total, *inputs])
    negated = [
        (G1.neg(G1.multiply(claim.proof.a, weight)), pairing.line_function(claim.proof.b))
        for weight, claim in zip(weights, claims, strict=True)
    ]
    loops = pairing.miller_loop(
        [
            *negated,
            (G1.msm(prepared.key.ic, [total, *inputs]), prepared.gamma),
            (G1.msm([claim.proof.c for claim in claims], weights), prepared.delta),
        ]
    )
    return pairing.final_exponentiation(fp12_mul(loops, fp12_power(prepared.alpha_beta, total))) == FP12_ONE


def _encode_claims(key: VerifyingKey, claims: Sequence[Claim]) -> list[bytes]:
    """Everything that the weights of a batch must follow from; its parts cannot be read in two ways."""
    parts = [keys.encode_verifying_key(key), struct.pack("<I", len(claims))]
    for claim in claims:
        parts.extend(map(encoding.scalar_bytes, claim.inputs))
        parts.append(encode_proof(claim.proof))
    return parts
