"""What is planned for an object whose slots are lost, or whose holder leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from theblock_node.core.domains.storage.records import Contract, ContractStatus, Replica, ReplicaStatus
from theblock_node.services.storage.placement import Offer
from theblock_node.services.storage.repair import (
    Job,
    Move,
    Reclaim,
    compute_back_off_blocks,
    judge_health,
    plan_repair,
    rank_leader,
)

HELD, LOST, MOVED = ReplicaStatus.HELD, ReplicaStatus.LOST, ReplicaStatus.MOVED
CONTRACT = Contract(
    1, b"c" * 32, b"o" * 32, b"m" * 32, "alice", b"r" * 32, 1, 2, 1, 100, 3, 5, 1000, 3000, 0, ContractStatus.ACTIVE,
    ("a", "b", "c"),
)  # fmt: skip


def replica(name: str, *slots: int, status: ReplicaStatus = HELD) -> Replica:
    return Replica(1, CONTRACT.contract_id, name, slots, 100 * len(slots), 1, 10, 0, 5, 0, 0, 0, status)


def offer(name: str) -> Offer:
    return Offer(name, "default", 10**6, 10**6, 10**9, 0, 1000)


def plan(replicas: list[Replica], offers: list[str], **changes: Any) -> Job | None:
    facts = {
        "me": "a", "has_own": False, "is_leaving": False, "policy": "default", "collateral_bps": 10_000, "rounds": 99,
        **changes,
    }  # fmt: skip
    return plan_repair(CONTRACT, replicas, [offer(name) for name in offers], **facts)


WHOLE = [replica("a", 0), replica("b", 1), replica("c", 2)]
C_LOST = [replica("a", 0), replica("b", 1), replica("c", 2, status=LOST)]


def test_whole_object_asks_for_nothing():
    assert plan(WHOLE, ["a", "b", "c", "d"]) is None
    assert judge_health(CONTRACT, WHOLE).is_whole


def test_lost_slots_go_to_one_who_holds_none():
    assert plan(C_LOST, ["a", "b", "c", "d"]) == Move("c", "d", (2,))
    assert not judge_health(CONTRACT, C_LOST).is_whole


def test_with_nobody_else_relaxed_doubles_up_and_default_waits():
    assert plan(C_LOST, ["a", "b"]) is None
    assert plan(C_LOST, ["a", "b"], policy="relaxed") in (Move("c", "a", (2,)), Move("c", "b", (2,)))


def test_one_leader_repairs_and_the_next_takes_over():
    leaders = sorted("ab", key=lambda name: rank_leader(CONTRACT, C_LOST, name))

    assert [plan(C_LOST, ["d"], me=name, rounds=1) is not None for name in leaders] == [True, False]
    assert [plan(C_LOST, ["d"], me=name, rounds=3) is not None for name in leaders] == [True, True]
    assert plan(C_LOST, ["d"], me="d") is None
    assert plan(C_LOST, ["d"], me="c") is None


def test_returning_provider_takes_its_own_back():
    assert plan(C_LOST, ["d"], me="c", has_own=True) == Reclaim((2,))


def test_leaving_provider_hands_over_before_anything_else():
    assert plan(WHOLE, ["b", "c", "d"], is_leaving=True) == Move("a", "d", (0,))
    assert plan(WHOLE, ["a"], is_leaving=True) is None
    assert plan(C_LOST, ["c", "d"], me="c", has_own=True, is_leaving=True) is None


def test_nothing_is_planned_for_what_cannot_be_rebuilt():
    gone = [replica("a", 0), replica("b", 1, status=LOST), replica("c", 2, status=LOST)]
    assert plan(gone, ["d"]) is None
    assert judge_health(CONTRACT, gone).is_unrecoverable


def test_moved_slots_are_nobodys_loss():
    moved = [replica("a", 0), replica("b", 1), replica("c", 2, status=MOVED), replica("d", 2)]
    assert plan(moved, ["c", "d", "e"]) is None
    assert judge_health(CONTRACT, moved).is_whole


def test_target_needs_room_and_bond():
    full = replace(offer("d"), free_bytes=99)
    facts = {"has_own": False, "is_leaving": False, "policy": "relaxed", "collateral_bps": 10_000, "rounds": 9}
    assert plan_repair(CONTRACT, C_LOST, [full], me="a", **facts) is None


@pytest.mark.parametrize(
    ("failures", "blocks"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(1, 10, id="first"),
        pytest.param(3, 40, id="third"),
        pytest.param(50, 3600, id="never-longer"),
    ],
)
def test_failed_repairs_wait_longer_each_time(failures, blocks):
    assert compute_back_off_blocks(failures) == blocks
