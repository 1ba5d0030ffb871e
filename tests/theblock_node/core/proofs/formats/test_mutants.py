"""Changed files: none crashes a reader, none makes it allocate much, none passes for what it is not.

Passing is the whole way that a file goes: a circuit must take the witness that it took, a witness must satisfy the
circuit, a key must prove what the registered key verifies.
"""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import snark
from support.snark import BLINDERS, CUBIC, WITNESS, cubic_key
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import prover, setup
from theblock_node.core.proofs import r1cs as systems
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats import ptau, r1cs, wtns, zkey
from theblock_node.core.proofs.r1cs import Constraint

CIRCUIT_FILE = r1cs.write(CUBIC)
WITNESS_FILE = wtns.write(WITNESS)
KEY_FILE = zkey.write(cubic_key())
OVERHEAD_BYTES = 16_384
"""What a refusal with its traceback may take beside ten times the file."""
HEADER = 12
SECTION = 12


def use_circuit(data: bytes) -> None:
    system = r1cs.read(data)
    systems.check_witness(system, WITNESS)
    if system.public_count != cubic_key().verifying.public_count:
        raise InvalidRecord("snark.key_public_count")


def use_witness(data: bytes) -> None:
    witness = wtns.read(data)
    systems.check_witness(CUBIC, witness)
    if witness[1] != WITNESS[1]:
        raise InvalidRecord("snark.invalid_proof")


def use_key(data: bytes) -> None:
    key = zkey.read(data)
    prover.prove(prover.prepare(key, cubic_key().verifying), WITNESS, **BLINDERS)
    if not setup.is_dev_key(key, CIRCUIT_FILE):
        raise InvalidRecord("snark.dev_key")


USES: dict[str, tuple[bytes, Callable[[bytes], None]]] = {
    "r1cs": (CIRCUIT_FILE, use_circuit),
    "wtns": (WITNESS_FILE, use_witness),
    "zkey": (KEY_FILE, use_key),
}
MEANINGLESS = {"r1cs": {*range(HEADER + SECTION + 36 + 12, HEADER + SECTION + 36 + 24), *range(412, 456)}}
"""Bytes that nothing depends on: in a circuit the numbers of private inputs and labels, and the compiler's labels."""


