"""`.r1cs` files: circuits as circom writes them."""

from __future__ import annotations

import struct

from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import container
from theblock_node.core.proofs.formats.container import FileType, Reader
from theblock_node.core.proofs.r1cs import Constraint, LinearCombination, R1cs

FILE = FileType("r1cs", 1)
HEADER, CONSTRAINTS, LABELS, CUSTOM_GATES, CUSTOM_GATES_USED = 1, 2, 3, 4, 5
_COUNTS = struct.Struct("<IIIIQI")
_CONSTRAINT_BYTES_MIN = 12
_TERM_BYTES = 36


def read(data: bytes) -> R1cs:
    """The circuit in the file ``data``."""
    sections = container.read(data, FILE)
    header = sections.get(HEADER)
    header.prime(R)
    header.expect(_COUNTS.size)
    wires, outputs, inputs, private, labels, constraint_count = _COUNTS.unpack(header.take(_COUNTS.size))
    if 1 + outputs + inputs + private > wires or wires > labels:
        raise header.refuse("file_header")
    for section in (CUSTOM_GATES, CUSTOM_GATES_USED):
        gates = sections.find(section)
        if gates is not None and any(gates.take(gates.left)):
            raise gates.refuse("custom_gates")

    reader = sections.get(CONSTRAINTS)
    if constraint_count * _CONSTRAINT_BYTES_MIN > reader.left:
        raise reader.refuse("file_truncated", constraints=constraint_count)
    constraints = tuple(
        Constraint(_read_combination(reader, wires), _read_combination(reader, wires), _read_combination(reader, wires))
        for _ in range(constraint_count)
    )
    reader.end()
    return R1cs(wires, outputs, inputs, private, labels, constraints, _read_labels(sections.get(LABELS), wires, labels))


def write(system: R1cs) -> bytes:
    """The file of ``system``, its combinations sorted by wire."""
    counts = _COUNTS.pack(
        system.wire_count,
        system.public_output_count,
        system.public_input_count,
        system.private_input_count,
        system.label_count,
        len(system.constraints),
    )
    constraints = b"".join(_write_combination(row) for constraint in system.constraints for row in constraint)
    labels = struct.pack(f"<{len(system.labels)}Q", *system.labels)
    header = container.prime_bytes(R) + counts
    return container.write(FILE, [(HEADER, header), (CONSTRAINTS, constraints), (LABELS, labels)])


def _read_combination(reader: Reader, wires: int) -> LinearCombination:
    count = reader.u32()
    if count * _TERM_BYTES > reader.left:
        raise reader.refuse("file_truncated", terms=count)
    return tuple(_read_term(reader, wires) for _ in range(count))


def _read_term(reader: Reader, wires: int) -> tuple[int, int]:
    wire = reader.u32()
    if wire >= wires:
        raise reader.refuse("file_wire", wire=wire, wires=wires)
    return wire, reader.element(R)


def _read_labels(reader: Reader, wires: int, labels: int) -> tuple[int, ...]:
    reader.expect(8 * wires)
    read_labels = tuple(reader.u64() for _ in range(wires))
    if any(label >= labels for label in read_labels):
        raise reader.refuse("file_label")
    return read_labels


def _write_combination(combination: LinearCombination) -> bytes:
    terms = [struct.pack("<I", wire) + container.element_bytes(value) for wire, value in sorted(combination)]
    return struct.pack("<I", len(terms)) + b"".join(terms)
