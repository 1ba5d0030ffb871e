from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core import codec
from theblock_node.core.block import (
    HEADER_BYTES,
    Attestation,
    Block,
    Body,
    Header,
    attestation_digest,
    block_id,
    check_unused,
    decode_block,
)
from theblock_node.core.crypto import blake3
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.params import PRESETS
from theblock_node.core.transition import blank_header

BLANK = blank_header(PRESETS["mainnet"], 0, bytes(32), 0, 0)
EMPTY_LIST = bytes.fromhex("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")


def test_a_header_hashes_as_specified():
    genesis = replace(BLANK, difficulty=1)
    full = replace(
        genesis,
        tx_root=EMPTY_LIST,
        receipts_root=bytes.fromhex("60d0bdc51cac8661294fdf146f6bccd5f7e809d3505315547076aa1c94c85368"),
        shard_roots_root=EMPTY_LIST,
        economics_hash=bytes.fromhex("eebd50ede49ff864d11254628092f52e5c82b5b0e8a3e59ea4054f87b04a3df6"),
        blob_root=EMPTY_LIST,
        xshard_root=EMPTY_LIST,
        read_root=EMPTY_LIST,
        poh_hash=blake3(b"theblock/genesis"),
    )

    assert len(codec.encode(genesis)) == HEADER_BYTES
    assert block_id(genesis).hex() == "2449819ebf439b504f063ca1a07c0894068837bd09eb0dda0f987dd4fb54555b"
    assert full.poh_hash.hex() == "653b88a7538f5a273ba13fb9ad16406dc5cce846bf7f7337670ba33ab39fbf5e"
    assert block_id(full).hex() == "23e09a0b56c9e1b1acd743bc882858693fc8c64580ee62284d98b57fd27004d1"


def test_fields_lie_where_the_specification_puts_them():
    data = codec.encode(replace(BLANK, proposer=b"\xaa" * 32, base_fee=7, state_root=b"\xbb" * 32, gas_used=9))

    assert data[:4] == b"TBH1"
    assert data[106:138] == b"\xaa" * 32
    assert data[147:155] == (7).to_bytes(8, "little")
    assert data[219:251] == b"\xbb" * 32
    assert data[515:523] == (9).to_bytes(8, "little")


def test_what_an_attester_signs():
    vote = Attestation(bytes(32), 100, blake3(b"src"), 200, blake3(b"tgt"), bytes(64))

    assert attestation_digest(1, vote).hex() == "43cdbf53f87b2437211cc2a6c83bae7790bdd7253a72ca5218bdd3fd95992208"
    assert attestation_digest(2, vote) != attestation_digest(1, vote)
    assert attestation_digest(1, replace(vote, validator=b"\1" * 32)) == attestation_digest(1, vote)


@given(st.integers(0, HEADER_BYTES * 8 - 1))
def test_every_bit_of_a_header_is_in_its_id(bit):
    data = bytearray(codec.encode(BLANK))
    data[bit // 8] ^= 1 << bit % 8

    changed = codec.decode(Header, bytes(data))

    assert block_id(changed) != block_id(BLANK)


@pytest.mark.parametrize(
    "name",
    [
        "difficulty", "retune_hint", "economics_hash", "blob_root", "xshard_root", "read_root", "poh_hash", "poh_ticks",
        "vdf_commit", "vdf_output_hash", "nonce",
    ],
)  # fmt: skip
def test_fields_of_what_is_not_built_are_zero(name):
    check_unused(BLANK)
    value = getattr(BLANK, name)
    used = replace(BLANK, **{name: b"\1" * 32 if isinstance(value, bytes) else 1})

    with pytest.raises(InvalidBlock) as refused:
        check_unused(used)

    assert (refused.value.code, refused.value.facts["field"]) == ("block.header", name)


def test_a_block_survives_its_bytes_and_no_others():
    block = Block(BLANK, Body(1, ()), bytes(64))
    data = codec.encode(block)

    assert decode_block(data, size_max=len(data)) == block
    assert [field.name for field in fields(Header)][-1] == "nonce"
    for wrong, code in ((data[:-1], "block.decode"), (data + b"\0", "block.size"), (b"", "block.decode")):
        with pytest.raises(InvalidBlock) as refused:
            decode_block(wrong, size_max=len(data))
        assert refused.value.code == code


def test_a_body_says_nothing_of_what_is_not_built():
    data = bytearray(codec.encode(Block(BLANK, Body(1, ()), None)))
    data[HEADER_BYTES + 5] = 1  # One coinbase entry.

    with pytest.raises(InvalidBlock) as refused:
        decode_block(bytes(data), size_max=1024)

    assert refused.value.code == "block.decode"
