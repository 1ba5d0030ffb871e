"""Shards on disk: bounded, checked, and whole after a kill at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import retrieval
from theblock_node.services.storage.files import Kept, ShardFiles, open_files
from theblock_node.store.engine import StoreError

UPLOAD, OTHER = b"u" * 32, b"v" * 32
KILLED = """
import sys
from pathlib import Path
from theblock_node.core.proofs import retrieval
from theblock_node.services.storage.files import open_files

files = open_files(Path(sys.argv[1]), capacity_bytes=10**9)
for chunk in range(10**6):
    data = chunk.to_bytes(4, "big") * 5000
    files.add(bytes(32), chunk, 0, retrieval.shard_id(0, data), data, now_ms=chunk)
    print(chunk, flush=True)
"""


@pytest.fixture
def files(tmp_path):
    made = open_files(tmp_path, capacity_bytes=1000)
    yield made
    made.close()


def add(files: ShardFiles, data: bytes, *, upload: bytes = UPLOAD, chunk: int = 0, slot: int = 0, at: int = 0) -> bytes:
    shard_id = retrieval.shard_id(slot, data)
    files.add(upload, chunk, slot, shard_id, data, now_ms=at)
    return shard_id


def on_disk(folder: Path) -> set[str]:
    return {path.name for path in (folder / "shards").glob("??/*")}


def test_shard_reads_back_after_reopening(tmp_path, files):
    shard_id = add(files, b"a" * 100)
    files.close()

    again = open_files(tmp_path, capacity_bytes=1000)

    assert again.read(shard_id) == b"a" * 100
    assert (again.used_bytes, again.count) == (100, 1)
    again.close()


def test_adding_again_costs_nothing_and_capacity_is_kept(files):
    add(files, b"a" * 600)
    add(files, b"a" * 600)
    assert (files.used_bytes, files.count) == (600, 1)

    with pytest.raises(InvalidRecord) as refused:
        add(files, b"b" * 401, chunk=1)

    assert refused.value.code == "storage.capacity_exhausted"
    add(files, b"b" * 400, chunk=1)
    assert files.used_bytes == 1000


def test_capacity_holds_when_many_add_at_once(files):
    def attempt(chunk: int) -> bool:
        try:
            add(files, bytes([chunk]) * 300, chunk=chunk)
        except InvalidRecord:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(attempt, range(16)))

    assert sum(taken) == files.count <= 3
    assert files.used_bytes == 300 * files.count


def test_shard_of_two_uploads_goes_with_the_last(tmp_path, files):
    shard_id = add(files, b"a" * 100)
    add(files, b"a" * 100, upload=OTHER)
    assert files.used_bytes == 100

    files.drop(UPLOAD, shard_id)
    assert files.read(shard_id) == b"a" * 100
    files.drop(OTHER, shard_id)

    assert (files.used_bytes, files.count) == (0, 0)
    assert on_disk(tmp_path) == set()


@pytest.mark.parametrize(
    ("spoil"),
    [
        pytest.param(lambda path: path.write_bytes(b"b" * 100), id="other-bytes"),
        pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
        pytest.param(lambda path: path.unlink(), id="gone"),
    ],
)
def test_spoiled_shard_is_forgotten_and_missed(tmp_path, files, spoil):
    shard_id = add(files, b"a" * 100)
    name = shard_id.hex()
    spoil(tmp_path / "shards" / name[:2] / name)

    with pytest.raises(InvalidRecord) as refused:
        files.read(shard_id)

    assert refused.value.code == "storage.unknown_shard"
    wanted = [(0, 0, shard_id, 100)]
    assert files.missing(UPLOAD, wanted) == wanted
    assert files.used_bytes == 0
    add(files, b"a" * 100)
    assert files.read(shard_id) == b"a" * 100


def test_opening_removes_what_no_row_knows_and_forgets_what_is_not_there(tmp_path, files):
    kept, lost = add(files, b"a" * 100), add(files, b"b" * 100, chunk=1)
    files.close()
    (tmp_path / "shards" / lost.hex()[:2] / lost.hex()).unlink()
    (tmp_path / "shards" / "ab").mkdir(exist_ok=True)
    (tmp_path / "shards" / "ab" / ("ab" * 32)).write_bytes(b"orphan")
    (tmp_path / "shards" / "ab" / ("ab" * 32 + ".1.new")).write_bytes(b"half")

    again = open_files(tmp_path, capacity_bytes=1000)

    assert on_disk(tmp_path) == {kept.hex()}
    assert (again.used_bytes, again.count) == (100, 1)
    assert again.missing(UPLOAD, [(1, 0, lost, 100)]) == [(1, 0, lost, 100)]
    again.close()


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    process.stdout.close()
    process.wait(10)

    files = open_files(tmp_path, capacity_bytes=10**9)

    assert files.count >= len(told) >= 20
    for chunk in told:
        data = chunk.to_bytes(4, "big") * 5000
        assert files.read(retrieval.shard_id(0, data)) == data
    assert len(on_disk(tmp_path)) == files.count
    files.close()


@pytest.mark.parametrize(
    ("shard_id", "data", "code"),
    [
        pytest.param(bytes(32), b"a", "storage.shard_mismatch", id="other-id"),
        pytest.param(retrieval.shard_id(1, b"a"), b"a", "storage.shard_mismatch", id="id-of-another-slot"),
        pytest.param(retrieval.shard_id(0, b"b"), b"b", "storage.shard_exists", id="place-is-taken"),
    ],
)
def test_shard_that_is_not_what_it_says_is_refused(files, shard_id, data, code):
    add(files, b"first")
    with pytest.raises(InvalidRecord) as refused:
        files.add(UPLOAD, 0, 0, shard_id, data, now_ms=0)
    assert refused.value.code == code
    assert files.count == 1


def test_disk_that_fails_keeps_nothing_and_is_no_fault_of_the_caller(tmp_path, files):
    blocked = tmp_path / "shards" / retrieval.shard_id(0, b"a" * 900).hex()[:2]
    blocked.write_bytes(b"no folder")

    with pytest.raises(StoreError) as failed:
        add(files, b"a" * 900)

    assert failed.value.code == "store.io"
    assert (files.used_bytes, files.count) == (0, 0)
    blocked.unlink()
    add(files, b"a" * 900)
    assert files.used_bytes == 900


def test_dropping_an_upload_may_spare_some_slots(files):
    add(files, b"a" * 10)
    spared = add(files, b"b" * 10, slot=2)
    add(files, b"c" * 10, upload=OTHER)

    files.drop_upload(UPLOAD, kept_slots=[2])

    assert files.slots_of(UPLOAD) == {2}
    assert files.read(spared) == b"b" * 10
    files.drop_upload(UPLOAD)
    assert (files.slots_of(UPLOAD), files.used_bytes) == (set(), 10)


def test_upload_is_stale_once_nothing_was_added_for_long(files):
    add(files, b"a", at=10)
    add(files, b"b", at=20, chunk=1)
    assert files.stale_uploads(before_ms=20) == []
    assert files.stale_uploads(before_ms=21) == [UPLOAD]


def test_manifest_is_found_by_every_name_that_it_had(files):
    files.keep_manifest(Kept(b"c" * 32, UPLOAD, b"1" * 32, b"first", b"k" * 32, None))
    files.keep_manifest(Kept(b"c" * 32, UPLOAD, b"2" * 32, b"second", None, 7))

    now = Kept(b"c" * 32, UPLOAD, b"2" * 32, b"second", b"k" * 32, 7)
    assert files.named(b"1" * 32) == files.named(b"2" * 32) == files.manifest(b"c" * 32) == now
    assert files.manifests() == files.sealed(UPLOAD) == [now]
    files.drop_manifest(b"c" * 32)
    assert (files.named(b"1" * 32), files.manifests()) == (None, [])
