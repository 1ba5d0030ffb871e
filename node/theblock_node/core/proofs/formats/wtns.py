"""`.wtns` files: the values of all wires of one circuit."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from theblock_node.core.proofs.field import ELEMENT_BYTES, R
from theblock_node.core.proofs.formats import container
from theblock_node.core.proofs.formats.container import FileType

FILE = FileType("wtns", 2)
HEADER, VALUES = 1, 2


def read(data: bytes) -> tuple[int, ...]:
    """The values in the file ``data``: canonical, the first of them one."""
    sections = container.read(data, FILE)
    header = sections.get(HEADER)
    header.prime(R)
    count = header.u32()
    header.end()
    reader = sections.get(VALUES)
    reader.expect(count * ELEMENT_BYTES)
    if count == 0 or reader.element(R) != 1:
        raise reader.refuse("witness_one")
    return (1, *(reader.element(R) for _ in range(count - 1)))


def write(witness: Sequence[int]) -> bytes:
    header = container.prime_bytes(R) + struct.pack("<I", len(witness))
    return container.write(FILE, [(HEADER, header), (VALUES, b"".join(map(container.element_bytes, witness)))])
