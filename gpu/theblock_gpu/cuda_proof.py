"""Proofs of Groth16 on one CUDA device: the witness goes in, sums of a few points come out, and nothing stays.

`gpu/kernels/device.cu` says what each kernel does, `cuda_plan` how much of it there is. Every launch depends on the
circuit alone and not on the wires. The last few additions of points are the host's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from theblock_kernels.bn254 import ELEMENT_BYTES, G1_BYTES, G2_BYTES, NotCanonical
from theblock_kernels.snark import COEFFICIENT_BYTES, Bases
from theblock_node.core.proofs import field
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats.container import g1_bytes, g2_bytes, montgomery_bytes

from theblock_gpu import cuda_plan, cuda_sums
from theblock_gpu.cuda_machine import Array, Machine
from theblock_gpu.cuda_plan import PART_ENTRIES, Circuit, Plan
from theblock_gpu.cuda_sums import WORDS, Term
from theblock_gpu.device import Cupy
from theblock_gpu.hash import DONE, Tell

_FIXED = (G1_BYTES, G1_BYTES, G1_BYTES, G2_BYTES, G2_BYTES)
_COEFFICIENT = numpy.dtype([("matrix", "<u4"), ("row", "<u4"), ("wire", "<u4"), ("value", f"V{ELEMENT_BYTES}")])


@dataclass(frozen=True, slots=True)
class _Matrices:
    """Both matrices by rows, A's before B's; long rows in parts."""

    row_starts: Array
    part_starts: Array
    wires: Array
    factors: Array
    part_count: int


class DeviceProver:
    """A proving key in the memory of a device; makes the points that `theblock_kernels.snark.Prover` makes."""

    def __init__(self, cupy: Cupy, device: int, bases: Bases, *, memory_bytes: int) -> None:
        """Refuses ``snark.out_of_memory`` before the device is asked. Raises `DeviceError`, `ValueError`."""
        circuit = circuit_of(bases)
        self._plan = cuda_plan.plan_proof(circuit, memory_bytes)
        self._circuit = circuit
        self._fixed = tuple(_split(bases.fixed, _FIXED))
        self._power = circuit.domain_size.bit_length() - 1
        rows = _sort_entries(bases.coefficients, circuit)
        self._machine = machine = Machine(cupy, device)
        with machine.entered():
            row_starts, part_starts, entry_wires, factors = map(machine.upload, rows)
            self._matrices = _Matrices(row_starts, part_starts, entry_wires, factors, len(rows[1]) // 4 - 1)
            squares = machine.upload(b"".join(_powers_of_root(self._power)))
            self._one_over_size = machine.upload(montgomery_bytes(pow(circuit.domain_size, -1, R), R))
            self._roots = machine.zeros(circuit.domain_size * WORDS)
            machine.launch("make_roots", circuit.domain_size, self._power, squares, self._roots)
            # The sums of C take the same digits as the others: wires that it has no base for have infinity.
            padded = bytes((bases.public_count + 1) * G1_BYTES) + bases.c
            wires, quotient = self._plan.wires, self._plan.quotient
            self._over_wires = (
                cuda_sums.load_points(machine, "g2", [bases.b2], wires),
                cuda_sums.load_points(machine, "g1", [bases.a, bases.b1, padded], wires),
            )
            self._h = cuda_sums.load_points(machine, "g1", [bases.h], quotient)
            machine.wait()

    @property
    def device_bytes(self) -> int:
        """What the key takes, and a proof with it."""
        return self._plan.device_bytes

    @property
    def plan(self) -> Plan:
        return self._plan

    def prove(self, witness: bytes | bytearray, r: bytes, s: bytes, tell: Tell) -> bytes:
        """A, B and C for plain wires and blinders; not verified. Raises `DeviceError` and what ``tell`` raises."""
        if len(witness) != self._circuit.wire_count * ELEMENT_BYTES:
            raise ValueError("the witness is not as long as the key")
        if len(r) != ELEMENT_BYTES or len(s) != ELEMENT_BYTES:
            raise ValueError("a blinder is one element")
        blinders = int.from_bytes(r, "little"), int.from_bytes(s, "little")
        if max(blinders) >= R:
            raise NotCanonical("an element is not below its modulus")
        with self._machine.entered():
            tell("upload", 0)
            wires = self._machine.upload(witness)
            rows = self._machine.zeros(3 * self._circuit.domain_size * WORDS)
            try:
                cuda_sums.require_elements(self._machine, "fr", wires, self._circuit.wire_count)
                tell("quotient", 0)
                self._make_quotient(wires, rows)
                self._machine.wait()
                tell("msm", 0)
                terms = cuda_sums.sum_all(self._machine, self._plan.wires, wires, self._over_wires)
                tell("msm", DONE // 2)
                terms += cuda_sums.sum_all(self._machine, self._plan.quotient, rows, [self._h])
                tell("msm", DONE)
            finally:
                wires.fill(0)
                rows.fill(0)
        return self._combine(terms, *blinders)

    def compute_quotient(self, witness: bytes) -> bytes:
        """The scalars of the bases in H, plain: as the host's prover has them."""
        with self._machine.entered():
            wires = self._machine.upload(witness)
            rows = self._machine.zeros(3 * self._circuit.domain_size * WORDS)
            self._make_quotient(wires, rows)
            return self._machine.download(rows)[: self._circuit.domain_size * ELEMENT_BYTES]

    def close(self) -> None:
        """Give the memory back; the bases are no secret, so they are left as they are."""
        del self._matrices, self._roots, self._one_over_size, self._over_wires, self._h
        with self._machine.entered():
            self._machine.cupy.get_default_memory_pool().free_all_blocks()

    def _make_quotient(self, wires: Array, rows: Array) -> None:
        """The quotient's values, in the place of A's rows."""
        machine, matrices, size = self._machine, self._matrices, self._circuit.domain_size
        sums = machine.zeros(matrices.part_count * WORDS)
        entries = (matrices.part_starts, matrices.wires, matrices.factors)
        if matrices.part_count:
            machine.launch("sum_entries", matrices.part_count, *entries, wires, sums)
        machine.launch("make_rows", size, matrices.row_starts, sums, rows)
        sums.fill(0)
        turn, passes = cuda_plan.plan_passes(self._power)
        for step in reversed(passes):
            tiles = 3 * size >> (step.stages + step.columns)
            shape = (self._power, step.low, step.stages, step.columns)
            machine.launch_blocks("transform_down", tiles, *shape, self._roots, rows)
        shared = (self._one_over_size, self._roots, rows)
        machine.launch_blocks("transform_turn", 3 * size >> turn, self._power, turn, *shared)
        for step in passes:
            tiles = 3 * size >> (step.stages + step.columns)
            shape = (self._power, step.low, step.stages, step.columns)
            machine.launch_blocks("transform_up", tiles, *shape, self._roots, rows)
        machine.launch("make_quotient", size, rows, rows)

    def _combine(self, terms: list[list[Term]], r: int, s: int) -> bytes:
        b2, a, b1, c, h = terms
        alpha1, beta1, delta1, beta2, delta2 = self._fixed
        proof_a = cuda_sums.total_g1([*a, (alpha1, 1), (delta1, r)])
        proof_b1 = cuda_sums.total_g1([*b1, (beta1, 1), (delta1, s)])
        proof_b2 = cuda_sums.total_g2([*b2, (beta2, 1), (delta2, s)])
        last = [(g1_bytes(proof_a), s), (g1_bytes(proof_b1), r), (delta1, -r * s % R)]
        return g1_bytes(proof_a) + g2_bytes(proof_b2) + g1_bytes(cuda_sums.total_g1([*c, *h, *last]))


