"""The workload gpu_hash: its bytes are fixed, and an output that is not what it claims is found."""

from __future__ import annotations

import hashlib

import pytest
from blake3 import blake3
from theblock_node.core import merkle
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashOpening, HashTask

CONTEXT = b"\x09" * 33


def task(count: int, *, algorithm: HashAlgorithm = HashAlgorithm.BLAKE3, start: int = 0) -> HashTask:
    return HashTask(algorithm, b"\x05" * 32, start, count)


def test_messages_are_seed_and_number():
    assert gpu_hash.message(task(1, start=258), 1) == b"\x05" * 32 + b"\x03\x01" + bytes(6)
    assert gpu_hash.message(task(2, start=2**64 - 1), 1) == b"\x05" * 32 + bytes(8)


def test_digests_are_those_of_libraries_we_did_not_write():
    message = b"\x05" * 32 + b"\x07" + bytes(7)
    assert gpu_hash.compute_digest(task(8), 7) == blake3(message).digest()
    assert gpu_hash.compute_digest(task(8, algorithm=HashAlgorithm.SHA256), 7) == hashlib.sha256(message).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 15, 16, 17, 33, 100])
def test_tree_of_levels_is_the_list_tree(count):
    digests = gpu_hash.compute_digests(task(count))
    levels = gpu_hash.build_levels(b"".join(digests))

    assert [len(level) // 32 for level in levels] == gpu_hash.level_sizes(count)
    assert levels[-1] == merkle.list_root(digests)
    assert gpu_hash.open_levels(CONTEXT, levels) == gpu_hash.open_output(CONTEXT, digests)


@pytest.mark.parametrize("count", [1, 16, 17, 1000])
def test_output_is_accepted_and_opens_what_follows_from_it(count):
    root, openings = gpu_hash.open_output(CONTEXT, gpu_hash.compute_digests(task(count)))
    indexes = gpu_hash.opened_indexes(CONTEXT, root, count)

    assert len(indexes) == min(count, gpu_hash.OPENINGS) == len(openings)
    assert indexes == sorted(set(indexes))
    assert gpu_hash.verify_output(task(count), CONTEXT, root, openings)
    other = gpu_hash.opened_indexes(b"\x08" * 33, root, count)
    assert (other == indexes) == (count <= gpu_hash.OPENINGS)


def test_output_with_a_fault_is_found():
    honest = task(1000)
    digests = gpu_hash.compute_digests(honest)
    root, openings = gpu_hash.open_output(CONTEXT, digests)
    first = openings[0]
    bent = HashOpening((bytes(32), *first.path[1:]))

    assert not gpu_hash.verify_output(honest, b"\x08" * 33, root, openings)
    assert not gpu_hash.verify_output(task(1000, start=1), CONTEXT, root, openings)
    assert not gpu_hash.verify_output(task(1001), CONTEXT, root, openings)
    assert not gpu_hash.verify_output(honest, CONTEXT, bytes(32), openings)
    assert not gpu_hash.verify_output(honest, CONTEXT, root, openings[:-1])
    assert not gpu_hash.verify_output(honest, CONTEXT, root, (bent, *openings[1:]))
    assert not gpu_hash.verify_output(honest, CONTEXT, root, (HashOpening(first.path[:-1]), *openings[1:]))


def test_half_invented_output_has_no_chance():
    # Half of the digests are made up; what is opened follows from the root, so some of the made-up ones are.
    honest = task(1000)
    digests = gpu_hash.compute_digests(honest)
    lazy = digests[:500] + [bytes(32)] * 500
    assert not gpu_hash.verify_output(honest, CONTEXT, *gpu_hash.open_output(CONTEXT, lazy))


@pytest.mark.parametrize(("count", "units"), [(1, 1), (26_214, 1), (26_215, 2), (2**22, 160)])
def test_units_are_mebibytes_rounded_up(count, units):
    assert gpu_hash.compute_units(task(count)) == units


def test_bytes_of_an_output_never_change():
    root, openings = gpu_hash.open_output(CONTEXT, gpu_hash.compute_digests(task(5)))
    assert root.hex() == "d73dc5cebb717eb250244af756df9856fe224d55bc3ca2a0b9892924dda963a1"
    assert len(openings[0].path) == 3
    assert len(openings[4].path) == 1


def test_task_is_read_from_json():
    read = gpu_hash.read_task('{"algorithm": "sha256", "count": 5, "start": "18446744073709551615"}', b"\x05" * 32)
    assert read == HashTask(HashAlgorithm.SHA256, b"\x05" * 32, 2**64 - 1, 5)


@pytest.mark.parametrize(
    ("params", "seed", "field"),
    [
        pytest.param("{", b"\x05" * 32, "params_json", id="no-json"),
        pytest.param("[" * 4096, b"\x05" * 32, "params_json", id="too-deep"),
        pytest.param("[]", b"\x05" * 32, "params_json", id="no-object"),
        pytest.param(" " * 4097, b"\x05" * 32, "params_json", id="too-long"),
        pytest.param('{"algorithm": "blake3", "count": 1, "x": 1}', b"\x05" * 32, "params_json", id="extra"),
        pytest.param('{"count": 1}', b"\x05" * 32, "algorithm", id="no-algorithm"),
        pytest.param('{"algorithm": 0, "count": 1}', b"\x05" * 32, "algorithm", id="algorithm-by-number"),
        pytest.param('{"algorithm": "blake3"}', b"\x05" * 32, "count", id="no-count"),
        pytest.param('{"algorithm": "blake3", "count": true}', b"\x05" * 32, "count", id="count-is-no-number"),
        pytest.param('{"algorithm": "blake3", "count": 0}', b"\x05" * 32, "count", id="nothing"),
        pytest.param('{"algorithm": "blake3", "count": 4194305}', b"\x05" * 32, "count", id="too-much"),
        pytest.param('{"algorithm": "blake3", "count": 1, "start": 0}', b"\x05" * 32, "start", id="start-is-a-number"),
        pytest.param('{"algorithm": "blake3", "count": 1, "start": "-1"}', b"\x05" * 32, "start", id="start-below-0"),
        pytest.param('{"algorithm": "blake3", "count": 1, "start": "18446744073709551616"}', b"\x05" * 32, "start",
                     id="start-beyond-64-bits"),
        pytest.param('{"algorithm": "blake3", "count": 1}', b"\x05", "seed", id="short-seed"),
    ],
)  # fmt: skip
def test_task_is_refused(params, seed, field):
    with pytest.raises(InvalidRecord) as refused:
        gpu_hash.read_task(params, seed)
    assert (refused.value.code, refused.value.facts["field"]) == ("compute.invalid_workload", field)
