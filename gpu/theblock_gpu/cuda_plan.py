"""How a proof is laid out on a device, decided before the device is asked for anything.

A sum of scalars times points has four numbers: the bits of a window; how many copies of the bases, each a power of
two times the one before, stand ready, so that fewer windows are left; and into how many parts the points are split,
which bounds what one part takes. `plan_proof` takes the fastest of those that fit the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from theblock_node.core.errors import InvalidRecord

SCALAR_BITS = 255
"""One more than scalars have: the last borrow needs room."""
ELEMENT_BYTES, WORD_BYTES = 32, 4
G1_BYTES, G2_BYTES = 64, 128
SUMS_BYTES = 384
"""Of three points of G1 as the kernels add them, which is what is kept for each piece; one of G2 takes less."""
BITS_MIN, BITS_MAX = 2, 20
PARTS_MAX = 64
INDEX_MAX = 2**31
"""A base's place shares its word with a sign."""
PIECE_LENGTH_MIN, PIECE_FACTOR = 16, 8
"""No thread adds more points than eight times as many as buckets hold on average, or these."""
MERGED, FOLDED = 16, 8
"""How many partial sums one thread merges, and sums of buckets it adds."""
SPAN_MIN, SPAN_MAX, SPAN_THREADS = 4, 32, 2**13
"""Buckets that one thread sums up: few where there would be too few threads to hide how long an addition takes."""
PART_ENTRIES = 32
"""Entries of a matrix that one thread sums up."""
TILE_BITS = 10
COLUMN_BITS = 2
"""Elements that lie together, which a pass over strided ones takes at a time."""
ADDITION, BUCKET = 10, 28
"""Products for a point that is added to its bucket, and for a bucket in the two running sums."""


