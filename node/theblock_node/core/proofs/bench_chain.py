"""The circuit that benchmarks prove, of any size: y' = y² + i from a secret x to a public result, with a context."""

from __future__ import annotations

from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.r1cs import Constraint, R1cs

RESERVED = 4
"""A chain of that much less than a power of two fills the domain of that size."""


def make_circuit(steps: int) -> R1cs:
    """``steps`` squarings; public are the result and the context, wires are one, result, ctx, x, y1, …, ctx²."""
    wires = [*range(3, steps + 3), 1]
    squares = []
    for at in range(steps):
        last = ((wires[at], 1),)
        added = ((0, -at % R),) if at else ()
        squares.append(Constraint(last, last, (*added, (wires[at + 1], 1))))
    tied = Constraint(((2, 1),), ((2, 1),), ((steps + 3, 1),))
    count = steps + RESERVED
    return R1cs(count, 1, 1, 1, count, (*squares, tied), tuple(range(count)))


def compute_wires(steps: int, x: int, context: int) -> list[int]:
    values = [x]
    for step in range(steps):
        values.append((values[-1] ** 2 + step) % R)
    return [1, values[-1], context, *values[:-1], context * context % R]
