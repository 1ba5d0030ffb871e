"""The golden files: every byte as published, read back, and as snarkjs and circom write them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from blake3 import blake3
from support import snark
from support.snark import CUBIC, WITNESS, cubic_key
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import pairing
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import documents, ptau, r1cs, wtns, zkey


def test_circuit_file():
    data = r1cs.write(CUBIC)

    assert len(data) == 456
    assert hashlib.sha256(data).hexdigest() == "e2ae757a88cce503d1de9bfa721784909ad6e90ea959bc5c587c7bf4f27d9838"
    assert blake3(data).hexdigest() == "d2330bff2609ffca8dbe109db6a069798e3769b474fd4ae2dda5a1573df5be27"
    assert r1cs.read(data) == CUBIC


def test_witness_file():
    data = wtns.write(WITNESS)

    assert len(data) == 204
    assert hashlib.sha256(data).hexdigest() == "8a1600ae1670efc7e5409748481e889ce0ea4ee051a97098f9e5cbaa8df69649"
    assert wtns.read(data) == WITNESS


def test_key_file():
    data = zkey.write(cubic_key())

    assert len(data) == 2668
    assert hashlib.sha256(data).hexdigest() == "07285fc37a430520a72919daca0234bb14889b5747e4055e01d70d6d5b475b00"
    assert blake3(data).hexdigest() == "1bb14b367d3cbaa095785031e279a0e04563f8d70b5de944f97d18f0a5f98448"
    assert zkey.read(data) == cubic_key()


def test_coefficients_are_stored_times_the_radix_squared():
    data = zkey.write(cubic_key())
    one = 0x0216D0B17F4E44A58C49833D53BB808553FE3AB1E35C59E31BB8E645AE216DA7
    assert data.count(one.to_bytes(32, "little")) == len(cubic_key().coefficients)

    minus = replace(cubic_key(), coefficients=(cubic_key().coefficients[0]._replace(value=R - 1),))
    stored = 0x2E4D7DC161E35B842C06C2792DC5D7D7D435AD96965D16AE28290F4E41DE925A
    assert stored.to_bytes(32, "little") in zkey.write(minus)


def test_files_of_circom_are_read_and_written_to_the_same_meaning():
    system = r1cs.read(snark.read_vector("cube_chain.r1cs"))

    assert (system.wire_count, system.public_count, system.private_input_count) == (31, 3, 2)
    # Circom orders sections and terms differently.
    ordered = tuple(type(row)(*(tuple(sorted(combination)) for combination in row)) for row in system.constraints)
    assert r1cs.read(r1cs.write(system)) == replace(system, constraints=ordered)
    witness = wtns.read(snark.read_vector("cube_chain.wtns"))
    assert wtns.write(witness) == snark.read_vector("cube_chain.wtns")


def test_key_of_a_ceremony_keeps_its_contributions():
    key = snark.chain_key()
    first, beacon = key.contributions

    assert (first.kind, first.name, first.beacon) == (0, b"second", None)
    assert (beacon.kind, beacon.name, beacon.iterations_power) == (1, b"last", 10)
    assert beacon.beacon == bytes(range(1, 16))
    assert beacon.delta_after == key.delta1
    assert zkey.read(zkey.write(key)) == key


def test_documents_of_snarkjs_are_read_and_written_alike():
    key = documents.parse_verifying_key(snark.read_vector("cube_chain.key.json"))
    assert key == snark.chain_key().verifying
    assert documents.parse_verifying_key(documents.render_verifying_key(key)) == key

    for name, parse, render in (
        ("proof", documents.parse_proof, documents.render_proof),
        ("public", documents.parse_public, documents.render_public),
    ):
        text = snark.read_vector(f"cube_chain.{name}.json").decode()
        assert render(parse(text)) == text


def test_powers_of_tau_are_read():
    powers = ptau.read(snark.read_vector("cube_chain.ptau"))
    assert (powers.power, powers.ceremony_power) == (5, 5)
    assert powers.tau_g1[0] == G1.generator
    assert powers.tau_g2[0] == G2.generator
    assert powers.beta_g2 == snark.chain_key().verifying.beta
    assert powers.alpha_tau_g1[0] == snark.chain_key().verifying.alpha

    assert powers.lagrange is not None
    for size in (1, 2, 32):
        # The polynomials of a domain add up to one.
        assert G1.total(ptau.of_domain(powers.lagrange.tau_g1, size)) == G1.generator
        assert G2.total(ptau.of_domain(powers.lagrange.tau_g2, size)) == G2.generator
        assert G1.total(ptau.of_domain(powers.lagrange.alpha_g1, size)) == powers.alpha_tau_g1[0]
        assert G1.total(ptau.of_domain(powers.lagrange.beta_g1, size)) == powers.beta_tau_g1[0]
    # Each power is tau times the one before it.
    for at in (1, 7):
        minus = G1.neg(powers.tau_g1[at])
        assert pairing.is_product_one([(powers.tau_g1[at - 1], powers.tau_g2[1]), (minus, G2.generator)])


def test_bases_of_a_ceremonys_key_are_its_powers():
    """H of the key, times delta, are the odd polynomials of the doubled domain."""
    powers, key = ptau.read(snark.read_vector("cube_chain.ptau")), snark.chain_key()
    assert powers.lagrange is not None
    odd = ptau.of_domain(powers.lagrange.tau_g1, 2 * key.domain_size)[1::2]

    assert len(odd) == key.domain_size
    for at in (0, 1, 31):
        pairs = [(key.h[at], key.verifying.delta), (G1.neg(odd[at]), G2.generator)]
        assert pairing.is_product_one(pairs)


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        pytest.param(12 + 12 + 36, 15, "snark.domain_size", id="power-too-large"),
        pytest.param(12 + 12 + 36, 0, "snark.domain_size", id="no-power"),
        pytest.param(12 + 12 + 36, 4, "snark.file_size", id="other-power"),
        pytest.param(12 + 12 + 40, 4, "snark.domain_size", id="ceremony-smaller-than-its-part"),
        pytest.param(12 + 12, 48, "snark.file_field", id="field-size"),
    ],
)
def test_powers_of_tau_are_refused(at, value, code):
    data = bytearray(snark.read_vector("cube_chain.ptau"))
    data[at] = value
    with pytest.raises(InvalidRecord) as refusal:
        ptau.read(bytes(data))
    assert refusal.value.code == code
