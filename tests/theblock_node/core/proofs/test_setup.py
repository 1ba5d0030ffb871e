"""The setup for development: the golden key, and what it says about itself."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from support import snark
from support.snark import CUBIC, TOXIC, cubic_key
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import field, keys, native, setup
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.keys import Coefficient
from theblock_node.core.proofs.r1cs import Constraint


def test_golden_key_has_its_published_points():
    key = cubic_key().verifying
    assert key.alpha == (
        12766313562177464321430887930136737579503625190210321101900942340880867727231,
        16196642102283816477632471311628253159947093948639740204155549891484678067833,
    )
    assert [point[0] for point in key.ic] == [
        10401742633203634920076648778464940067348984838048502417179604513215797746573,
        12732044436188937670402266861316787646462090963976698887122982366748157115480,
    ]
    assert key.gamma == G2.generator
    assert key.delta == G2.multiply(G2.generator, TOXIC.delta)


def test_rows_beyond_the_constraints_keep_the_inputs_apart():
    assert setup.list_coefficients(CUBIC) == [
        Coefficient(0, 0, 2, 1),
        Coefficient(1, 0, 2, 1),
        Coefficient(0, 1, 3, 1),
        Coefficient(1, 1, 2, 1),
        Coefficient(0, 2, 0, 1),
        Coefficient(0, 3, 1, 1),
    ]


def test_bases_of_the_quotient_divide_by_what_vanishes_on_the_domain():
    """With h = 1 at every point, the bases in H add up to the number 1/delta: Lagrange polynomials of the odd points
    and the even ones together are one, and the odd ones alone are (1 - tau^N)/2."""
    half = (1 - pow(TOXIC.tau, 4, R)) * field.inverse(2, R) % R
    assert G1.total(cubic_key().h) == G1.multiply(G1.generator, half * field.inverse(TOXIC.delta, R) % R)


def test_key_for_development_says_so():
    key, circuit = cubic_key(), r1cs_file.write(CUBIC)

    assert key.circuit_hash == hashlib.blake2b(b"THEBLOCK-INSECURE-DEV-SETUP\0" + circuit).digest()
    assert setup.is_dev_key(key, circuit)
    assert not setup.is_dev_key(key, circuit + b"\0")
    assert not setup.is_dev_key(snark.chain_key(), snark.read_vector("cube_chain.r1cs"))
    with pytest.raises(InvalidRecord) as refusal:
        keys.check_ceremony(key)
    assert refusal.value.code == "snark.dev_key"


def test_secret_numbers_are_not_shown():
    assert str(TOXIC.tau) not in repr(TOXIC)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        pytest.param({"tau": 0}, "tau", id="tau-zero"),
        pytest.param({"tau": 1}, "tau", id="tau-in-the-domain"),
        pytest.param({"tau": field.root_of_unity(3)}, "tau", id="tau-in-the-doubled-domain"),
        pytest.param({"alpha": 0}, "alpha", id="alpha-zero"),
        pytest.param({"beta": R}, "beta", id="beta-r"),
        pytest.param({"delta": 1}, "delta", id="delta-gamma"),
        pytest.param({"delta": R - 1}, "delta", id="delta-minus-gamma"),
    ],
)
def test_numbers_that_make_no_key_are_refused(change, what):
    with pytest.raises(InvalidRecord) as refusal:
        setup.setup_dev(r1cs_file.write(CUBIC), replace(TOXIC, **change))
    assert (refusal.value.code, refusal.value.facts) == ("snark.toxic_range", {"what": what})


@pytest.mark.parametrize(
    ("library", "size_max"),
    [
        pytest.param(None, setup.DOMAIN_SIZE_MAX, id="twin"),
        pytest.param("any", setup.KERNELS_DOMAIN_SIZE_MAX, id="kernels"),
    ],
)
def test_large_circuit_is_refused_before_any_arithmetic(monkeypatch, library, size_max):
    free = Constraint((), (), ())
    large = r1cs_file.write(replace(CUBIC, constraints=(free,) * size_max))
    monkeypatch.setattr(native, "LIBRARY", library)
    with pytest.raises(InvalidRecord) as refusal:
        setup.setup_dev(large, TOXIC)
    assert (refusal.value.code, refusal.value.facts) == ("snark.domain_size", {"size": 2 * size_max, "max": size_max})
