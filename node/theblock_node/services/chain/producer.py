"""When it is this validator's turn to make a block. Pure: `service.py` waits and signs."""

from __future__ import annotations

from dataclasses import dataclass

from theblock_node.core import header as headers
from theblock_node.core.block import Header
from theblock_node.core.domains import supply
from theblock_node.core.params import ChainParams
from theblock_node.core.state import View

SLOTS_AHEAD = 64
"""How far ahead a turn is looked for; without one, one looks again then."""


@dataclass(frozen=True, slots=True)
class Turn:
    slot: int
    at_ms: int
    """When the block may be made; for the second in line that is after the leader's time."""
    until_ms: int
    """End of the slot."""
    is_leader: bool


def plan_turn(view: View, chain: ChainParams, head: Header, own: bytes, *, now_ms: int, after_slot: int) -> Turn | None:
    """The next slot above ``after_slot`` and the head's in which ``own`` may follow ``head``; None in sight."""
    origin_ms = supply.get_origin_ms(view)
    first = max(head.slot + 1, after_slot + 1, headers.compute_slot(origin_ms, now_ms, chain), 1)
    for slot in range(first, first + SLOTS_AHEAD):
        start_ms = headers.slot_start_ms(origin_ms, slot, chain)
        until_ms = start_ms + chain.block_time_ms
        leader, second = headers.get_proposers(view, chain, head.height + 1, slot)
        if leader == own:
            return Turn(slot, start_ms, until_ms, is_leader=True)
        if second == own:
            return Turn(slot, start_ms + chain.leader_timeout_ms, until_ms, is_leader=False)
    return None


def compute_next_look_ms(view: View, chain: ChainParams, now_ms: int) -> int:
    """When to look for a turn again if none is in sight."""
    return now_ms + SLOTS_AHEAD * chain.block_time_ms // 2
