"""Sums of scalars times points on a device: the digits are sorted by bucket once, for all bases that take them.

What comes back is a few points for each sum: those of the windows that are left, of each part. `total_g1` and
`total_g2` add them up on the host, and whatever else belongs to the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy
from theblock_kernels.bn254 import ELEMENT_BYTES, G1_BYTES, G2_BYTES
from theblock_node.core.proofs import field, native
from theblock_node.core.proofs.curve import G1Point, G2Point
from theblock_node.core.proofs.field import P, R

from theblock_gpu.cuda_machine import Array, Machine, NoElement
from theblock_gpu.cuda_plan import FOLDED, MERGED, Sum

WORDS = ELEMENT_BYTES // 4
_POINT_BYTES = {"g1": G1_BYTES, "g2": G2_BYTES}
Term = tuple[bytes, int]
"""A point as the key's file has it, and what it is taken times."""


@dataclass(frozen=True, slots=True)
class Points:
    """Sets of bases of one group, as many in each, one after the other; in each of them the copies."""

    group: str
    sets: int
    array: Array


def load_points(machine: Machine, group: str, sets: Sequence[bytes], way: Sum) -> Points:
    """Bases, and after those of a set each copy of them: so many windows further."""
    words = way.count * _POINT_BYTES[group] // 4
    array = machine.zeros(len(sets) * way.copies * words)
    for number, data in enumerate(sets):
        places = [(number * way.copies + copy) * words for copy in range(way.copies)]
        copies = [array[place : place + words] for place in places]
        copies[0].set(numpy.frombuffer(data, dtype="<u4"))
        require_elements(machine, "fp", copies[0], words // WORDS)
        for before, after in pairwise(copies):
            machine.launch(f"make_multiples_{group}", way.count, way.bits * way.groups, before, after)
    return Points(group, len(sets), array)


def require_elements(machine: Machine, which: str, values: Array, count: int) -> None:
    """Refuse what is at or above its modulus."""
    strangers = machine.zeros(1)
    machine.launch(f"find_strangers_{which}", count, values, strangers)
    if any(machine.download(strangers)):
        raise NoElement(f"among {count} of {which}")


def sum_all(machine: Machine, way: Sum, scalars: Array, bases: Sequence[Points]) -> list[list[Term]]:
    """For each set of ``bases`` what its sum is the total of."""
    found: list[list[Term]] = [[] for points in bases for _ in range(points.sets)]
    for first in range(0, way.count, way.part_count):
        order = Order(machine, way, scalars, first)
        try:
            windows: list[bytes] = []
            for points in bases:
                sums = order.sum_windows(points)
                windows += _split(machine.download(sums), way.groups * _POINT_BYTES[points.group])
                sums.fill(0)
        finally:
            order.close()
        for terms, data in zip(found, windows, strict=True):
            parts = _split(data, len(data) // way.groups)
            terms += [(point, pow(2, way.bits * window, R)) for window, point in enumerate(parts)]
    return found


def total_g1(terms: Iterable[Term]) -> G1Point:
    points, scalars = zip(*terms, strict=True)
    return native.msm_g1([_point(*_coordinates(data)) for data in points], scalars)


def total_g2(terms: Iterable[Term]) -> G2Point:
    points, scalars = zip(*terms, strict=True)
    return native.msm_g2([_twisted(*_coordinates(data)) for data in points], scalars)


class Order:
    """The digits of one part's scalars, sorted by bucket and cut into pieces."""

    def __init__(self, machine: Machine, way: Sum, scalars: Array, first: int) -> None:
        count = min(way.part_count, way.count - first)
        part = scalars[first * WORDS : (first + count) * WORDS]
        self._machine, self._way = machine, way
        self._arrays: list[Array] = []
        digits = (way.bits, way.windows, way.groups)
        starts = self._make(way.runs + 1)
        machine.launch("count_digits", count, part, *digits, starts)
        machine.scan(starts, way.runs + 1)
        ends, self._order = self._keep(starts.copy()), self._make(way.digits)
        machine.launch("place_digits", count, part, *digits, first, way.count, ends, self._order)

        self._rounds = [starts]
        for length in (way.length, *(MERGED for _ in way.limits[1:])):
            pieces = self._make(way.runs + 1)
            machine.launch("count_pieces", way.runs, length, self._rounds[-1], pieces)
            machine.scan(pieces, way.runs + 1)
            self._rounds.append(pieces)
        lengths = self._make(way.length + 1)
        run = (way.limits[0], way.runs, way.length, *self._rounds[:2])
        machine.launch("count_lengths", *run, lengths)
        machine.scan(lengths, way.length + 1)
        self._pieces = self._make(way.limits[0])
        machine.launch("place_pieces", *run, lengths, self._pieces)

    def sum_windows(self, points: Points) -> Array:
        """The sum of each window that is left, for one set after the other, in affine form."""
        machine, way, group, sets = self._machine, self._way, points.group, points.sets
        words = 2 * _POINT_BYTES[group] // 4
        size = way.limits[0]
        sums = self._make(sets * size * words)
        run = (size, sets, way.copies * way.count, way.runs, way.length, *self._rounds[:2], self._pieces, self._order)
        machine.launch(f"sum_pieces_{group}", *run, points.array, sums, items=sets * size)
        for limit, starts, pieces in zip(way.limits[1:], self._rounds[1:], self._rounds[2:], strict=False):
            merged = self._make(sets * limit * words)
            merge = (limit, sets, size, way.runs, MERGED, starts, pieces, sums, merged)
            machine.launch(f"merge_pieces_{group}", *merge, items=sets * limit)
            sums, size = self._replace(sums, merged), limit
        left, groups = -(-way.buckets // way.span), sets * way.groups
        total = self._make(groups * left * words)
        shape = (way.groups, sets, size, way.buckets, way.span, self._rounds[-1])
        machine.launch(f"sum_buckets_{group}", *shape, sums, total, items=groups * left)
        sums = self._replace(sums, total)
        while left > 1:
            count, left = left, -(-left // FOLDED)
            folded = self._make(groups * left * words)
            machine.launch(f"fold_{group}", groups, count, FOLDED, sums, folded, items=groups * left)
            sums = self._replace(sums, folded)
        affine = machine.zeros(groups * words // 2)
        machine.launch(f"make_affine_{group}", groups, sums, affine)
        self._drop(sums)
        return affine

    def close(self) -> None:
        """Zero what tells of the scalars."""
        while self._arrays:
            self._arrays.pop().fill(0)

    def _make(self, words: int) -> Array:
        return self._keep(self._machine.zeros(words))

    def _keep(self, array: Array) -> Array:
        self._arrays.append(array)
        return array

    def _replace(self, old: Array, new: Array) -> Array:
        self._drop(old)
        return new

    def _drop(self, array: Array) -> None:
        array.fill(0)
        self._arrays = [each for each in self._arrays if each is not array]


def _coordinates(data: bytes) -> list[int]:
    return [field.from_montgomery(int.from_bytes(part, "little"), P) for part in _split(data, ELEMENT_BYTES)]


def _point(x: int, y: int) -> G1Point:
    return (x, y) if x or y else None


def _twisted(x0: int, x1: int, y0: int, y1: int) -> G2Point:
    return ((x0, x1), (y0, y1)) if x0 or x1 or y0 or y1 else None


def _split(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))
