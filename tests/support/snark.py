"""Circuits for tests of Groth16: the golden one, whose every byte is known, and one that circom and snarkjs made."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from theblock_node.core.proofs import groth16, prover, setup
from theblock_node.core.proofs.curve import G2Point
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.formats import zkey
from theblock_node.core.proofs.groth16 import PreparedKey, Proof
from theblock_node.core.proofs.keys import ProvingKey
from theblock_node.core.proofs.prover import UsableKey
from theblock_node.core.proofs.r1cs import Constraint, R1cs
from theblock_node.core.proofs.setup import ToxicWaste

CIRCUITS = Path(__file__).resolve().parents[1] / "vectors" / "circuits"

CUBIC = R1cs(
    wire_count=4,
    public_output_count=1,
    public_input_count=0,
    private_input_count=1,
    label_count=4,
    constraints=(
        Constraint(((2, 1),), ((2, 1),), ((3, 1),)),
        Constraint(((3, 1),), ((2, 1),), ((0, R - 5), (1, 1), (2, R - 1))),
    ),
    labels=(0, 1, 2, 3),
)
"""out = x³ + x + 5, with out public: wires are one, out, x, x²."""
WITNESS = (1, 35, 3, 9)
BOUND = R1cs(
    wire_count=6,
    public_output_count=1,
    public_input_count=1,
    private_input_count=1,
    label_count=6,
    constraints=(
        Constraint(((3, 1),), ((3, 1),), ((4, 1),)),
        Constraint(((4, 1),), ((3, 1),), ((0, R - 5), (1, 1), (3, R - 1))),
        Constraint(((2, 1),), ((2, 1),), ((5, 1),)),
    ),
    labels=(0, 1, 2, 3, 4, 5),
)
"""out = x³ + x + 5 and ctx2 = ctx²: wires are one, out, ctx, x, x², ctx2."""
TOXIC = ToxicWaste(tau=0x1234567, alpha=0xA1, beta=0xB2, delta=0xD4)
BLINDERS = {"r": 0x11, "s": 0x22}
OUTSIDE_G2: G2Point = (
    (1, 0),
    (
        0x2869111D5381F072F8E2728FDB825A51AADD70E52C9830E9AB4B871C0531F1BB,
        0x0D1271953ED9EA0836846E70A1934187998C7F790CB4D7511B7F8DA82DE048A4,
    ),
)
"""On the curve of G2, but not in the group."""


@cache
def cubic_key() -> ProvingKey:
    return setup.setup_dev(r1cs_file.write(CUBIC), TOXIC)


@cache
def cubic_usable() -> UsableKey:
    return prover.prepare(cubic_key(), cubic_key().verifying)


@cache
def cubic_prepared() -> PreparedKey:
    return groth16.prepare(cubic_key().verifying, 1)


@cache
def bound_key() -> ProvingKey:
    return setup.setup_dev(r1cs_file.write(BOUND), TOXIC)


@cache
def bound_file() -> bytes:
    return zkey.write(bound_key())


@cache
def cubic_proof() -> Proof:
    """The golden proof of 35."""
    return prover.prove(cubic_usable(), WITNESS, **BLINDERS)


def read_vector(name: str) -> bytes:
    """A file that circom or snarkjs wrote about the circuit `cube_chain`."""
    return (CIRCUITS / name).read_bytes()


@cache
def chain_key() -> ProvingKey:
    """The key of `cube_chain` after a ceremony of one contribution and a beacon."""
    return zkey.read(read_vector("cube_chain.zkey"))
