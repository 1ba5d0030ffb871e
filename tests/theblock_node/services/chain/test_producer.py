"""Turns: everyone agrees whose slot it is, nobody comes twice, and the second comes after the first's time."""

from __future__ import annotations

from support.chain import GENESIS_SECONDS, Chain, key_of
from theblock_node.core import header as headers
from theblock_node.services.chain import producer
from theblock_node.services.chain.producer import compute_next_look_ms, plan_turn

NAMES = [f"v-{at}" for at in range(4)]
START_MS = GENESIS_SECONDS * 1000


def turn_of(chain: Chain, name: str, *, now_ms: int = START_MS, after_slot: int = 0):
    own = key_of(name).public_key
    return plan_turn(chain.state, chain.params, chain.tip.header, own, now_ms=now_ms, after_slot=after_slot)


def test_every_slot_has_one_leader_and_another_as_the_second():
    chain = Chain()
    turns = {}
    for name in NAMES:
        slot = 0
        while (turn := turn_of(chain, name, after_slot=slot)) is not None and turn.slot <= 40:
            slot = turn.slot
            turns.setdefault(slot, []).append((turn.is_leader, turn))

    assert sorted(turns) == list(range(1, 41))
    for slot, found in turns.items():
        assert sorted(is_leader for is_leader, _ in found) == [False, True]
        start_ms = headers.slot_start_ms(START_MS, slot, chain.params)
        for is_leader, turn in found:
            assert turn.at_ms == start_ms + (0 if is_leader else chain.params.leader_timeout_ms)
            assert turn.at_ms < turn.until_ms == start_ms + chain.params.block_time_ms


def test_a_turn_is_never_before_the_head_the_clock_or_what_was_signed():
    chain = Chain()
    chain.run(5)

    assert all(turn_of(chain, name).slot > 5 for name in NAMES)
    assert all(turn_of(chain, name, after_slot=30).slot > 30 for name in NAMES)
    assert all(turn_of(chain, name, now_ms=START_MS + 20_500).slot >= 20 for name in NAMES)


def test_who_has_no_seat_has_no_turn_and_looks_again_before_the_view_ends():
    chain = Chain()

    assert turn_of(chain, "v-9") is None
    wait_ms = compute_next_look_ms(chain.state, chain.params, START_MS) - START_MS
    assert 0 < wait_ms < producer.SLOTS_AHEAD * chain.params.block_time_ms


def test_a_block_made_in_a_turn_is_taken():
    chain = Chain()
    turn = min((turn_of(chain, name) for name in NAMES), key=lambda turn: (turn.slot, not turn.is_leader))

    made, _ = chain.propose(slots=turn.slot)

    assert made.header.slot == turn.slot
    chain.take(made)
