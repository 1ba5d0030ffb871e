"""What to ask whom: locators meet, the right peer is asked, and nobody is waited for who is behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.services.chain.sync import (
    LOCATOR_MAX,
    PeerTip,
    choose_peer,
    find_start,
    is_in_sync,
    make_locator,
)


def id_at(height: int) -> bytes:
    return b"ours" + height.to_bytes(8, "big")


def test_a_locator_is_dense_at_the_head_and_reaches_the_base():
    heights = [int.from_bytes(block_id[4:], "big") for block_id in make_locator(1000, 3, id_at)]

    assert heights[:10] == list(range(1000, 990, -1))
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] == 3
    assert make_locator(0, 0, id_at) == [id_at(0)]


@given(head=st.integers(0, 10**9), base=st.integers(0, 10**9))
def test_a_locator_is_small_at_any_height(head, base):
    base = min(base, head)
    locator = make_locator(head, base, id_at)

    assert len(locator) <= LOCATOR_MAX
    assert locator[-1] == id_at(base)


@given(fork=st.integers(0, 400), ours=st.integers(0, 400), theirs=st.integers(0, 400))
def test_two_chains_find_a_block_that_both_have_close_below_the_fork(fork, ours, theirs):
    """The sender's chain and the answerer's are the same up to ``fork``."""
    head, answered = fork + ours, fork + theirs
    known = {id_at(height): height for height in range(answered + 1) if height <= fork}

    start = find_start(make_locator(head, 0, id_at), known.get)

    assert start is not None
    assert start <= fork
    assert fork - start <= 2 * (ours + 10), "no more is sent again than twice what differs"


def test_a_stranger_s_locator_finds_nothing_and_its_tail_is_not_looked_at():
    assert find_start([b"x"], {}.get) is None
    assert find_start([b"x"] * LOCATOR_MAX + [id_at(1)], {id_at(1): 1}.get) is None


@pytest.mark.parametrize(
    ("tips", "chosen"),
    [
        pytest.param([], None, id="nobody"),
        pytest.param([("a", 9, "new"), ("b", 12, "newer")], "b", id="the-highest"),
        pytest.param([("b", 9, "new"), ("a", 9, "new")], "a", id="the-smaller-key-of-equals"),
        pytest.param([("a", 12, "known"), ("b", 9, "new")], "b", id="whose-head-we-have-is-no-help"),
        pytest.param([("a", 4, "new")], None, id="below-what-is-final"),
        pytest.param([("a", 5, "new")], "a", id="another-branch-below-our-head"),
    ],
)
def test_who_is_asked(tips, chosen):
    peers = [PeerTip(key.encode(), height, block_id.encode()) for key, height, block_id in tips]

    found = choose_peer(peers, lambda block_id: block_id == b"known", above=4)

    assert (None if found is None else found.key.decode()) == chosen


def test_two_blocks_behind_is_still_in_step():
    assert is_in_sync(10, [])
    assert is_in_sync(10, [PeerTip(b"a", 12, b""), PeerTip(b"b", 3, b"")])
    assert not is_in_sync(10, [PeerTip(b"a", 13, b"")])
