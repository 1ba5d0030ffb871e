"""Chunks: the specification's vectors, round trips, and what must not open."""

from __future__ import annotations

from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core.errors import InvalidRecord
from theblock_node.services.storage import pipeline
from theblock_node.services.storage.pipeline import CodedChunk, Layout

KEY = bytes(range(32))
SALT = b"\x11" * 16
LAYOUT = Layout(4, 2, 2**20, "zstd", pipeline.SEALED)


def decode(coded: CodedChunk, slots: list[int], layout: Layout = LAYOUT, **changes: object) -> bytes:
    facts = {
        "plain_len": coded.plain_len,
        "packed_len": coded.packed_len,
        "cipher_len": coded.cipher_len,
        "key": KEY,
        "salt": SALT,
        "index": 0,
        "shards": {slot: coded.shards[slot] for slot in slots},
        **changes,
    }
    return pipeline.decode_chunk(facts.pop("shards"), facts.pop("index"), layout, **facts)


def test_ciphertext_is_that_of_the_specification():
    coded = pipeline.encode_chunk(b"hello chunk", 0, replace(LAYOUT, compression="none"), key=KEY, salt=SALT)

    cipher = b"".join(coded.shards[:4])[: coded.cipher_len].hex()

    assert cipher == "00000000000000000000000070dd2e5dc2c6c5b9660f374c43aae1a851ccc31c024d2ccde8063b"
    assert coded.shards[1].hex() == "000070dd2e5dc2c6c5b9"
    assert coded.shard_ids[0].hex() == "038b751395f06583ce026da86788bc71664bbdc70af58192c8bf0b2e9cde398e"
    mac = blake3(b"hello chunk", key=KEY).hexdigest()
    assert mac == "d7d4c4d92391bdcd5bd19f29778346e16177a904142231da2c1a87f33ed70fa6"


@given(
    st.one_of(st.binary(min_size=1, max_size=3000), st.integers(1, 200_000).map(bytes)),
    st.integers(1, 6),
    st.integers(0, 4),
    st.sampled_from(pipeline.COMPRESSIONS),
    st.sampled_from(pipeline.ENCRYPTIONS),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_chunk_comes_back_from_any_shards_that_suffice(plain, data, parity, compression, encryption, chance):
    layout = Layout(data, parity, 2**20, compression, encryption)
    coded = pipeline.encode_chunk(plain, 5, layout, key=KEY, salt=SALT)
    slots = chance.sample(range(layout.n), data)

    assert decode(coded, slots, layout, index=5) == plain


def test_what_packs_well_is_packed_and_what_does_not_stays():
    sealing = pipeline.SEAL_BYTES
    packed = pipeline.encode_chunk(bytes(100_000), 0, LAYOUT, key=KEY, salt=SALT)
    stays = pipeline.encode_chunk(blake3(b"x").digest(length=100_000), 0, LAYOUT, key=KEY, salt=SALT)

    assert packed.packed_len < 1000
    assert (stays.packed_len, stays.cipher_len) == (100_000, 100_000 + sealing)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"key": bytes(32)}, "storage.bad_key", id="other-key"),
        pytest.param({"salt": bytes(16)}, "storage.bad_key", id="other-salt"),
        pytest.param({"index": 1}, "storage.integrity", id="other-place"),
        pytest.param({"plain_len": 99_999}, "storage.bad_key", id="other-length"),
        pytest.param({"cipher_len": 40}, "storage.bad_key", id="cut"),
        pytest.param({"packed_len": 7}, "storage.integrity", id="other-packed-length"),
        pytest.param({"shards": {}}, "storage.unrecoverable", id="no-shards"),
    ],
)
def test_what_does_not_fit_is_refused(changes, code):
    coded = pipeline.encode_chunk(bytes(100_000), 0, LAYOUT, key=KEY, salt=SALT)
    with pytest.raises(InvalidRecord) as refused:
        decode(coded, [0, 1, 2, 3], **changes)
    assert refused.value.code == code


def test_spoiled_shard_never_opens():
    coded = pipeline.encode_chunk(b"hello chunk", 0, LAYOUT, key=KEY, salt=SALT)
    spoiled = bytes([coded.shards[5][0] ^ 1]) + coded.shards[5][1:]
    with pytest.raises(InvalidRecord) as refused:
        decode(coded, [], shards={0: coded.shards[0], 1: coded.shards[1], 2: coded.shards[2], 5: spoiled})
    assert refused.value.code in ("storage.bad_key", "storage.integrity")


def test_bomb_is_refused_before_it_unpacks():
    layout = replace(LAYOUT, encryption=pipeline.PLAIN)
    coded = pipeline.encode_chunk(bytes(4 * 2**20), 0, layout, key=KEY, salt=SALT)
    with pytest.raises(InvalidRecord) as refused:
        decode(coded, [0, 1, 2, 3], layout, plain_len=1000)
    assert refused.value.code == "storage.decompress"


@given(st.binary(max_size=400), st.integers(1, 5000))
@settings(max_examples=100, deadline=None)
def test_any_bytes_unpack_to_no_more_than_was_said_or_are_refused(data, plain_len):
    layout = replace(LAYOUT, encryption=pipeline.PLAIN, data=1, parity=0)
    facts = {"plain_len": plain_len, "packed_len": len(data), "cipher_len": len(data), "key": KEY, "salt": SALT}
    code = ""
    try:
        assert len(pipeline.decode_chunk({0: data}, 0, layout, **facts)) == plain_len
    except InvalidRecord as refused:
        code = refused.code
    assert code in ("", "storage.decompress", "storage.integrity")


@pytest.mark.parametrize(
    ("size", "data", "step"),
    [
        pytest.param(1, 2, 2**20, id="small"),
        pytest.param(1000 * 2**20, 2, 2**20, id="just-fits"),
        pytest.param(1000 * 2**20 + 1, 2, 2 * 2**20, id="one-more"),
        pytest.param(4000 * 2**20, 2, 4 * 2**20, id="largest"),
    ],
)
def test_larger_objects_take_larger_chunks(size, data, step):
    assert pipeline.choose_chunk_bytes(size, data, chunks_max=1000) == step


@pytest.mark.parametrize(
    ("size", "data"), [pytest.param(4000 * 2**20 + 1, 2, id="two"), pytest.param(2**41, 1, id="one")]
)
def test_object_that_no_manifest_could_describe_is_refused(size, data):
    with pytest.raises(InvalidRecord, match="too_large"):
        pipeline.choose_chunk_bytes(size, data, chunks_max=1000)
