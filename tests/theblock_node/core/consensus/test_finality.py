from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.consensus import finality
from theblock_node.core.consensus.finality import FinalityGadget


@pytest.mark.parametrize(("total", "needed"), [(0, 0), (1, 1), (3, 2), (30, 20), (55, 37), (100, 67)])
def test_threshold_is_two_thirds_rounded_up(total, needed):
    assert finality.threshold(total) == needed


@pytest.mark.parametrize(
    ("weights", "votes", "final"),
    [
        pytest.param((10, 10, 10), "1A 2A", "A", id="two-of-three"),
        pytest.param((45, 30, 25), "1A 1B 2B 3B", "B", id="an-equivocator-is-left-out"),
        pytest.param((25, 25, 25, 25), "1A 2A 3B 4B", None, id="a-tie"),
        pytest.param((25, 25, 25, 25), "1A 2A 3B 4B 3A", "A", id="equivocation-breaks-a-tie"),
        pytest.param((35, 35, 15, 15), "1X 3Y 2X 3X", "X", id="at-that-moment"),
        pytest.param((1,), "1A", "A", id="alone"),
        pytest.param((10, 10, 10), "1A 4A 5A", None, id="strangers-do-not-count"),
    ],
)
def test_votes_of_one_height_decide_as_in_the_reference(weights, votes, final):
    gadget = FinalityGadget({b"%d" % at: weight for at, weight in enumerate(weights, 1)})

    last = [gadget.vote(vote[0].encode(), vote[1].encode()) for vote in votes.split()][-1]

    assert gadget.finalized == (None if final is None else final.encode())
    assert last is (final is not None)


def test_what_is_final_stays():
    gadget = FinalityGadget({b"1": 10, b"2": 10, b"3": 10})
    for voter in (b"1", b"2"):
        gadget.vote(voter, b"A")
    for voter in (b"1", b"2", b"3"):
        gadget.vote(voter, b"B")

    assert gadget.finalized == b"A"
    assert gadget.equivocators == {b"1", b"2"}


def test_two_targets_are_never_final_while_less_than_a_third_cheats():
    """Every way in which nodes can see votes of 3 honest and 1 cheating validator of equal weight."""
    weights = {b"%d" % at: 10 for at in range(4)}
    for honest in product((b"A", b"B"), repeat=3):
        seen = set()
        for cheat in (b"A", b"B"):
            gadget = FinalityGadget(weights)
            for at, target in enumerate((*honest, cheat)):
                gadget.vote(b"%d" % at, target)
            seen.add(gadget.finalized)
        assert len(seen - {None}) <= 1


def test_planted_half_of_cheats_does_make_two_targets_final():
    """The check above would see it."""
    seen = set()
    for target in (b"A", b"B"):
        gadget = FinalityGadget({b"%d" % at: 10 for at in range(4)})
        for voter in (b"0", b"1", b"2" if target == b"A" else b"3"):
            gadget.vote(voter, target)
        seen.add(gadget.finalized)
    assert seen == {b"A", b"B"}


@pytest.mark.parametrize(
    ("first", "second", "double", "surround"),
    [
        pytest.param((0, b"s", 4, b"a"), (0, b"s", 4, b"b"), True, False, id="two-targets"),
        pytest.param((0, b"s", 4, b"a"), (2, b"t", 4, b"a"), True, False, id="two-sources"),
        pytest.param((0, b"s", 4, b"a"), (0, b"s", 4, b"a"), False, False, id="the-same"),
        pytest.param((2, b"t", 4, b"a"), (0, b"s", 6, b"b"), False, True, id="within"),
        pytest.param((0, b"s", 4, b"a"), (0, b"s", 6, b"b"), False, False, id="same-source"),
        pytest.param((0, b"s", 4, b"a"), (4, b"a", 8, b"b"), False, False, id="one-after-the-other"),
    ],
)
def test_contradictions(first, second, double, surround):
    assert finality.is_double_vote(first, second) is double
    assert finality.is_surround_vote(first, second) is surround


@given(st.lists(st.integers(1, 10**15), min_size=1, max_size=20))
def test_the_rest_still_decides_without_the_spare(weights):
    spare = finality.count_spare(weights)
    kept = sorted(weights)[: len(weights) - spare]

    assert sum(kept) >= finality.threshold(sum(weights))
    assert sum(kept[:-1]) < finality.threshold(sum(weights))
