"""The container that `.r1cs`, `.wtns`, `.zkey` and `.ptau` files share: a magic word and numbered sections.

Files come from strangers. Nothing is allocated for a count before the bytes that it counts are there, every value
is canonical, and a refusal names the file, the section and the offset of what it refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import field
from theblock_node.core.proofs.curve import G1, G2, G1Point, G2Point
from theblock_node.core.proofs.field import ELEMENT_BYTES, P

SECTIONS_MAX = 64
G1_BYTES = 2 * ELEMENT_BYTES
G2_BYTES = 4 * ELEMENT_BYTES
_HEADER = struct.Struct("<4sII")
_SECTION = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True)
class FileType:
    name: str
    version: int

    @property
    def magic(self) -> bytes:
        return self.name.encode()


class Reader:
    """Reads one section from its start to its end."""

    __slots__ = ("_at", "_data", "_file", "_section", "_start")

    def __init__(self, data: memoryview, *, file: FileType, section: int, start: int) -> None:
        self._data = data
        self._file = file
        self._section = section
        self._start = start
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def refuse(self, reason: str, **facts: object) -> InvalidRecord:
        """The refusal of what was just read."""
        where = {"file": self._file.name, "section": self._section, "offset": self._start + self._at}
        return InvalidRecord(f"snark.{reason}", **where, **facts)

    def take(self, size: int) -> memoryview:
        if size > self.left:
            raise self.refuse("file_truncated", wanted=size, left=self.left)
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def element(self, modulus: int) -> int:
        """A field element in plain form."""
        value = int.from_bytes(self.take(ELEMENT_BYTES), "little")
        if value >= modulus:
            raise self.refuse("file_range")
        return value

    def montgomery(self, modulus: int) -> int:
        """A field element stored in Montgomery form."""
        return field.from_montgomery(self.element(modulus), modulus)

    def g1(self) -> G1Point:
        x, y = self.montgomery(P), self.montgomery(P)
        point = (x, y) if x or y else None
        if not G1.is_on_curve(point):
            raise self.refuse("not_on_curve")
        return point

    def g2(self) -> G2Point:
        x0, x1, y0, y1 = self.montgomery(P), self.montgomery(P), self.montgomery(P), self.montgomery(P)
        point = ((x0, x1), (y0, y1)) if x0 or x1 or y0 or y1 else None
        if not G2.is_on_curve(point):
            raise self.refuse("not_on_curve")
        return point

    def prime(self, modulus: int) -> None:
        """Refuse a file over another field than that of ``modulus``."""
        size = self.u32()
        if size != ELEMENT_BYTES or int.from_bytes(self.take(ELEMENT_BYTES), "little") != modulus:
            raise self.refuse("file_field")

    def expect(self, size: int) -> None:
        """Refuse the section unless exactly ``size`` bytes are left: before anything is made of them."""
        if self.left != size:
            raise self.refuse("file_size", wanted=size, left=self.left)

    def g1_list(self, count: int) -> tuple[G1Point, ...]:
        """The ``count`` points that are the rest of the section."""
        self.expect(count * G1_BYTES)
        return tuple(self.g1() for _ in range(count))

    def g2_list(self, count: int) -> tuple[G2Point, ...]:
        self.expect(count * G2_BYTES)
        return tuple(self.g2() for _ in range(count))

    def end(self) -> None:
        self.expect(0)


class Sections:
    """The sections of a file by number; those that nobody asks for are ignored."""

    __slots__ = ("_file", "_readers")

    def __init__(self, file: FileType, readers: dict[int, Reader]) -> None:
        self._file = file
        self._readers = readers

    def find(self, section: int) -> Reader | None:
        return self._readers.get(section)

    def get(self, section: int) -> Reader:
        """The section, which the file must have."""
        reader = self.find(section)
        if reader is None:
            raise InvalidRecord("snark.file_section_missing", file=self._file.name, section=section)
        return reader


def read(data: bytes, file: FileType) -> Sections:
    """The sections of ``data``, in any order, each number at most once, to the last byte."""
    if len(data) < _HEADER.size:
        raise InvalidRecord("snark.file_truncated", file=file.name, section=0, offset=len(data))
    magic, version, count = _HEADER.unpack_from(data)
    if magic != file.magic:
        raise InvalidRecord("snark.file_magic", file=file.name, section=0, offset=0)
    if version != file.version:
        raise InvalidRecord("snark.file_version", file=file.name, section=0, offset=4, version=version)
    if count > SECTIONS_MAX:
        raise InvalidRecord("snark.file_sections", file=file.name, section=0, offset=8, count=count)
    return Sections(file, dict(_split(memoryview(data), file, count)))


def write(file: FileType, sections: Sequence[tuple[int, bytes]]) -> bytes:
    """A file with ``sections`` in the order given."""
    parts = [_HEADER.pack(file.magic, file.version, len(sections))]
    for number, body in sections:
        parts += (_SECTION.pack(number, len(body)), body)
    return b"".join(parts)


def element_bytes(value: int) -> bytes:
    return value.to_bytes(ELEMENT_BYTES, "little")


def montgomery_bytes(value: int, modulus: int) -> bytes:
    return element_bytes(field.to_montgomery(value, modulus))


def prime_bytes(modulus: int) -> bytes:
    """How a header names its field."""
    return struct.pack("<I", ELEMENT_BYTES) + element_bytes(modulus)


def g1_bytes(point: G1Point) -> bytes:
    return b"".join(montgomery_bytes(coordinate, P) for coordinate in point or (0, 0))


def g2_bytes(point: G2Point) -> bytes:
    x, y = point or ((0, 0), (0, 0))
    return b"".join(montgomery_bytes(coordinate, P) for coordinate in (*x, *y))


def _split(data: memoryview, file: FileType, count: int) -> Iterator[tuple[int, Reader]]:
    at = _HEADER.size
    seen: set[int] = set()
    for _ in range(count):
        if len(data) - at < _SECTION.size:
            raise InvalidRecord("snark.file_truncated", file=file.name, section=0, offset=at)
        number, size = _SECTION.unpack_from(data, at)
        at += _SECTION.size
        if size > len(data) - at:
            raise InvalidRecord("snark.file_truncated", file=file.name, section=number, offset=at, wanted=size)
        if number in seen:
            raise InvalidRecord("snark.file_section_twice", file=file.name, section=number, offset=at)
        seen.add(number)
        yield number, Reader(data[at : at + size], file=file, section=number, start=at)
        at += size
    if at != len(data):
        raise InvalidRecord("snark.file_trailing", file=file.name, section=0, offset=at)
