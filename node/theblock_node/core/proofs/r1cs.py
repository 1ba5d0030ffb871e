"""Rank-1 constraint systems: what a circuit asks of its wires.

Wire 0 is the constant one; then come public outputs, public inputs, private inputs and inner wires. Constraint c
holds if the product of its combinations A and B of the wires is its combination C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs.field import R

DOMAIN_POWER_MAX = 27
"""Provers also need the roots of the doubled domain, and Fr has those of 2**28 points."""

LinearCombination = tuple[tuple[int, int], ...]
"""Pairs of a wire and its coefficient, below R."""


class Constraint(NamedTuple):
    a: LinearCombination
    b: LinearCombination
    c: LinearCombination


@dataclass(frozen=True, slots=True)
class R1cs:
    """A circuit's constraints, and the sizes that its file states."""

    wire_count: int
    public_output_count: int
    public_input_count: int
    private_input_count: int
    label_count: int
    constraints: tuple[Constraint, ...]
    labels: tuple[int, ...]
    """The compiler's number of the signal on each wire; nothing here depends on it."""

    @property
    def public_count(self) -> int:
        return self.public_output_count + self.public_input_count


def evaluate(combination: LinearCombination, witness: Sequence[int]) -> int:
    return sum(coefficient * witness[wire] for wire, coefficient in combination) % R


def first_unsatisfied(system: R1cs, witness: Sequence[int]) -> int | None:
    """The index of the first constraint that ``witness`` breaks; None if it breaks none."""
    for index, (a, b, c) in enumerate(system.constraints):
        if evaluate(a, witness) * evaluate(b, witness) % R != evaluate(c, witness):
            return index
    return None


def check_shape(witness: Sequence[int], wire_count: int) -> None:
    """Refuse values that no circuit with ``wire_count`` wires can have, before any arithmetic on them."""
    if len(witness) != wire_count:
        raise InvalidRecord("snark.witness_length", length=len(witness), wires=wire_count)
    if witness[0] != 1:
        raise InvalidRecord("snark.witness_one")
    if min(witness) < 0 or max(witness) >= R:
        wire = next(wire for wire, value in enumerate(witness) if not 0 <= value < R)
        raise InvalidRecord("snark.witness_range", wire=wire)


def check_witness(system: R1cs, witness: Sequence[int]) -> None:
    """Refuse a witness that is none for ``system``; the refusal names the first broken constraint, never a value."""
    check_shape(witness, system.wire_count)
    index = first_unsatisfied(system, witness)
    if index is not None:
        raise InvalidRecord("snark.unsatisfied", constraint=index)


def domain_power(system: R1cs) -> int:
    """The base-2 logarithm of the domain: strictly larger than constraints and public wires together, as in snarkjs."""
    power = (len(system.constraints) + system.public_count).bit_length()
    if power > DOMAIN_POWER_MAX:
        raise InvalidRecord("snark.domain_size", constraints=len(system.constraints), public=system.public_count)
    return power
