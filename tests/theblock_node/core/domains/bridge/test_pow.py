"""Foreign headers: Bitcoin's real ones, its arithmetic, and a chain of our own across a retarget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.headers import EASY_BITS, START_TIME, mine_bitcoin, real_headers
from theblock_node.core import codec, crypto
from theblock_node.core.domains.bridge import pow as work
from theblock_node.core.domains.bridge.pow import Before, Profile
from theblock_node.core.errors import InvalidTx

BITCOIN = Profile.BITCOIN
LIMIT = work.BITCOIN_POW_LIMIT_BITS


def test_bitcoins_own_headers_stand():
    before = work.begin(work.parse_header(BITCOIN, "bitcoin", work.BITCOIN_GENESIS), 0)
    total = 0
    for data in real_headers():
        header = work.parse_header(BITCOIN, "bitcoin", data)
        work.check_header(BITCOIN, header, before, limit_bits=LIMIT, now_seconds=1_790_000_000)
        before, total = work.follow(before, header), total + work.compute_work(header.bits)

    assert before.height == 1111
    assert before.hash.hex()[:16] == "00000000ca59764b"
    assert before.hash.hex()[-6:] == "8d5805"
    assert total == 1111 * 4_295_032_833


@pytest.mark.parametrize(
    ("bits", "spent", "expected"),
    [
        pytest.param(0x1B0404CB, work.RETARGET_SECONDS // 2, 0x1B020265, id="half-the-time"),
        pytest.param(0x1B0404CB, work.RETARGET_SECONDS * 10, 0x1B10132C, id="clamped-to-four"),
        pytest.param(0x1D00FFFF, work.RETARGET_SECONDS * 2, 0x1D00FFFF, id="never-above-the-limit"),
    ],
)
def test_retarget_follows_the_vectors(bits, spent, expected):
    before = Before(bytes(32), 2015, bits, 1_000, (1_000 + spent,))

    assert work.expected_bits(BITCOIN, before, LIMIT) == expected


def test_difficulty_rises_on_a_chain_of_our_own():
    """2016 headers in a quarter of the planned time make the next ones four times as hard."""
    before = work.begin(work.parse_header(BITCOIN, "own", mine_bitcoin(bytes(32), START_TIME)), 0)
    time = START_TIME
    for _ in range(2015):
        time += 100
        header = work.parse_header(BITCOIN, "own", mine_bitcoin(before.hash, time, before.bits))
        work.check_header(BITCOIN, header, before, limit_bits=EASY_BITS, now_seconds=time)
        before = work.follow(before, header)

    harder = work.expected_bits(BITCOIN, before, EASY_BITS)
    lazy = work.parse_header(BITCOIN, "own", mine_bitcoin(before.hash, time + 1, EASY_BITS))
    with pytest.raises(InvalidTx) as refused:
        work.check_header(BITCOIN, lazy, before, limit_bits=EASY_BITS, now_seconds=time)
    honest = work.parse_header(BITCOIN, "own", mine_bitcoin(before.hash, time + 1, harder))
    work.check_header(BITCOIN, honest, before, limit_bits=EASY_BITS, now_seconds=time)

    assert refused.value.code == "bridge.bad_bits"
    assert work.compute_target(harder) * 4 == pytest.approx(work.compute_target(EASY_BITS), rel=1e-4)
    assert work.follow(before, honest).period_time == time + 1


def test_tbpow_header_is_hashed_as_the_vector_says():
    leaves = [crypto.blake3(b"\x00" + f"deposit-{at}".encode()) for at in range(4)]
    pairs = [crypto.blake3(b"\x01" + leaves[at] + leaves[at + 1]) for at in (0, 2)]
    root = crypto.blake3(b"\x01" + b"".join(pairs))
    assert root.hex() == "714792ad14c1cc2694f5ba3ff4efe14133969af2d3501c2b7759f751419cfa6d"

    data = codec.encode(work.TbpowHeader("ext-1", 1, bytes(32), root, 1_760_000_000, 0x1F7FFFFF, 230))
    header = work.parse_header(Profile.TBPOW, "ext-1", data)

    assert header.hash.hex() == "00076386542ae89076f7faee95d86cfaf21a1f7b30ed518c0705db411232ca8c"
    work.check_work(header)
    assert work.compute_work(header.bits) == 512
    assert work.compute_work(EASY_BITS) == 2


@pytest.mark.parametrize("bits", [0, 0x01800000, 0x1D800000, 0x2200FFFF + 0x010000, 0x23000001, 0xFF7FFFFF])
def test_nonsense_bits_are_refused(bits):
    with pytest.raises(InvalidTx) as refused:
        work.compute_target(bits)

    assert refused.value.code == "bridge.bad_bits"


@given(st.integers(1, 2**255))
def test_bits_round_a_target_down_and_are_stable(target):
    bits = work.compute_bits(target)

    assert work.compute_target(bits) <= target
    assert work.compute_bits(work.compute_target(bits)) == bits


@given(st.integers(0, 1110), st.integers(0, 79), st.integers(1, 255))
def test_no_changed_byte_of_a_real_header_passes(index, offset, change):
    headers = real_headers()
    parent = work.BITCOIN_GENESIS if index == 0 else headers[index - 1]
    known = work.parse_header(BITCOIN, "bitcoin", parent)
    before = Before(known.hash, index, known.bits, known.timestamp, (known.timestamp - 10_000,))
    forged = bytearray(headers[index])
    forged[offset] ^= change

    header = work.parse_header(BITCOIN, "bitcoin", bytes(forged))
    with pytest.raises(InvalidTx) as refused:
        work.check_header(BITCOIN, header, before, limit_bits=LIMIT, now_seconds=1_790_000_000)

    assert refused.value.code in ("bridge.unknown_parent", "bridge.bad_bits", "bridge.bad_pow", "bridge.bad_time")
