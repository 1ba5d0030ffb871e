"""The bundle that a provider delivers for a slice that asks for the circuit `cube`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from support.circuits import cube_key
from support.snark import read_vector
from theblock_node.core import crypto
from theblock_node.core.crypto import SigningKey
from theblock_node.core.proofs import bundle as bundles
from theblock_node.core.proofs import groth16, prover, statements, witness
from theblock_node.core.proofs.bundle import Artifact, Backend, ProofBundle
from theblock_node.core.proofs.prover import UsableKey
from theblock_node.core.proofs.witness import Program


def deliver_cube(
    chain_id: int, job: str, index: int, x: int, key: SigningKey, usable: UsableKey | None = None
) -> ProofBundle:
    """As whoever holds ``key`` proves it; with ``usable`` where the circuit was registered with another key."""
    usable = usable or _usable()
    circuit_hash = crypto.blake3(read_vector("cube.wasm"))
    committed = statements.commit_output(_program().compute({"x": x, "ctx": 0})[1:2])
    context = statements.compute_context(
        chain_id, job, index, circuit_hash=circuit_hash, output_commitment=committed, provider_key=key.public_key
    )
    wires = _program().compute({"x": x, "ctx": context})
    made = ProofBundle(
        version=2,
        system=bundles.GROTH16_BN254,
        backend=Backend.CPU,
        circuit_hash=circuit_hash,
        vk_hash=statements.compute_key_hash(usable.key.verifying),
        program_commitment=circuit_hash,
        output_commitment=committed,
        witness_commitment=statements.commit_witness(bytes(32), wires),
        public_inputs=tuple(value.to_bytes(32, "little") for value in wires[1:3]),
        proof=groth16.encode_proof(prover.prove(usable, wires, r=7, s=9)),
        latency_ms=21,
        artifact=Artifact(circuit_hash, circuit_hash, 1),
        provider_signature=bytes(64),
    )
    return replace(made, provider_signature=key.sign(bundles.signing_bytes(made)))


@cache
def _usable() -> UsableKey:
    return prover.prepare(cube_key(), cube_key().verifying)


@cache
def _program() -> Program:
    return witness.load(read_vector("cube.wasm"))
