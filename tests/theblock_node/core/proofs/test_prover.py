"""Proofs of small circuits, any circuits: made from any witness that fits, and from no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import snark
from support.snark import BLINDERS, WITNESS, cubic_key, cubic_prepared, cubic_proof, cubic_usable
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, prover, r1cs, setup
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.formats import wtns
from theblock_node.core.proofs.r1cs import Constraint, R1cs
from theblock_node.core.proofs.setup import ToxicWaste

COEFFICIENTS = st.one_of(st.integers(1, 5), st.integers(0, R - 1), st.sampled_from([0, R - 1]))


@st.composite
def circuits(draw):
    """A circuit and a witness for it: each constraint makes a new wire from a product of those before it."""
    public, private = draw(st.integers(0, 3)), draw(st.integers(1, 4))
    witness = [1, *draw(st.lists(COEFFICIENTS, min_size=public + private, max_size=public + private))]
    constraints = []
    for _ in range(draw(st.integers(1, 8))):
        rows = st.lists(st.tuples(st.integers(0, len(witness) - 1), COEFFICIENTS), max_size=3)
        a, b = (tuple(draw(rows)) for _ in range(2))
        constraints.append(Constraint(a, b, ((len(witness), 1),)))
        witness.append(r1cs.evaluate(a, witness) * r1cs.evaluate(b, witness) % R)
    wires = len(witness)
    return R1cs(wires, 0, public, private, wires, tuple(constraints), tuple(range(wires))), tuple(witness)


def test_golden_rows_and_quotient():
    assert prover.compute_rows(cubic_key(), WITNESS) == ([3, 9, 1, 35], [3, 3, 0, 0])
    assert prover.compute_quotient(cubic_key(), WITNESS) == [
        0x2FD208482B84F291563573A5DD6BFA01BE5A03E235F895A22D8C0E0DC4220141,
        0x09F93F7D83E7F0A794FA4EB4F91200D17F090F7E4E5C7599F8D5E86A842560C6,
        0x0092462AB5ACADA7214081F706F448A416E6EA15757F3C7AC764AF6D17A98C79,
        0x266B0EF55D49AF736430471B25906D42FC1DD31AF99E996B99FD4542800F11CA,
    ]


def test_golden_proof_is_what_the_secret_numbers_say():
    """Computed a second way: each point is the generator times a published number."""
    proof = cubic_proof()
    a, b, c = (
        0x248584E270FE62697448F4F8265286E5DAEB7D40993C8BBC1F3A8BED450640AE,
        0x15D7D5FC58873731AE71931E414FD13F063BDAEE573F55107298BFEB436C6699,
        0x2E84C64748FCD84C37D7F8A8795DB0241F9130FAB8FE1D82D3602CA6548E98E0,
    )
    assert proof.a == G1.multiply(G1.generator, a)
    assert proof.b == G2.multiply(G2.generator, b)
    assert proof.c == G1.multiply(G1.generator, c)


def test_two_proofs_of_one_witness_have_no_point_in_common():
    first, second = cubic_proof(), prover.prove(cubic_usable(), WITNESS, r=0x1111, s=0x2222)

    assert first.a != second.a
    assert first.b != second.b
    assert first.c != second.c
    for proof in (first, second):
        groth16.verify(cubic_prepared(), (35,), proof)


@pytest.mark.parametrize("blinders", [{"r": 0, "s": 0}, {"r": R - 1, "s": 1}])
def test_edge_blinders_make_valid_proofs(blinders):
    groth16.verify(cubic_prepared(), (35,), prover.prove(cubic_usable(), WITNESS, **blinders))


@pytest.mark.parametrize("blinders", [{"r": R, "s": 0}, {"r": 0, "s": -1}])
def test_blinders_are_drawn_below_r(blinders):
    with pytest.raises(AssertionError):
        prover.prove(cubic_usable(), WITNESS, **blinders)


@pytest.mark.parametrize(
    ("witness", "code"),
    [
        pytest.param((1, 36, 3, 9), "snark.self_check", id="wrong-output"),
        pytest.param((1, 35, 3, 10), "snark.self_check", id="wrong-inner-wire"),
        pytest.param((1, 35, 3), "snark.witness_length", id="short"),
        pytest.param((1, 35 + R, 3, 9), "snark.witness_range", id="not-reduced"),
        pytest.param((0, 0, 0, 0), "snark.witness_one", id="zeros"),
    ],
)
def test_no_proof_leaves_for_a_witness_that_is_none(witness, code):
    with pytest.raises(InvalidRecord) as refusal:
        prover.prove(cubic_usable(), witness, **BLINDERS)
    assert refusal.value.code == code
    assert not any(str(value) in str(refusal.value) for value in witness if value > 9), (
        "it tells nothing of the witness"
    )


def test_large_domain_is_left_to_the_kernels():
    large = replace(cubic_usable(), key=replace(cubic_key(), domain_size=2 * prover.DOMAIN_SIZE_MAX), native=None)
    with pytest.raises(InvalidRecord) as refusal:
        prover.prove(large, WITNESS, **BLINDERS)
    assert refusal.value.code == "snark.no_backend"


def test_key_of_a_ceremony_proves_a_witness_that_circom_computed():
    key, witness = snark.chain_key(), wtns.read(snark.read_vector("cube_chain.wtns"))
    r1cs.check_witness(r1cs_file.read(snark.read_vector("cube_chain.r1cs")), witness)

    proof = prover.prove(prover.prepare(key, key.verifying), witness, r=3**120 % R, s=5**100 % R)
    groth16.verify(groth16.prepare(key.verifying, 3), witness[1:4], proof)


@settings(max_examples=6, deadline=None)
@given(circuits(), st.integers(0, R - 1), st.integers(0, R - 1), st.data())
def test_any_circuit_proves_its_witness_and_no_other(circuit, r, s, data):
    system, witness = circuit
    assert r1cs.first_unsatisfied(system, witness) is None
    key = setup.setup_dev(r1cs_file.write(system), ToxicWaste(*(pow(7, 80 + at, R) for at in range(4))))
    if not any(key.b1) or not any(key.c):
        # A circuit whose wires are in no product at all has nothing to blind with.
        with pytest.raises(InvalidRecord):
            prover.prepare(key, key.verifying)
        return

    usable = prover.prepare(key, key.verifying)
    proof = prover.prove(usable, witness, r=r, s=s)
    inputs = witness[1 : system.public_count + 1]
    groth16.verify(usable.registered, inputs, proof)

    wire = data.draw(st.integers(1, len(witness) - 1))
    bent = (*witness[:wire], (witness[wire] + 1) % R, *witness[wire + 1 :])
    if r1cs.first_unsatisfied(system, bent) is not None:
        with pytest.raises(InvalidRecord) as refused:
            prover.prove(usable, bent, r=r, s=s)
        assert refused.value.code == "snark.self_check"
    if inputs:
        with pytest.raises(InvalidRecord):
            groth16.verify(usable.registered, ((inputs[0] + 1) % R, *inputs[1:]), proof)
