"""Back ends of the kernels agree with the twin: on proofs of random circuits, and on a million numbers and points."""

from __future__ import annotations

import operator
import random
from dataclasses import replace
from functools import cache

import pytest
from theblock_kernels import bn254, library
from theblock_kernels.bn254 import Field, Operation
from theblock_kernels.snark import encode
from theblock_node.core.proofs import groth16, native, prover, r1cs, setup
from theblock_node.core.proofs.curve import G1
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.formats.container import g1_bytes
from theblock_node.core.proofs.prover import UsableKey
from theblock_node.core.proofs.r1cs import Constraint, R1cs
from theblock_node.core.proofs.setup import ToxicWaste

CIRCUITS = 40
"""Of each seed; the seeds of `make soak` make a thousand of them."""
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 25)))
EDGES = (0, 1, 2, R - 1, R - 2, 2**253)


def draw(chance: random.Random) -> int:
    return chance.choice(EDGES) if chance.random() < 0.3 else chance.randrange(R)


def draw_circuit(chance: random.Random) -> tuple[R1cs, list[int]]:
    """A few products of sums of wires, each a wire of its own; the last is the output. And a witness."""
    inputs, products = chance.randint(1, 3), chance.randint(1, 9)
    witness = [1, 0, *(draw(chance) for _ in range(inputs))]

    def draw_sum() -> tuple[tuple[int, int], ...]:
        known = [0, *range(2, len(witness))]
        wires = chance.sample(known, chance.randint(1, min(3, len(known))))
        return tuple((wire, draw(chance) or 1) for wire in sorted(wires))

    def value(combination: tuple[tuple[int, int], ...]) -> int:
        return sum(factor * witness[wire] for wire, factor in combination) % R

    constraints = []
    for left in range(products, 0, -1):
        a, b = draw_sum(), draw_sum()
        product = value(a) * value(b) % R
        if left == 1:
            witness[1] = product
        else:
            witness.append(product)
        constraints.append(Constraint(a, b, ((1 if left == 1 else len(witness) - 1, 1),)))
    count = len(witness)
    return R1cs(count, 1, 0, inputs, count, tuple(constraints), tuple(range(count))), witness


@cache
def usable_libraries() -> dict[str, library.Library]:
    opened = {name: library.open_back_end(name, library.READY) for name in (*library.BACK_ENDS, library.EMULATED)}
    return {name: found for name, found in opened.items() if found is not None}


def prove_with(found: library.Library, usable: UsableKey, witness: list[int], r: int, s: int) -> groth16.Proof:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "LIBRARY", found)
        return prover.make_proof(replace(usable, native=native.load_prover(usable.key)), witness, r=r, s=s)


@pytest.mark.parametrize("seed", SEEDS)
def test_back_ends_and_the_twin_make_the_same_proofs_of_random_circuits(seed):
    assert len(usable_libraries()) >= 2
    chance = random.Random(seed)
    toxic = ToxicWaste(*(pow(7, 80 + seed * 4 + at, R) for at in range(4)))
    for _ in range(CIRCUITS):
        system, witness = draw_circuit(chance)
        assert r1cs.first_unsatisfied(system, witness) is None
        key = setup.setup_dev(r1cs_file.write(system), toxic)
        r, s = draw(chance), draw(chance)
        usable = UsableKey(key, groth16.prepare(key.verifying, 1))
        twin = prover.make_proof(usable, witness, r=r, s=s)

        for name, found in usable_libraries().items():
            assert prove_with(found, usable, witness, r, s) == twin, name
        groth16.verify(usable.registered, witness[1:2], twin)


def draw_many(seed: int, modulus: int, count: int) -> list[int]:
    chance = random.Random(seed)
    edges = [value % modulus for value in (*EDGES, 2**64 - 1, 2**64, 2**128, 2**192, modulus // 2, modulus - 3)]
    return [chance.choice(edges) if chance.random() < 0.1 else chance.randrange(modulus) for _ in range(count)]


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", library.BACK_ENDS)
@pytest.mark.parametrize(("which", "modulus"), [(Field.P, P), (Field.R, R)], ids=["fp", "fr"])
def test_a_million_field_operations_are_the_integers(name, which, modulus):
    if name not in usable_libraries():
        pytest.skip(f"this processor cannot run {name}")
    found = usable_libraries()[name]
    for seed in range(10):
        left, right = draw_many(seed, modulus, 100_000), draw_many(seed + 100, modulus, 100_000)
        wanted = {
            Operation.MUL: [a * b % modulus for a, b in zip(left, right, strict=True)],
            Operation.ADD: [(a + b) % modulus for a, b in zip(left, right, strict=True)],
            Operation.SUB: [(a - b) % modulus for a, b in zip(left, right, strict=True)],
        }
        for operation, values in wanted.items():
            assert bn254.compute(found, which, operation, encode(left), encode(right)) == encode(values)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", library.BACK_ENDS)
def test_a_million_points_add_up_to_what_their_logarithms_say(name):
    """Among them infinity, equal and opposite points; each is added once for every window of its scalar."""
    if name not in usable_libraries():
        pytest.skip(f"this processor cannot run {name}")
    found = usable_libraries()[name]
    logarithms, scalars = draw_many(7, R, 1_000_000), draw_many(8, R, 1_000_000)
    points = bn254.multiples_g1(found, g1_bytes(G1.generator), encode(logarithms))

    total = bn254.msm_g1(found, points, encode(scalars))

    assert total == g1_bytes(G1.multiply(G1.generator, sum(map(operator.mul, logarithms, scalars)) % R))
