"""Hostile keys: each published attack is refused by name, and shown to be an attack where that takes a few lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import snark
from support.snark import BLINDERS, OUTSIDE_G2, WITNESS, cubic_key, cubic_proof
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, keys, pairing, prover
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.groth16 import Proof
from theblock_node.core.proofs.keys import Coefficient
from theblock_node.core.proofs.prover import UsableKey


def refused_key(**changes) -> str:
    """The refusal of the golden verifying key with ``changes``."""
    with pytest.raises(InvalidRecord) as refusal:
        groth16.prepare(replace(cubic_key().verifying, **changes), 1)
    return refusal.value.code


def refused_proving_key(key) -> str:
    with pytest.raises(InvalidRecord) as refusal:
        prover.prepare(key, cubic_key().verifying)
    return refusal.value.code


def shifted(points, at: int):
    """``points`` with another valid point at ``at``."""
    return (*points[:at], G1.add(points[at], G1.generator), *points[at + 1 :])


def test_honest_keys_are_taken():
    keys.check_verifying_key(cubic_key().verifying, 1)
    keys.check_proving_key(cubic_key(), cubic_key().verifying)
    keys.check_proving_key(snark.chain_key(), snark.chain_key().verifying)
    keys.check_ceremony(snark.chain_key())
    keys.check_subgroups(snark.chain_key())


def test_canonical_form_comes_back():
    for key in (cubic_key().verifying, snark.chain_key().verifying):
        data = keys.encode_verifying_key(key)
        assert len(data) == 264 + 32 * key.public_count
        assert keys.decode_verifying_key(data) == key


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda d: d[:-1], "snark.key_size", id="short"),
        pytest.param(lambda d: d + bytes(32), "snark.key_size", id="long"),
        pytest.param(lambda d: b"", "snark.key_size", id="empty"),
        pytest.param(
            lambda d: d[:224] + (2**64 - 1).to_bytes(8, "little") + d[232:], "snark.key_size", id="huge-count"
        ),
        pytest.param(lambda d: d[:224] + bytes(8) + d[232:], "snark.key_size", id="no-points"),
        pytest.param(lambda d: b"\x04" + bytes(31) + d[32:], "snark.not_on_curve", id="alpha-off-curve"),
        pytest.param(lambda d: d[:32] + b"\xff" * 64 + d[96:], "snark.point_flags", id="beta-flags"),
        pytest.param(lambda d: d[:-1] + b"\x3f", "snark.coordinate_range", id="ic-range"),
    ],
)
def test_canonical_form_is_strict(change, code):
    with pytest.raises(InvalidRecord) as refusal:
        keys.decode_verifying_key(change(keys.encode_verifying_key(cubic_key().verifying)))
    assert refusal.value.code == code


@pytest.mark.parametrize("what", ["alpha", "beta", "gamma", "delta"])
def test_infinite_point_of_a_key_is_refused(what):
    assert refused_key(**{what: None}) == "snark.key_infinity"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"alpha": (1, 3)}, "snark.not_on_curve", id="alpha-off-curve"),
        pytest.param({"beta": ((1, 0), (1, 0))}, "snark.not_on_curve", id="beta-off-curve"),
        pytest.param({"beta": OUTSIDE_G2}, "snark.not_in_subgroup", id="beta-outside"),
        pytest.param({"gamma": OUTSIDE_G2}, "snark.not_in_subgroup", id="gamma-outside"),
        pytest.param({"delta": OUTSIDE_G2}, "snark.not_in_subgroup", id="delta-outside"),
        pytest.param({"delta": G2.generator}, "snark.key_delta", id="delta-is-gamma"),
        pytest.param({"delta": G2.neg(G2.generator)}, "snark.key_delta", id="delta-is-minus-gamma"),
        pytest.param({"ic": (G1.generator, None)}, "snark.key_infinity", id="input-bound-by-nothing"),
        pytest.param({"ic": (G1.generator, (1, 1))}, "snark.not_on_curve", id="ic-off-curve"),
        pytest.param({"ic": (G1.generator,)}, "snark.key_public_count", id="too-few-inputs"),
        pytest.param({"ic": (G1.generator,) * 3}, "snark.key_public_count", id="too-many-inputs"),
        pytest.param({"ic": ()}, "snark.key_public_count", id="no-ic"),
    ],
)
def test_hostile_verifying_key_is_refused(changes, code):
    assert refused_key(**changes) == code


@pytest.mark.parametrize("sign", [1, -1])
def test_anyone_forges_under_a_key_without_a_second_phase(sign):
    """What the refusal of delta prevents, carried out: a proof of any number, from the public key alone."""
    delta = G2.generator if sign == 1 else G2.neg(G2.generator)
    key = replace(cubic_key().verifying, delta=delta)
    prepared = groth16.PreparedKey(
        key,
        pairing.miller_loop([(key.alpha, pairing.line_function(key.beta))]),
        pairing.line_function(key.gamma),
        pairing.line_function(delta),
    )
    vx = G1.add(key.ic[0], G1.multiply(key.ic[1], 1_000_000))
    forged = Proof(key.alpha, key.beta, G1.neg(vx) if sign == 1 else vx)

    groth16.verify(prepared, (1_000_000,), forged)
    assert refused_key(delta=delta) == "snark.key_delta"


@pytest.mark.parametrize("what", ["beta1", "delta1"])
def test_key_without_blinding_is_refused(what):
    assert refused_proving_key(replace(cubic_key(), **{what: None})) == "snark.key_infinity"
    assert refused_proving_key(replace(cubic_key(), **{what: (1, 1)})) == "snark.not_on_curve"
    assert refused_proving_key(replace(cubic_key(), **{what: G1.generator})) == "snark.key_twins"


@pytest.mark.parametrize("what", ["a", "b1", "b2", "c", "h"])
def test_zeroed_bases_are_refused(what):
    key = cubic_key()
    zeroed = replace(key, **{what: (None,) * len(getattr(key, what))})
    assert refused_proving_key(zeroed) == "snark.key_infinity"


def test_a_key_without_blinding_tells_the_witness():
    """What those refusals prevent: with delta1 at infinity A is the same for every proof of one witness."""
    key = replace(cubic_key(), delta1=None)
    usable = UsableKey(key, groth16.prepare(key.verifying, 1))
    first, second = (prover.make_proof(usable, WITNESS, r=r, s=5) for r in (3, 4))

    assert first.a == second.a
    assert cubic_proof().a != prover.make_proof(UsableKey(cubic_key(), usable.registered), WITNESS, r=3, s=5).a


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda k: {"b1": (None, None, None, None)}, "snark.key_infinity", id="b1-zeroed"),
        pytest.param(lambda k: {"a": (None, *k.a[1:])}, "snark.key_column", id="one-a-zeroed"),
        pytest.param(lambda k: {"b1": (*k.b1[:2], k.a[2], k.b1[3])}, "snark.key_twins", id="b1-not-b2s-twin"),
        pytest.param(lambda k: {"b1": (G1.generator, *k.b1[1:])}, "snark.key_column", id="b1-where-none-is"),
        pytest.param(lambda k: {"b2": (G2.generator, *k.b2[1:])}, "snark.key_column", id="b2-where-none-is"),
        pytest.param(lambda k: {"a": k.a[:-1]}, "snark.key_size", id="a-short"),
        pytest.param(lambda k: {"b2": k.b2[:-1]}, "snark.key_size", id="b2-short"),
        pytest.param(lambda k: {"c": (*k.c, G1.generator)}, "snark.key_size", id="c-long"),
        pytest.param(lambda k: {"h": k.h[:-1]}, "snark.key_size", id="h-short"),
        pytest.param(lambda k: {"h": k.h[:-1], "domain_size": 3}, "snark.domain_size", id="odd-domain"),
        pytest.param(lambda k: {"coefficients": (Coefficient(0, 4, 0, 1),)}, "snark.key_coefficient", id="row"),
        pytest.param(lambda k: {"coefficients": (Coefficient(0, 0, 4, 1),)}, "snark.key_coefficient", id="wire"),
        pytest.param(lambda k: {"coefficients": (Coefficient(2, 0, 0, 1),)}, "snark.key_coefficient", id="matrix"),
        pytest.param(lambda k: {"coefficients": (Coefficient(0, 0, 0, R),)}, "snark.key_coefficient", id="value"),
        pytest.param(lambda k: {"coefficients": ()}, "snark.key_column", id="no-coefficients"),
    ],
)
def test_hostile_proving_key_is_refused(change, code):
    assert refused_proving_key(replace(cubic_key(), **change(cubic_key()))) == code


def test_key_that_is_not_the_registered_one_is_refused():
    more_public = replace(cubic_key().verifying, ic=(*cubic_key().verifying.ic, G1.generator))
    other_delta = replace(cubic_key().verifying, delta=G2.multiply(G2.generator, 2))
    for verifying in (more_public, other_delta):
        assert refused_proving_key(replace(cubic_key(), verifying=verifying)) == "snark.key_not_registered"


@pytest.mark.parametrize(("what", "at"), [("a", 2), ("c", 0), ("c", 1), ("h", 0), ("h", 3)])
def test_shifted_base_is_caught_before_a_proof_leaves(what, at):
    """A base moved by a point: the proof would carry a multiple of the witness to whoever made the key."""
    key = replace(cubic_key(), **{what: shifted(getattr(cubic_key(), what), at)})
    usable = prover.prepare(key, cubic_key().verifying)

    with pytest.raises(InvalidRecord) as refusal:
        prover.prove(usable, WITNESS, **BLINDERS)
    assert refusal.value.code == "snark.self_check"


def test_base_outside_the_group_is_found_at_registration():
    key = replace(cubic_key(), b2=(*cubic_key().b2[:3], OUTSIDE_G2))
    with pytest.raises(InvalidRecord) as refusal:
        keys.check_subgroups(key)
    assert (refusal.value.code, refusal.value.facts["wire"]) == ("snark.not_in_subgroup", 3)
    keys.check_subgroups(cubic_key())


def test_ceremony_ends_in_the_keys_delta():
    keys.check_ceremony(snark.chain_key())
    with pytest.raises(InvalidRecord) as refusal:
        keys.check_ceremony(replace(snark.chain_key(), delta1=G1.generator))
    assert refusal.value.code == "snark.key_contribution"


def test_too_many_inputs_are_refused_before_their_points_are_looked_at():
    key = replace(cubic_key().verifying, ic=((1, 1),) * (keys.PUBLIC_COUNT_MAX + 2))
    with pytest.raises(InvalidRecord) as refusal:
        keys.check_verifying_key(key, keys.PUBLIC_COUNT_MAX + 1)
    assert refusal.value.code == "snark.key_public_count"