def circuit_of(bases: Bases) -> Circuit:
    """The sizes of a key; raises `ValueError` where its parts do not fit together."""
    wires, domain = len(bases.a) // G1_BYTES, len(bases.h) // G1_BYTES
    hidden = wires - bases.public_count - 1
    sizes = [(bases.fixed, sum(_FIXED)), (bases.a, wires * G1_BYTES), (bases.b1, wires * G1_BYTES)]
    sizes += [(bases.b2, wires * G2_BYTES), (bases.c, hidden * G1_BYTES), (bases.h, domain * G1_BYTES)]
    if (
        any(len(part) != size for part, size in sizes)
        or len(bases.coefficients) % COEFFICIENT_BYTES
        or domain.bit_count() != 1
        or not 2 <= domain < 1 << field.TWO_ADICITY
        or bases.public_count < 0
    ):
        raise ValueError("the parts of the key do not fit together")
    return Circuit(wires, domain, len(bases.coefficients) // COEFFICIENT_BYTES)


def _sort_entries(coefficients: bytes, circuit: Circuit) -> tuple[bytes, bytes, bytes, bytes]:
    """The arrays of `_Matrices`; raises `ValueError` for an entry of no row or wire."""
    entries = numpy.frombuffer(coefficients, dtype=_COEFFICIENT)
    inside = (entries["matrix"] <= 1) & (entries["row"] < circuit.domain_size) & (entries["wire"] < circuit.wire_count)
    if not inside.all():
        raise ValueError("the key holds what is no entry")
    rows = entries["matrix"].astype("<i8") * circuit.domain_size + entries["row"]
    order = numpy.argsort(rows, kind="stable")
    counts = numpy.bincount(rows, minlength=2 * circuit.domain_size)
    parts = -(-counts // PART_ENTRIES)
    row_starts = numpy.concatenate(([0], numpy.cumsum(parts)))
    row_of = numpy.repeat(numpy.arange(len(parts)), parts)
    within = numpy.arange(len(row_of)) - row_starts[row_of]
    entry_starts = numpy.concatenate(([0], numpy.cumsum(counts)))
    part_starts = numpy.append(entry_starts[row_of] + PART_ENTRIES * within, len(entries))
    words = [array.astype("<u4").tobytes() for array in (row_starts, part_starts, entries["wire"][order])]
    return words[0], words[1], words[2], entries["value"][order].tobytes()


def _powers_of_root(power: int) -> Iterator[bytes]:
    """The root of the doubled domain to the powers 1, 2, 4 and so on."""
    root = field.root_of_unity(power + 1)
    for _ in range(power):
        yield montgomery_bytes(root, R)
        root = root * root % R


def _split(data: bytes, sizes: tuple[int, ...]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