@dataclass(frozen=True, slots=True, order=True)
class Sum:
    """How sums over one vector of scalars are computed."""

    count: int
    bits: int
    groups: int
    """Windows that are left; the others use copies of the bases."""
    parts: int

    @property
    def windows(self) -> int:
        return -(-SCALAR_BITS // self.bits)

    @property
    def copies(self) -> int:
        return -(-self.windows // self.groups)

    @property
    def buckets(self) -> int:
        return 1 << (self.bits - 1)

    @property
    def runs(self) -> int:
        """Buckets of all windows: a run each in the sorted order."""
        return self.groups * self.buckets

    @property
    def part_count(self) -> int:
        return -(-self.count // self.parts)

    @property
    def digits(self) -> int:
        """The most that one part has."""
        return self.part_count * self.windows

    @property
    def length(self) -> int:
        """Of a piece; of the sizes alone, so that sparse and dense witnesses launch the same."""
        return max(PIECE_LENGTH_MIN, PIECE_FACTOR * -(-self.digits // self.runs))

    @property
    def span(self) -> int:
        return min(SPAN_MAX, max(SPAN_MIN, self.runs // SPAN_THREADS))

    @property
    def limits(self) -> tuple[int, ...]:
        """The most pieces there can be in each round, the last of which leaves one for a bucket."""
        limit = min(self.runs, self.digits) + self.digits // self.length
        most = -(-self.part_count * self.copies // self.length)
        limits = [limit]
        while most > 1:
            limit = min(self.runs, limit) + limit // MERGED
            most = -(-most // MERGED)
            limits.append(limit)
        return tuple(limits)

    @property
    def work_bytes(self) -> int:
        limits, left = self.limits, -(-self.buckets // self.span)
        # Sums before and after a step; the starts of every round, and the ends of the first.
        steps = [limits[0] + 1, *map(sum, pairwise(limits)), limits[-1] + self.groups * left]
        steps.append(self.groups * (left + -(-left // FOLDED)))
        words = self.digits + limits[0] + (len(limits) + 2) * (self.runs + 1) + self.length + self.runs // 32 + 64
        return max(steps) * SUMS_BYTES + words * WORD_BYTES

    @property
    def cost(self) -> int:
        """Products of one sum in G1, about."""
        return self.count * self.windows * ADDITION + self.parts * self.runs * BUCKET

    @property
    def is_possible(self) -> bool:
        return self.digits < INDEX_MAX and self.count * self.copies < INDEX_MAX


@dataclass(frozen=True, slots=True)
class Circuit:
    """What decides the sizes of a proof."""

    wire_count: int
    domain_size: int
    entry_count: int
    """Of both matrices."""

    @property
    def fixed_bytes(self) -> int:
        """What does not depend on how the sums are computed."""
        rows, size = 2 * self.domain_size, ELEMENT_BYTES
        part_max = self.entry_count // PART_ENTRIES + min(self.entry_count, rows)
        entries = self.entry_count * (WORD_BYTES + size) + (rows + part_max + 2) * WORD_BYTES + part_max * size
        return entries + size * (self.wire_count + 4 * self.domain_size) + 64 * size


@dataclass(frozen=True, slots=True)
class Plan:
    """The sums over the wires and those over the quotient, and all bytes of the device that a key and a proof take."""

    wires: Sum
    quotient: Sum
    device_bytes: int


def plan_proof(circuit: Circuit, memory_bytes: int) -> Plan:
    """The fastest layout that fits; refuses where none does."""
    # Three sums in G1 go over the wires, and one in G2, which costs as much again.
    over_wires = _best(circuit.wire_count, 3 * G1_BYTES + G2_BYTES)
    over_quotient = _best(circuit.domain_size, G1_BYTES)
    fixed = circuit.fixed_bytes
    plans = (
        (6 * wires.cost + quotient.cost, Plan(wires, quotient, fixed + wires_bytes + quotient_bytes))
        for wires, wires_bytes in over_wires
        for quotient, quotient_bytes in over_quotient
        if fixed + wires_bytes + quotient_bytes <= memory_bytes
    )
    best = min(plans, key=lambda plan: plan[0], default=None)
    if best is None:
        least = fixed + over_wires[-1][1] + over_quotient[-1][1]
        raise InvalidRecord("snark.out_of_memory", needed=least, memory=memory_bytes)
    return best[1]


def _best(count: int, base_bytes: int) -> list[tuple[Sum, int]]:
    """The ways to compute a sum that no other beats both in time and in bytes, the fastest first."""
    ways = sorted((way.cost, way.work_bytes + way.copies * count * base_bytes, way) for way in _ways(count))
    kept: list[tuple[Sum, int]] = []
    for _, size, way in ways:
        if not kept or size < kept[-1][1]:
            kept.append((way, size))
    return kept


def _ways(count: int) -> Iterator[Sum]:
    part_counts = [parts for parts in (1, 2, 4, 8, 16, 32, PARTS_MAX) if parts <= count]
    for bits in range(BITS_MIN, BITS_MAX + 1):
        windows = -(-SCALAR_BITS // bits)
        # As many groups for as many copies: fewer copies for as many groups are enough.
        for groups in sorted({-(-windows // copies) for copies in range(1, windows + 1)}):
            for parts in part_counts:
                way = Sum(count, bits, groups, parts)
                if way.is_possible:
                    yield way


@dataclass(frozen=True, slots=True)
class Pass:
    """Stages of a transform that a block does in its own memory."""

    low: int
    """The bit of a place at which they begin."""
    stages: int
    columns: int


def plan_passes(power: int, tile_bits: int = TILE_BITS) -> tuple[int, tuple[Pass, ...]]:
    """How many stages the turn takes at the bottom, and the passes above it, from the bottom up."""
    turn = min(power, tile_bits)
    passes, low = [], turn
    while low < power:
        columns = min(COLUMN_BITS, tile_bits - 1)
        # As even as they come: short passes move as many bytes as long ones.
        left = power - low
        stages = -(-left // -(-left // (tile_bits - columns)))
        passes.append(Pass(low, stages, columns))
        low += stages
    return turn, tuple(passes)
