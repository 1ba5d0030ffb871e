"""The circuit x³ + x + 5, whose every byte is known: a back end that proves it with known blinders is right.

Only self-checks use it. Its toxic waste is public, so a proof for its key says nothing.
"""

from __future__ import annotations

from functools import cache

from theblock_node.core.proofs import prover, setup
from theblock_node.core.proofs.field import R as ORDER
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.prover import UsableKey
from theblock_node.core.proofs.r1cs import Constraint, R1cs
from theblock_node.core.proofs.setup import ToxicWaste

WITNESS = (1, 35, 3, 9)
"""One, the output, x, x²."""
R, S = 0x11, 0x22
PROOF = bytes.fromhex(
    "536ddb8fc04c5673637cf131826450ed0ededd815b6ab48467096078341d7920"
    "23ed87154a448d075de9c5bb9e068ceedb5ee34612cd8a8fb1155f9625486813"
    "c446034c927fe478fe6a14c21409f91f48e0a2382579760303a0be4534ef4e11"
    "1e9e8eb6786b4292074232f0a2e8ea18a7ee81cc03abc104ece3448943f04f1b"
)
_CIRCUIT = R1cs(
    wire_count=4,
    public_output_count=1,
    public_input_count=0,
    private_input_count=1,
    label_count=4,
    constraints=(
        Constraint(((2, 1),), ((2, 1),), ((3, 1),)),
        Constraint(((3, 1),), ((2, 1),), ((0, ORDER - 5), (1, 1), (2, ORDER - 1))),
    ),
    labels=(0, 1, 2, 3),
)


@cache
def usable_key() -> UsableKey:
    toxic = ToxicWaste(tau=0x1234567, alpha=0xA1, beta=0xB2, delta=0xD4)
    key = setup.setup_dev(r1cs_file.write(_CIRCUIT), toxic)
    return prover.prepare(key, key.verifying)
