"""Bundles: their names on the chain, what their signature covers, and when their proof holds."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from support import bundles
from support.chain import key_of
from support.snark import cubic_key, cubic_proof
from theblock_node.core import codec
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import bundle as b
from theblock_node.core.proofs import groth16, keys
from theblock_node.core.proofs.bundle import Artifact, Backend

KEY = keys.encode_verifying_key(cubic_key().verifying)
GOLDEN = bundles.make(1, bytes(32), 0, 3, key_of("forge"), bundles.CUBIC_HASH)
OTHER = {
    "system": 2,
    "backend": Backend.GPU,
    "circuit_hash": bytes(32),
    "vk_hash": bytes(32),
    "program_commitment": bytes(32),
    "output_commitment": bytes(32),
    "witness_commitment": bytes(32),
    "public_inputs": (bytes(32),),
    "proof": bytes(128),
    "latency_ms": 13,
    "artifact": Artifact(bytes(32), bytes(32), 3),
}


def test_golden_proof_has_the_names_of_the_specification():
    assert GOLDEN.proof == groth16.encode_proof(cubic_proof())
    assert GOLDEN.vk_hash.hex() == "d4f71bc14daf2a4fba6e565a93ce422fd9abb93c8d4ead12ac3788bbbe41c475"
    assert b.statement_id(GOLDEN).hex() == "b2c893c6779d246225890f3f024f315683b2221edd5f0f46139941fef9ddad25"
    assert b.fingerprint(GOLDEN).hex() == "89555c40efe338b45447647fddd2129bb706f210e3de79aa198fbf2e5f351cca"
    assert GOLDEN.witness_commitment.hex() == "173c9798562bb6c3dddedfd4fcf46a304538f57016258eeb4c86e16c0b92ffce"


def test_signature_covers_every_field_but_itself():
    assert {field.name for field in fields(GOLDEN)} == {*OTHER, "version", "provider_signature"}
    signed = {b.signing_bytes(replace(GOLDEN, **{name: value})) for name, value in OTHER.items()}

    assert len(signed | {b.signing_bytes(GOLDEN)}) == len(OTHER) + 1
    assert b.signing_bytes(replace(GOLDEN, provider_signature=b"\1" * 64)) == b.signing_bytes(GOLDEN)


def test_bundle_is_of_version_two_only():
    data = codec.encode(GOLDEN)
    assert (data[0], codec.decode(b.ProofBundle, data)) == (2, GOLDEN)
    with pytest.raises(InvalidRecord, match=r"codec\.version"):
        codec.decode(b.ProofBundle, b"\1" + data[1:])


def test_json_names_the_back_end_in_words():
    row = codec.to_json(GOLDEN)
    assert (row["backend"], row["version"], len(row["proof"])) == ("CPU", 2, 256)
    assert codec.from_json(b.ProofBundle, row) == GOLDEN


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"public_inputs": ((36).to_bytes(32, "little"),)}, "snark.invalid_proof", id="another-output"),
        pytest.param({"public_inputs": ()}, "snark.key_public_count", id="no-inputs"),
        pytest.param({"public_inputs": (b"\xff" * 32,)}, "snark.input_range", id="input-too-large"),
        pytest.param({"proof": bytes(128)}, "snark.not_on_curve", id="no-points"),
    ],
)
def test_proof_that_does_not_hold_is_refused(changes, code):
    b.verify(GOLDEN, KEY)
    with pytest.raises(InvalidRecord) as refused:
        b.verify(replace(GOLDEN, **changes), KEY)
    assert refused.value.code == code


def test_prepared_keys_are_few_and_are_kept():
    assert b.prepare(KEY, 1) is b.prepare(KEY, 1)
    assert b.prepare.cache_info().maxsize == b.PREPARED_KEYS_MAX
