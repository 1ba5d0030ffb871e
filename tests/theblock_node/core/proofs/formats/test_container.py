"""The container: sections in any order, each once, to the last byte; a refusal says where."""

from __future__ import annotations

import struct

import pytest
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats import container
from theblock_node.core.proofs.formats.container import FileType

FILE = FileType("test", 7)
GOOD = container.write(FILE, [(2, b"two"), (1, b""), (9, b"unknown")])


def section(body: bytes) -> container.Reader:
    return container.read(container.write(FILE, [(5, body)]), FILE).get(5)


def refused(read) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as refusal:
        read()
    return refusal.value


def test_sections_are_found_by_number():
    sections = container.read(GOOD, FILE)

    assert bytes(sections.get(2).take(3)) == b"two"
    sections.get(1).end()
    assert sections.find(3) is None
    assert refused(lambda: sections.get(3)).facts == {"file": "test", "section": 3}


@pytest.mark.parametrize(
    ("data", "code", "offset"),
    [
        pytest.param(b"", "snark.file_truncated", 0, id="empty"),
        pytest.param(GOOD[:11], "snark.file_truncated", 11, id="half-a-header"),
        pytest.param(b"tess" + GOOD[4:], "snark.file_magic", 0, id="magic"),
        pytest.param(GOOD[:4] + b"\x08" + GOOD[5:], "snark.file_version", 4, id="version"),
        pytest.param(GOOD[:8] + b"\x04" + GOOD[9:], "snark.file_truncated", len(GOOD), id="one-section-more"),
        pytest.param(GOOD[:8] + b"\x02" + GOOD[9:], "snark.file_trailing", len(GOOD) - 19, id="one-section-less"),
        pytest.param(GOOD[:8] + b"\xff" * 4 + GOOD[12:], "snark.file_sections", 8, id="huge-count"),
        pytest.param(GOOD[:-1], "snark.file_truncated", len(GOOD) - 7, id="cut"),
        pytest.param(GOOD + b"\0", "snark.file_trailing", len(GOOD), id="trailing"),
        pytest.param(GOOD[:16] + b"\xff" * 8 + GOOD[24:], "snark.file_truncated", 24, id="huge-section"),
        pytest.param(container.write(FILE, [(1, b""), (1, b"")]), "snark.file_section_twice", 36, id="twice"),
    ],
)
def test_container_is_refused(data, code, offset):
    refusal = refused(lambda: container.read(data, FILE))
    assert (refusal.code, refusal.facts["file"], refusal.facts["offset"]) == (code, "test", offset)


def test_reading_past_a_section_says_where():
    reader = section(b"\x01\x00\x00\x00\x02")
    assert reader.u32() == 1

    refusal = refused(reader.u32)
    assert refusal.code == "snark.file_truncated"
    assert refusal.facts == {"file": "test", "section": 5, "offset": 28, "wanted": 4, "left": 1}
    assert refused(reader.end).code == "snark.file_size"
    assert reader.u8() == 2
    reader.end()


@pytest.mark.parametrize("modulus", [P, R])
def test_elements_are_canonical(modulus):
    largest = container.element_bytes(modulus - 1)
    assert section(largest).element(modulus) == modulus - 1
    assert section(container.montgomery_bytes(12345, modulus)).montgomery(modulus) == 12345
    for value in (modulus, modulus + 1, 2**256 - 1):
        refusal = refused(lambda value=value: section(container.element_bytes(value)).element(modulus))
        assert refusal.code == "snark.file_range"


@pytest.mark.parametrize("size", [31, 33])
def test_another_field_is_refused(size):
    section(container.prime_bytes(R)).prime(R)
    assert refused(lambda: section(container.prime_bytes(P)).prime(R)).code == "snark.file_field"
    other = struct.pack("<I", size) + container.element_bytes(R)
    assert refused(lambda: section(other).prime(R)).code == "snark.file_field"


def test_points_come_back_and_stray_ones_do_not():
    for point in (G1.generator, None):
        assert section(container.g1_bytes(point)).g1() == point
    for twisted in (G2.generator, None):
        assert section(container.g2_bytes(twisted)).g2() == twisted
    assert refused(section(container.g1_bytes((1, 1))).g1).code == "snark.not_on_curve"
    assert refused(section(container.g2_bytes(((1, 0), (1, 0)))).g2).code == "snark.not_on_curve"
    # Infinity is all zero; a zero x alone is a point, and not on the curve.
    assert refused(section(container.g1_bytes((0, 1))).g1).code == "snark.not_on_curve"


def test_lists_are_measured_before_they_are_read():
    one = container.g1_bytes(G1.generator)
    assert section(one * 2).g1_list(2) == (G1.generator,) * 2
    for count in (1, 3, 2**32 - 1):
        assert refused(lambda count=count: section(one * 2).g1_list(count)).code == "snark.file_size"
