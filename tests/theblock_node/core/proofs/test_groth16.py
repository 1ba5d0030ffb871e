"""Which proofs stand: the golden one and its forms; not one with anything bent; batches judge as single checks do."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from support import snark
from support.snark import OUTSIDE_G2, cubic_key, cubic_prepared, cubic_proof, cubic_usable
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, keys, prover
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats import documents
from theblock_node.core.proofs.groth16 import Claim

COMPRESSED = bytes.fromhex(
    "536ddb8fc04c5673637cf131826450ed0ededd815b6ab48467096078341d7920"
    "23ed87154a448d075de9c5bb9e068ceedb5ee34612cd8a8fb1155f9625486813"
    "c446034c927fe478fe6a14c21409f91f48e0a2382579760303a0be4534ef4e11"
    "1e9e8eb6786b4292074232f0a2e8ea18a7ee81cc03abc104ece3448943f04f1b"
)


def code_of(inputs, proof) -> str:
    with pytest.raises(InvalidRecord) as refusal:
        groth16.verify(cubic_prepared(), inputs, proof)
    return refusal.value.code


def test_golden_proof_has_its_published_points():
    proof = cubic_proof()
    assert proof.a == (
        14688001214740974771849416428973139061134898965696653356840474514481057852755,
        300981176716529003686582885943869673039738073987402391647607328797982884267,
    )
    assert proof.b == (
        (
            8778194156909968298321727237078406086544993474998836627959360861584816074019,
            7828783423607318937238971237838894591413532300353085496754823471067086145220,
        ),
        (
            11192294002531066890569629951228866127515208731821165657679701838887056935866,
            1816844736039403424781364719787929761407747801364667090547117459635663656411,
        ),
    )
    assert proof.c == (
        12353686069761465075034164260496137303832112575820049956656221736962574163486,
        3956122825090917172913819513650606958681969693972272057225245284952158591595,
    )


def test_golden_proof_has_its_published_bytes_and_comes_back():
    proof = cubic_proof()

    assert groth16.encode_proof(proof) == COMPRESSED
    assert groth16.decode_proof(COMPRESSED) == proof
    evm = groth16.encode_proof_evm(proof)
    assert hashlib.sha256(evm).hexdigest() == "a87c22ababe017e862c1609a951ef8760e2607f128e18b60a9af4e9850f115eb"
    assert groth16.decode_proof_evm(evm) == proof


def test_golden_proof_stands():
    groth16.verify(cubic_prepared(), (35,), cubic_proof())


def test_proof_that_snarkjs_made_stands():
    key = documents.parse_verifying_key(snark.read_vector("cube_chain.key.json"))
    inputs = documents.parse_public(snark.read_vector("cube_chain.public.json"))
    proof = documents.parse_proof(snark.read_vector("cube_chain.proof.json"))

    groth16.verify(groth16.prepare(key, 3), inputs, proof)
    with pytest.raises(InvalidRecord):
        groth16.verify(groth16.prepare(key, 3), (*inputs[:2], inputs[2] + 1), proof)


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        pytest.param((36,), "snark.invalid_proof", id="other-input"),
        pytest.param((0,), "snark.invalid_proof", id="zero"),
        pytest.param((35 + R,), "snark.input_range", id="same-number-otherwise"),
        pytest.param((R,), "snark.input_range", id="r"),
        pytest.param((-1,), "snark.input_range", id="negative"),
        pytest.param((), "snark.input_count", id="none"),
        pytest.param((35, 0), "snark.input_count", id="one-more"),
    ],
)
def test_other_inputs_are_refused(inputs, code):
    assert code_of(inputs, cubic_proof()) == code


def swapped(point):
    (x0, x1), (y0, y1) = point
    return (x1, x0), (y1, y0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda p: {"a": G1.neg(p.a)}, "snark.invalid_proof", id="a-negated"),
        pytest.param(lambda p: {"a": p.c, "c": p.a}, "snark.invalid_proof", id="a-for-c"),
        pytest.param(lambda p: {"b": G2.neg(p.b)}, "snark.invalid_proof", id="b-negated"),
        pytest.param(lambda p: {"c": G1.add(p.c, G1.generator)}, "snark.invalid_proof", id="c-shifted"),
        pytest.param(lambda p: {"b": swapped(p.b)}, "snark.not_on_curve", id="b-parts-swapped"),
        pytest.param(lambda p: {"a": (p.a[0] + P, p.a[1])}, "snark.not_on_curve", id="a-not-reduced"),
        pytest.param(lambda p: {"a": (p.a[0], p.a[1] + 1)}, "snark.not_on_curve", id="a-off-curve"),
        pytest.param(lambda p: {"c": (1, 1)}, "snark.not_on_curve", id="c-off-curve"),
        pytest.param(lambda p: {"b": OUTSIDE_G2}, "snark.not_in_subgroup", id="b-outside"),
        pytest.param(lambda p: {"a": None}, "snark.proof_infinity", id="a-infinity"),
        pytest.param(lambda p: {"b": None}, "snark.proof_infinity", id="b-infinity"),
        pytest.param(lambda p: {"c": None}, "snark.proof_infinity", id="c-infinity"),
    ],
)
def test_bent_proof_is_refused(change, code):
    proof = cubic_proof()
    assert code_of((35,), replace(proof, **change(proof))) == code


def test_every_bit_of_a_proof_matters():
    for at in range(0, 8 * groth16.PROOF_BYTES, 37):
        bent = bytearray(COMPRESSED)
        bent[at // 8] ^= 1 << at % 8
        with pytest.raises(InvalidRecord):
            groth16.verify(cubic_prepared(), (35,), groth16.decode_proof(bytes(bent)))


@pytest.mark.parametrize("size", [0, 127, 129])
def test_proof_of_another_size_is_refused(size):
    for decode in (groth16.decode_proof, groth16.decode_proof_evm):
        with pytest.raises(InvalidRecord) as refusal:
            decode(bytes(size))
        assert refusal.value.code == "snark.proof_size"


def test_anyone_can_make_another_proof_of_the_same_statement():
    """Why nothing on the chain may be judged by the bytes of a proof."""
    proof, key = cubic_proof(), cubic_key().verifying
    other = groth16.Proof(
        G1.multiply(proof.a, 7),
        G2.multiply(proof.b, pow(7, -1, R)),
        proof.c,
    )

    groth16.verify(groth16.prepare(key, 1), (35,), other)
    assert other != proof


@pytest.fixture(scope="module")
def claims():
    """Five valid claims of one key: 35 is shown by x = 3, and by others for other outputs."""
    made = []
    for x in (3, 2, 10, R - 1, 0):
        out = (x**3 + x + 5) % R
        proof = prover.prove(cubic_usable(), (1, out, x, x * x % R), r=len(made) + 11, s=len(made) + 12)
        made.append(Claim((out,), proof))
    return made


def test_batch_of_valid_claims_holds(claims):
    assert groth16.verify_batch(cubic_prepared(), claims) == [None] * 5
    assert groth16.verify_batch(cubic_prepared(), claims[:1]) == [None]
    assert groth16.verify_batch(cubic_prepared(), []) == []


@pytest.mark.parametrize("at", range(5))
def test_batch_finds_the_bad_claim(claims, at):
    batch = [*claims]
    batch[at] = Claim((batch[at].inputs[0] ^ 1,), batch[at].proof)

    refusals = groth16.verify_batch(cubic_prepared(), batch)
    assert [refusal and refusal.code for refusal in refusals] == [
        "snark.invalid_proof" if index == at else None for index in range(5)
    ]


def test_batch_judges_malformed_claims_apart(claims):
    outside = replace(claims[1].proof, b=OUTSIDE_G2)
    batch = [
        claims[0],
        Claim((35 + R,), claims[0].proof),
        Claim(claims[1].inputs, outside),
        claims[2],
        Claim((), outside),
    ]

    refusals = groth16.verify_batch(cubic_prepared(), batch)
    assert [refusal and refusal.code for refusal in refusals] == [
        None,
        "snark.input_range",
        "snark.not_in_subgroup",
        None,
        "snark.input_count",
    ]


def test_faults_that_cancel_without_weights_are_found(claims):
    """Two proofs bent by opposite points: their plain sum is right, their weighted sum is not."""
    first, second, *rest = claims
    up = replace(first.proof, c=G1.add(first.proof.c, G1.generator))
    down = replace(second.proof, c=G1.add(second.proof.c, G1.neg(G1.generator)))

    refusals = groth16.verify_batch(cubic_prepared(), [Claim(first.inputs, up), Claim(second.inputs, down), *rest])
    assert [refusal is not None for refusal in refusals] == [True, True, False, False, False]


def test_weights_follow_from_all_that_they_weigh():
    drawn = keys.draw_weights(b"tag", [b"a", b"b"], 3)

    assert len(set(drawn)) == 3
    assert all(0 < weight < 2**128 for weight in drawn)
    assert keys.draw_weights(b"tag", [b"a", b"c"], 3) != drawn
