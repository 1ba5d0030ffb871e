"""The names of keys, statements and proofs never change."""

from __future__ import annotations

from support.snark import WITNESS, cubic_key, cubic_proof
from theblock_node.core.proofs import groth16, statements
from theblock_node.core.proofs.field import R

KEY_HASH = bytes.fromhex("d4f71bc14daf2a4fba6e565a93ce422fd9abb93c8d4ead12ac3788bbbe41c475")
CIRCUIT_HASH = bytes.fromhex("0d66d411a21e80d93afa1487b002a1867432c04ba1d08dc790d259639f6a69c4")


def context(**changes) -> int:
    job = {"chain_id": 1, "job_id": "job1", "slice_index": 0} | {
        "circuit_hash": CIRCUIT_HASH,
        "output_commitment": bytes(32),
        "provider_key": b"\x01" * 32,
    }
    return statements.compute_context(**(job | changes))


def test_golden_names():
    proof = groth16.encode_proof(cubic_proof())

    assert statements.compute_key_hash(cubic_key().verifying) == KEY_HASH
    assert statements.compute_statement_id(KEY_HASH, (35,)).hex() == (
        "b2c893c6779d246225890f3f024f315683b2221edd5f0f46139941fef9ddad25"
    )
    assert statements.compute_fingerprint(KEY_HASH, (35,), proof).hex() == (
        "89555c40efe338b45447647fddd2129bb706f210e3de79aa198fbf2e5f351cca"
    )
    assert statements.commit_witness(bytes(32), WITNESS).hex() == (
        "173c9798562bb6c3dddedfd4fcf46a304538f57016258eeb4c86e16c0b92ffce"
    )


def test_context_is_the_published_one_and_depends_on_everything():
    assert context() == 11491875610411212267752556969036483294896020898003199033290536588441630079287
    others = [
        context(chain_id=2),
        context(job_id="job2"),
        context(slice_index=1),
        context(circuit_hash=bytes(32)),
        context(output_commitment=statements.commit_output((35,))),
        context(provider_key=bytes(32)),
    ]
    assert len({context(), *others}) == 7
    assert all(value < 2**253 < R for value in others)


def test_output_and_salt_are_bound():
    assert statements.commit_output((35,)) != statements.commit_output((35, 0))
    assert statements.commit_witness(b"\x01" * 32, WITNESS) != statements.commit_witness(bytes(32), WITNESS)
