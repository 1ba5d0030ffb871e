"""Keys and proofs of Groth16 in the kernels: parts against their twins, sizes that do not fit refused."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from support import snark as circuits
from theblock_kernels import snark
from theblock_kernels.bn254 import NotCanonical
from theblock_node.core.proofs import prover
from theblock_node.core.proofs.field import P, R, to_montgomery
from theblock_node.core.proofs.formats.container import g1_bytes, g2_bytes, montgomery_bytes


def numbers(data):
    return [int.from_bytes(data[at : at + 32], "little") for at in range(0, len(data), 32)]


def bases_of(key):
    """The sections of the key's file, as they stand in it."""
    verifying = key.verifying
    return snark.Bases(
        public_count=verifying.public_count,
        fixed=b"".join(
            (
                *map(g1_bytes, (verifying.alpha, key.beta1, key.delta1)),
                *map(g2_bytes, (verifying.beta, verifying.delta)),
            )
        ),
        coefficients=b"".join(
            snark.encode_coefficient(matrix, row, wire, montgomery_bytes(to_montgomery(value, R), R))
            for matrix, row, wire, value in key.coefficients
        ),
        a=b"".join(map(g1_bytes, key.a)),
        b1=b"".join(map(g1_bytes, key.b1)),
        b2=b"".join(map(g2_bytes, key.b2)),
        c=b"".join(map(g1_bytes, key.c)),
        h=b"".join(map(g1_bytes, key.h)),
    )


@pytest.fixture(scope="module", params=[circuits.cubic_key, circuits.chain_key], ids=["cubic", "snarkjs"])
def key(request):
    return request.param()


def test_rows_and_quotients_are_the_twins(kernels, key):
    chance = random.Random(6)
    made = snark.Prover(kernels, bases_of(key))
    for witness in ([chance.randrange(R) for _ in range(key.wire_count)], [1] + [0] * (key.wire_count - 1)):
        a, b = prover.compute_rows(key, witness)

        assert numbers(made.compute_rows(0, snark.encode(witness))) == a
        assert numbers(made.compute_rows(1, snark.encode(witness))) == b
        assert numbers(made.compute_quotient(snark.encode(witness))) == prover.compute_quotient(key, witness)


def test_proofs_are_the_twins_whatever_the_threads(kernels, key):
    """No witness of the circuit is needed: the twin makes the same points of any numbers."""
    chance = random.Random(7)
    witness = [1, *(chance.randrange(R) for _ in range(key.wire_count - 1))]
    r, s = chance.randrange(R), chance.randrange(R)
    made = snark.Prover(kernels, bases_of(key))
    twin = prover.make_proof(prover.UsableKey(key, circuits.cubic_prepared()), witness, r=r, s=s)

    for threads in (1, 2, 5):
        kernels.lib.tb_set_threads(threads)
        proof = made.prove(snark.encode(witness), r=snark.encode([r]), s=snark.encode([s]))
        assert proof == g1_bytes(twin.a) + g2_bytes(twin.b) + g1_bytes(twin.c)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"public_count": 5}, id="too-many-inputs"),
        pytest.param({"public_count": -1}, id="fewer-than-none"),
        pytest.param({"fixed": b""}, id="no-fixed-points"),
        pytest.param({"a": bytes(65)}, id="part-of-a-point"),
        pytest.param({"b1": b""}, id="no-b1"),
        pytest.param({"b2": b""}, id="no-b2"),
        pytest.param({"c": b""}, id="no-c"),
        pytest.param({"h": bytes(192)}, id="no-domain"),
        pytest.param({"h": b""}, id="empty-domain"),
        pytest.param({"h": b"\xff" * 256}, id="no-elements"),
        pytest.param({"coefficients": bytes(45)}, id="part-of-an-entry"),
        pytest.param({"coefficients": snark.encode_coefficient(2, 0, 0, bytes(32))}, id="third-matrix"),
        pytest.param({"coefficients": snark.encode_coefficient(0, 4, 0, bytes(32))}, id="row-outside"),
        pytest.param({"coefficients": snark.encode_coefficient(0, 0, 4, bytes(32))}, id="wire-outside"),
        pytest.param({"coefficients": snark.encode_coefficient(0, 0, 0, b"\xff" * 32)}, id="entry-above-r"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(kernels, change):
    with pytest.raises(ValueError, match=r"key|multiple"):
        snark.Prover(kernels, replace(bases_of(circuits.cubic_key()), **change))


def test_witnesses_that_do_not_fit_are_refused(kernels):
    made = snark.Prover(kernels, bases_of(circuits.cubic_key()))
    one = snark.encode([1])

    with pytest.raises(ValueError, match="witness"):
        made.prove(bytes(96), r=one, s=one)
    with pytest.raises(ValueError, match="blinder"):
        made.prove(bytes(128), r=b"", s=one)
    for witness, r in ((snark.encode([1, 2, 3, R]), one), (bytes(128), snark.encode([R]))):
        with pytest.raises(NotCanonical):
            made.prove(witness, r=r, s=one)
    with pytest.raises(NotCanonical):
        made.compute_rows(0, snark.encode([P] * 4))
