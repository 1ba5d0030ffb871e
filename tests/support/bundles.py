"""Circuits of the chain's tests and bundles of their proofs, as a provider makes them: `cubic`, which is unbound, and
`bound`, which takes ctx."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from support.snark import BLINDERS, BOUND, CUBIC, bound_file, bound_key, cubic_key
from theblock_node.core import crypto
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains.compute.records import RegisterCircuit
from theblock_node.core.proofs import bundle as bundles
from theblock_node.core.proofs import groth16, keys, prover, statements
from theblock_node.core.proofs.bundle import Artifact, Backend, ProofBundle
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.formats import zkey
from theblock_node.core.proofs.prover import UsableKey

CUBIC_HASH, BOUND_HASH = crypto.blake3(b"the wasm of cubic"), crypto.blake3(b"the wasm of bound")
SALT = bytes(32)


def registration(circuit_hash: bytes = BOUND_HASH, **changes: Any) -> RegisterCircuit:
    is_bound = circuit_hash == BOUND_HASH
    command = RegisterCircuit(
        circuit_hash=circuit_hash,
        r1cs_hash=crypto.blake3(r1cs_file.write(BOUND if is_bound else CUBIC)),
        zkey_hash=crypto.blake3(bound_file() if is_bound else zkey.write(cubic_key())),
        wasm_hash=circuit_hash,
        zkey_object=None,
        wasm_object=None,
        verifying_key=keys.encode_verifying_key(_usable(is_bound).key.verifying),
        output_count=1,
        domain_size=_usable(is_bound).key.domain_size,
        ctx_index=1 if is_bound else None,
        ceremony=None,
    )
    return replace(command, **changes)


def inputs_of(x: int) -> bytes:
    return b'{"x": "%d"}' % x


def make(
    chain_id: int,
    job_id: bytes,
    index: int,
    x: int,
    key: SigningKey,
    circuit_hash: bytes = BOUND_HASH,
    *,
    context: int | None = None,
    **changes: Any,
) -> ProofBundle:
    """The bundle of a slice that asks for x³ + x + 5, with ``changes`` made before it is signed.

    ``context`` stands in the place of the slice's own.
    """
    output = (x**3 + x + 5) % R
    committed = statements.commit_output([output])
    is_bound = circuit_hash == BOUND_HASH
    if context is None:
        context = statements.compute_context(
            chain_id,
            job_id.hex(),
            index,
            circuit_hash=circuit_hash,
            output_commitment=committed,
            provider_key=key.public_key,
        )
    wires = (1, output, context, x, x * x % R, context * context % R) if is_bound else (1, output, x, x * x % R)
    public = wires[1:3] if is_bound else wires[1:2]
    blank = ProofBundle(
        version=2,
        system=bundles.GROTH16_BN254,
        backend=Backend.CPU,
        circuit_hash=circuit_hash,
        vk_hash=statements.compute_key_hash(_usable(is_bound).key.verifying),
        program_commitment=circuit_hash,
        output_commitment=committed,
        witness_commitment=statements.commit_witness(SALT, wires),
        public_inputs=tuple(value.to_bytes(32, "little") for value in public),
        proof=_prove(wires),
        latency_ms=12,
        artifact=Artifact(circuit_hash, circuit_hash, 3),
        provider_signature=bytes(64),
    )
    return sign(replace(blank, **changes), key)


def sign(bundle: ProofBundle, key: SigningKey) -> ProofBundle:
    return replace(bundle, provider_signature=key.sign(bundles.signing_bytes(bundle)))


@cache
def _usable(is_bound: bool) -> UsableKey:
    key = bound_key() if is_bound else cubic_key()
    return prover.prepare(key, key.verifying)


@cache
def _prove(wires: tuple[int, ...]) -> bytes:
    usable = _usable(len(wires) == BOUND.wire_count)
    return groth16.encode_proof(prover.prove(usable, wires, **BLINDERS))
