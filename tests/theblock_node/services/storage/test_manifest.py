"""Manifests: their names, who holds what, and those that no reader could use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from theblock_node.core import codec, merkle
from theblock_node.core.errors import InvalidRecord
from theblock_node.services.storage import manifest as manifests
from theblock_node.services.storage import pipeline
from theblock_node.services.storage.manifest import Manifest, read_manifest, to_row, with_holders
from theblock_node.services.storage.pipeline import Layout

KEY, SALT = bytes(range(32)), b"\x11" * 16
NAMES = ("a", "b", "c", "a", "b", "c")


def make_manifest(*plain: bytes, encryption: str = pipeline.SEALED) -> Manifest:
    chunks = plain or (b"x" * 1000, b"y" * 10)
    layout = Layout(4, 2, len(chunks[0]), "none", encryption)
    rows = [
        to_row(pipeline.encode_chunk(chunk, index, layout, key=KEY, salt=SALT)) for index, chunk in enumerate(chunks)
    ]
    return Manifest(
        Manifest.VERSION, SALT, sum(map(len, chunks)), bytes(32), "none", encryption, "reed-solomon", 4, 2, 2,
        layout.chunk_bytes, tuple(rows), NAMES,
    )  # fmt: skip


def test_manifest_reads_back_and_keeps_its_names():
    made = make_manifest()

    read = read_manifest(codec.encode(made))

    assert read == made
    assert (read.manifest_id, read.core_id) == (made.manifest_id, made.core_id)
    assert read.shards_root == merkle.list_root([shard_id for row in made.chunks for shard_id in row.shard_ids])
    assert read.slots_by_provider() == {"a": (0, 3), "b": (1, 4), "c": (2, 5)}


def test_moving_slots_changes_the_name_and_not_the_core():
    made = make_manifest()

    moved = with_holders(made, {0: "d", 3: "d"})

    assert moved.slots_by_provider() == {"d": (0, 3), "b": (1, 4), "c": (2, 5)}
    assert moved.manifest_id != made.manifest_id
    assert (moved.core_id, moved.shards_root) == (made.core_id, made.shards_root)


def test_largest_manifest_fits_into_a_message():
    for n in (2, 3, 24, 255):
        count = manifests.chunks_max(n)
        size = count * (24 + 32 * n) + 68 * n + 1024
        assert count > 100
        assert size <= manifests.MANIFEST_BYTES_MAX


def changed(**changes: object) -> Manifest:
    return replace(make_manifest(), **changes)


def with_row(**changes: object) -> Manifest:
    made = make_manifest()
    return replace(made, chunks=(made.chunks[0], replace(made.chunks[1], **changes)))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda: changed(compression="lz77-rle"), "storage.manifest_invalid_algorithm", id="compression"),
        pytest.param(lambda: changed(encryption="aes"), "storage.manifest_invalid_algorithm", id="encryption"),
        pytest.param(lambda: changed(erasure="xor"), "storage.manifest_invalid_algorithm", id="erasure"),
        pytest.param(lambda: changed(rs_matrix=1), "storage.manifest_invalid_algorithm", id="matrix"),
        pytest.param(lambda: changed(data=0), "storage.manifest_slots", id="no-data"),
        pytest.param(lambda: changed(data=255), "storage.manifest_slots", id="too-many"),
        pytest.param(lambda: changed(providers=NAMES[1:]), "storage.manifest_slots", id="a-provider-short"),
        pytest.param(lambda: changed(total_len=1011), "storage.manifest_bad_lengths", id="total"),
        pytest.param(lambda: changed(chunks=(), total_len=0), "storage.manifest_bad_lengths", id="empty"),
        pytest.param(lambda: changed(chunk_len=999), "storage.manifest_bad_lengths", id="chunk-above-nominal"),
        pytest.param(lambda: changed(chunk_len=1001), "storage.manifest_bad_lengths", id="first-chunk-short"),
        pytest.param(lambda: with_row(shard_len=11), "storage.manifest_bad_lengths", id="shard-length"),
        pytest.param(lambda: with_row(cipher_len=39), "storage.manifest_bad_lengths", id="cipher-length"),
        pytest.param(lambda: with_row(packed_len=11, cipher_len=39), "storage.manifest_bad_lengths", id="packed-above"),
        pytest.param(lambda: with_row(shard_ids=(bytes(32),) * 5), "storage.manifest_slots", id="a-shard-short"),
    ],
)
def test_manifest_that_no_reader_could_use_is_refused(make, code):
    with pytest.raises(InvalidRecord) as refused:
        read_manifest(codec.encode(make()))
    assert refused.value.code == code


def test_bytes_that_are_no_manifest_are_refused():
    data = codec.encode(make_manifest())
    for wrong in (b"", data[:-1], data + b"\0", b"\x02" + data[1:]):
        with pytest.raises(InvalidRecord, match=r"codec\."):
            read_manifest(wrong)
    with pytest.raises(InvalidRecord, match="too_large"):
        read_manifest(bytes(manifests.MANIFEST_BYTES_MAX + 1))
