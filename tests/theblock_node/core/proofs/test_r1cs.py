"""Which witnesses a circuit takes, and how large its domain is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.snark import CUBIC, WITNESS
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import r1cs
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.r1cs import Constraint

FREE = Constraint((), (), ())


def test_witness_is_taken():
    assert r1cs.first_unsatisfied(CUBIC, WITNESS) is None
    r1cs.check_witness(CUBIC, WITNESS)


@pytest.mark.parametrize(
    ("witness", "index"),
    [
        pytest.param((1, 35, 3, 8), 0, id="wrong-square"),
        pytest.param((1, 36, 3, 9), 1, id="wrong-output"),
        pytest.param((1, 35, 4, 16), 1, id="other-root"),
    ],
)
def test_first_broken_constraint_is_named(witness, index):
    assert r1cs.first_unsatisfied(CUBIC, witness) == index
    with pytest.raises(InvalidRecord) as refusal:
        r1cs.check_witness(CUBIC, witness)
    assert (refusal.value.code, refusal.value.facts) == ("snark.unsatisfied", {"constraint": index})


@pytest.mark.parametrize(
    ("witness", "code"),
    [
        pytest.param((), "snark.witness_length", id="empty"),
        pytest.param((1, 35, 3), "snark.witness_length", id="one-short"),
        pytest.param((*WITNESS, 0), "snark.witness_length", id="one-long"),
        pytest.param((2, 35, 3, 9), "snark.witness_one", id="one-is-two"),
        pytest.param((1, 35 + R, 3, 9), "snark.witness_range", id="not-reduced"),
        pytest.param((1, 35, R, 9), "snark.witness_range", id="r"),
        pytest.param((1, 35, -1, 9), "snark.witness_range", id="negative"),
    ],
)
def test_witness_of_no_circuit_is_refused(witness, code):
    with pytest.raises(InvalidRecord) as refusal:
        r1cs.check_witness(CUBIC, witness)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("constraints", "public", "power"),
    [(2, 1, 2), (3, 1, 3), (2, 0, 2), (1, 0, 1), (7, 0, 3), (7, 1, 4), (8, 0, 4), (26, 3, 5), (29, 3, 6)],
)
def test_domain_is_strictly_larger_than_constraints_and_public_wires(constraints, public, power):
    system = replace(CUBIC, public_output_count=public, constraints=(FREE,) * constraints)
    assert r1cs.domain_power(system) == power


def test_domain_has_a_limit():
    largest = replace(CUBIC, public_output_count=0, public_input_count=2**27 - 3)
    assert r1cs.domain_power(largest) == 27
    with pytest.raises(InvalidRecord) as refusal:
        r1cs.domain_power(replace(largest, public_input_count=2**27 - 2))
    assert refusal.value.code == "snark.domain_size"
