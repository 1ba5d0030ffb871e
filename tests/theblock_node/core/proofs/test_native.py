"""With the kernels and without: the same points, the same proofs, the same refusals."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support import snark
from support.snark import BLINDERS, OUTSIDE_G2, TOXIC, WITNESS, cubic_key, cubic_prepared, cubic_proof, cubic_usable
from theblock_kernels import library
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import curve, groth16, keys, native, prover, setup
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.groth16 import Claim, Proof


@pytest.fixture(params=[*library.BACK_ENDS, library.EMULATED])
def kernels(request, monkeypatch):
    """The kernels of one back end behind `native`, in place of what was found at the start."""
    library.make(request.param, library.READY)
    opened = library.open_back_end(request.param, library.READY)
    if opened is None:
        pytest.skip(f"this processor cannot run {request.param}")
    monkeypatch.setattr(native, "LIBRARY", opened)


@pytest.fixture
def twin(monkeypatch):
    monkeypatch.setattr(native, "LIBRARY", None)


def refusal_of(prepared, inputs, proof):
    try:
        groth16.verify(prepared, inputs, proof)
    except InvalidRecord as refusal:
        return refusal.code
    return None


def test_without_a_library_the_twin_answers_and_says_so(twin):
    assert native.back_end() == "twin"
    assert native.load_verifier(cubic_key().verifying) is None
    assert native.load_prover(cubic_key()) is None
    assert groth16.prepare(cubic_key().verifying, 1).native is None
    assert native.msm_g1([G1.generator], [5]) == G1.multiply(G1.generator, 5)
    assert native.msm_g2([G2.generator], [5]) == G2.multiply(G2.generator, 5)
    assert native.multiply_generator_g1([3, 0]) == [G1.multiply(G1.generator, 3), None]
    assert native.multiply_generator_g2([3, 0]) == [G2.multiply(G2.generator, 3), None]
    assert not native.is_in_g2(OUTSIDE_G2)


def test_points_are_the_twins(kernels):
    chance = random.Random(5)
    scalars = [0, 1, R - 1, *(chance.randrange(R) for _ in range(30))]
    g1, g2 = G1.multiply_generator(scalars), G2.multiply_generator(scalars)

    assert native.multiply_generator_g1(scalars) == g1
    assert native.multiply_generator_g2(scalars) == g2
    assert native.msm_g1(g1, scalars[::-1]) == G1.msm(g1, scalars[::-1])
    assert native.msm_g2(g2, scalars[::-1]) == G2.msm(g2, scalars[::-1])
    assert native.msm_g1([], []) is None
    assert native.msm_g2([None], [7]) is None
    assert native.are_in_g2(g2)
    assert not native.are_in_g2([*g2, OUTSIDE_G2])
    assert not curve.is_in_g2(OUTSIDE_G2)


def test_a_key_is_the_twins(kernels):
    made = setup.setup_dev(r1cs_file.write(snark.CUBIC), TOXIC)

    assert made == cubic_key()
    keys.check_subgroups(made)


@pytest.mark.parametrize("blinders", [BLINDERS, {"r": 0, "s": 0}, {"r": R - 1, "s": R - 2}])
def test_a_proof_is_the_twins_bit_for_bit(kernels, blinders):
    usable = prover.prepare(cubic_key(), cubic_key().verifying)
    assert usable.native is not None

    proof = prover.prove(usable, WITNESS, **blinders)

    assert proof == prover.make_proof(replace(usable, native=None), WITNESS, **blinders)


def test_a_false_witness_is_refused_as_the_twin_does(kernels):
    usable = prover.prepare(cubic_key(), cubic_key().verifying)
    for witness, code in (
        ((1, 36, 3, 9), "snark.self_check"),
        ((1, 35, 3), "snark.witness_length"),
        ((1, 35, 3, R), "snark.witness_range"),
    ):
        with pytest.raises(InvalidRecord) as refusal:
            prover.prove(usable, witness, **BLINDERS)
        assert refusal.value.code == code


def mutants(proof):
    """Proofs that are not, in every way in which the points still are points, and in some in which they are not."""
    a, b, c = proof.a, proof.b, proof.c
    yield from (Proof(c, b, a), Proof(G1.neg(a), b, c), Proof(a, G2.neg(b), c), Proof(a, b, G1.neg(c)))
    yield Proof(G1.add(a, G1.generator), b, c)
    yield Proof(a, G2.add(b, G2.generator), c)
    yield Proof(a, b, G1.add(c, G1.generator))
    yield from (Proof(None, b, c), Proof(a, None, c), Proof(a, b, None), Proof(a, OUTSIDE_G2, c))
    yield from (Proof((a[0], a[0]), b, c), Proof(a, (b[0], b[0]), c))
    # The same proof in other clothes: still one.
    yield Proof(G1.multiply(a, 2), G2.multiply(b, pow(2, -1, R)), c)
    yield Proof(G1.neg(a), G2.neg(b), c)


def test_proofs_and_mutants_are_judged_as_by_the_twin(kernels):
    prepared = groth16.prepare(cubic_key().verifying, 1)
    by_twin = replace(prepared, native=None)
    assert prepared.native is not None

    for proof in (cubic_proof(), *mutants(cubic_proof())):
        for inputs in ((35,), (36,), (0,), (R,), ()):
            assert refusal_of(prepared, inputs, proof) == refusal_of(by_twin, inputs, proof)
    assert refusal_of(prepared, (35,), cubic_proof()) is None


def test_batches_are_judged_as_by_the_twin(kernels):
    prepared = groth16.prepare(cubic_key().verifying, 1)
    proofs = [prover.prove(cubic_usable(), WITNESS, r=at, s=at + 1) for at in range(3)]
    good = [Claim((35,), proof) for proof in proofs]
    bad = [Claim((35,), proof) for proof in mutants(cubic_proof())]

    for claims in (good, good[:1], [], good + bad, bad):
        judged = groth16.verify_batch(prepared, claims)
        by_twin = groth16.verify_batch(replace(prepared, native=None), claims)
        assert [refusal and refusal.code for refusal in judged] == [refusal and refusal.code for refusal in by_twin]
    assert groth16.verify_batch(prepared, good) == [None] * 3


def test_a_batch_holds_for_claims_of_one_key_only(kernels):
    """The planted fault: two proofs that are wrong by opposite points, whose plain sum would hold."""
    prepared = groth16.prepare(cubic_key().verifying, 1)
    proof, off = cubic_proof(), G1.generator
    pair = [
        Claim((35,), Proof(proof.a, proof.b, G1.add(proof.c, off))),
        Claim((35,), Proof(proof.a, proof.b, G1.add(proof.c, G1.neg(off)))),
    ]

    assert native.holds(prepared.native, [claim.proof for claim in pair], [1, 1], [2, 70])
    assert all(groth16.verify_batch(prepared, pair))


def test_the_shared_keys_use_what_this_machine_has():
    assert (cubic_prepared().native is None) == (native.back_end() == "twin")


def test_buffer_of_the_wires_is_zeroed_whether_the_proof_is_made_or_not(kernels):
    seen: list[bytearray] = []

    class Spy:
        def __init__(self, fails: bool) -> None:
            self._fails = fails

        def prove(self, wires, *, r, s):
            assert wires[:33] == (1).to_bytes(32, "little") + b"\x23"
            seen.append(wires)
            if self._fails:
                raise MemoryError("the kernels")
            return bytes(256)

    native.prove(Spy(fails=False), WITNESS, r=1, s=2)
    with pytest.raises(MemoryError):
        native.prove(Spy(fails=True), WITNESS, r=1, s=2)
    assert [bytes(wires) for wires in seen] == [bytes(128)] * 2