def section_starts(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each section's number, the offset of its head, and its size."""
    at = HEADER
    while at < len(data):
        number, size = struct.unpack_from("<IQ", data, at)
        yield number, at, size
        at += SECTION + size


def put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def mutants(name: str) -> Iterator[tuple[str, bytes]]:
    """Cut, lengthened, with sections gone, doubled and mis-sized, with counts blown up, with bytes turned."""
    data = USES[name][0]
    for size in (0, 3, 4, 8, 11, 12, 23, len(data) // 3, len(data) // 2, len(data) - 32, len(data) - 1):
        yield f"cut-{size}", data[:size]
    yield "longer", data + b"\0"
    yield "doubled", data + data
    yield "zeros", bytes(len(data))
    for number, at, size in section_starts(data):
        body = data[at : at + SECTION + size]
        count = struct.unpack_from("<I", data, 8)[0]
        without = data[:at] + data[at + len(body) :]
        yield f"without-{number}", put(without, 8, struct.pack("<I", count - 1))
        yield f"twice-{number}", put(data + body, 8, struct.pack("<I", count + 1))
        yield f"renumbered-{number}", put(data, at, struct.pack("<I", number + 40))
        for wrong in (0, size - 1, size + 1, 2**32, 2**64 - 1):
            yield f"size-{number}-{wrong}", put(data, at + 4, struct.pack("<Q", wrong))
        if size >= 8:
            for wrong in (0xFFFFFFFF, 0x7FFFFFFF):
                yield f"start-{number}-{wrong}", put(data, at + SECTION, struct.pack("<I", wrong))
        if size >= 64:
            last = at + SECTION + size - 32
            for field_modulus in (P, R):
                yield f"end-{number}-{field_modulus % 97}", put(data, last, field_modulus.to_bytes(32, "little"))
            yield f"end-{number}-ones", put(data, last, b"\xff" * 32)


def turned(name: str, step: int) -> Iterator[tuple[str, bytes]]:
    """One bit turned in every ``step``-th byte that means something."""
    data = USES[name][0]
    for at in range(0, len(data), step):
        if at not in MEANINGLESS.get(name, ()):
            yield f"byte-{at}", put(data, at, bytes([data[at] ^ 1 << at % 8]))


def refusal_of(use: Callable[[bytes], None], data: bytes) -> str:
    """The code with which ``data`` is refused; "taken" if it is not."""
    try:
        use(data)
    except InvalidRecord as refusal:
        return refusal.code
    return "taken"


def allocated_bytes(read: Callable[[bytes], object], data: bytes) -> int:
    """The most memory that was held at once while ``read`` read or refused ``data``."""
    tracemalloc.start()
    try:
        read(data)
    except InvalidRecord:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("name", USES)
def test_unchanged_file_is_taken(name):
    """Without this, a reader that refuses everything would pass the tests below."""
    data, use = USES[name]
    assert refusal_of(use, data) == "taken"


@pytest.mark.parametrize("name", USES)
def test_changed_file_is_refused_where_it_is_wrong(name):
    _, use = USES[name]
    tried = list(mutants(name))
    assert len(tried) > 35
    for mutant, data in tried:
        assert refusal_of(use, data).startswith("snark."), mutant


@pytest.mark.parametrize(("name", "step"), [("r1cs", 1), ("wtns", 1), ("zkey", 19)])
def test_turned_bit_is_refused(name, step):
    _, use = USES[name]
    tried = list(turned(name, step))
    assert len(tried) > 100
    for mutant, data in tried:
        assert refusal_of(use, data).startswith("snark."), mutant


@pytest.mark.parametrize(
    ("read", "name"), [(r1cs.read, "r1cs"), (wtns.read, "wtns"), (zkey.read, "zkey")], ids=["r1cs", "wtns", "zkey"]
)
def test_reader_allocates_in_proportion_to_the_file(read, name):
    for mutant, data in (*mutants(name), ("unchanged", USES[name][0])):
        assert allocated_bytes(read, data) <= 10 * len(data) + OVERHEAD_BYTES, mutant


@pytest.mark.parametrize(
    ("read", "data"),
    [
        pytest.param(
            r1cs.read, r1cs.write(replace(CUBIC, constraints=(Constraint((), (), ()),) * 5000)), id="empty-rows"
        ),
        pytest.param(r1cs.read, snark.read_vector("cube_chain.r1cs"), id="r1cs"),
        pytest.param(zkey.read, snark.read_vector("cube_chain.zkey"), id="zkey"),
        pytest.param(ptau.read, snark.read_vector("cube_chain.ptau"), id="ptau"),
        pytest.param(wtns.read, wtns.write([1] + [R - 1] * 5000), id="wtns"),
    ],
)
def test_large_file_is_read_in_proportion(read, data):
    assert allocated_bytes(read, data) <= 10 * len(data)


def test_measuring_memory_finds_a_reader_that_sizes_before_it_looks():
    def careless(data: bytes) -> bytes:
        return bytes(int.from_bytes(data[:3], "little"))

    assert allocated_bytes(careless, b"\xff\xff\xff") > 10 * 3 + OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("wires", "public", "domain", "code"),
    [
        pytest.param(2**32 - 1, 1, 4, "snark.file_size", id="wires"),
        pytest.param(4, 2**32 - 1, 4, "snark.file_header", id="public"),
        pytest.param(4, 3, 4, "snark.file_header", id="whole-witness-public"),
        pytest.param(4, 0, 4, "snark.file_size", id="fewer-public"),
        pytest.param(5, 2, 4, "snark.file_size", id="more-public"),
        pytest.param(4, 1, 2**29, "snark.domain_size", id="domain-too-large"),
        pytest.param(4, 1, 2**28, "snark.file_size", id="domain-largest"),
        pytest.param(4, 1, 3, "snark.domain_size", id="domain-odd"),
        pytest.param(4, 1, 0, "snark.domain_size", id="domain-zero"),
        pytest.param(4, 1, 2, "snark.file_coefficient", id="domain-smaller-than-rows"),
    ],
)
def test_oversized_header_of_a_key_is_refused_cheaply(wires, public, domain, code):
    header = next(at for number, at, _ in section_starts(KEY_FILE) if number == zkey.HEADER)
    data = put(KEY_FILE, header + SECTION + 72, struct.pack("<III", wires, public, domain))

    with pytest.raises(InvalidRecord) as refusal:
        zkey.read(data)
    assert refusal.value.code == code
    assert refusal.value.facts["file"] == "zkey"
    assert {"section", "offset"} <= refusal.value.facts.keys()
    assert allocated_bytes(zkey.read, data) <= 10 * len(data)


@pytest.mark.parametrize("protocol", [0, 2, 10])
def test_key_of_another_system_is_refused(protocol):
    with pytest.raises(InvalidRecord) as refusal:
        zkey.read(put(KEY_FILE, HEADER + SECTION, struct.pack("<I", protocol)))
    assert refusal.value.code == "snark.file_protocol"


def test_contribution_is_read_strictly():
    """The parameters of a contribution: known, ascending, within their length."""
    first = snark.chain_key().contributions[0]
    named = zkey.write(replace(snark.chain_key(), contributions=(replace(first, name=b"abc"),)))
    params = named.index(b"\x01\x03abc")
    zkey.read(named)

    for at, new in (
        (params, b"\x04"),
        (params, b"\x00"),
        (params + 1, b"\x02"),
        (params + 1, b"\xff"),
        (params - 4, b"\x04"),
    ):
        with pytest.raises(InvalidRecord) as refusal:
            zkey.read(put(named, at, new))
        assert refusal.value.code in ("snark.file_contribution", "snark.file_truncated", "snark.file_size")
    with pytest.raises(InvalidRecord) as refusal:
        zkey.read(put(named, params - 8, b"\x02"))
    assert refusal.value.code == "snark.file_contribution"


def test_custom_gates_are_refused_and_their_absence_is_not():
    count = struct.pack("<I", 5)
    for body, is_taken in ((b"", True), (bytes(4), True), (b"\x01\0\0\0", False)):
        data = put(CIRCUIT_FILE + b"".join(struct.pack("<IQ", n, len(body)) + body for n in (4, 5)), 8, count)
        if is_taken:
            assert r1cs.read(data) == CUBIC
            continue
        with pytest.raises(InvalidRecord) as refusal:
            r1cs.read(data)
        assert refusal.value.code == "snark.custom_gates"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*USES]), st.integers(0, 4095), st.integers(0, 40), st.binary(max_size=40))
def test_spliced_file_is_read_or_refused(name, where, gone, new):
    """Whatever stands anywhere: a record that survives being written, or a refusal of ours."""
    read, write = {"r1cs": (r1cs.read, r1cs.write), "wtns": (wtns.read, wtns.write), "zkey": (zkey.read, zkey.write)}[
        name
    ]
    data = USES[name][0]
    at = where % len(data)
    try:
        record = read(data[:at] + new + data[at + gone :])
    except InvalidRecord:
        return
    assert write(read(write(record))) == write(record)
