"""What follows for a slice from what is known of it."""

from __future__ import annotations

from random import Random

import pytest
from theblock_node.core.domains.compute.records import SliceStatus
from theblock_node.services.compute import slices
from theblock_node.services.compute.slices import Entry, Fate, State

JOB = b"\x01" * 32


def entry(index: int, state: State = State.ASSIGNED, *, taken_ms: int = 0, not_before_ms: int = 0) -> Entry:
    return Entry(JOB, index, state, 0, 0, not_before_ms, taken_ms, b"", "", b"", "", "")


def test_waits_are_quick_at_first_and_bounded_for_ever():
    chance = Random(1)
    assert [slices.wait_ms(attempt, chance) for attempt in (1, 2, 3, 4)] == [100, 200, 400, 800]
    for attempt, base in ((5, 1600), (6, 3200), (10, 51_200), (11, 60_000), (10**6, 60_000)):
        waits = {slices.wait_ms(attempt, chance) for _ in range(200)}
        assert base * 8 // 10 <= min(waits) < base < max(waits) <= base * 12 // 10


@pytest.mark.parametrize(
    ("code", "wrong", "fate"),
    [
        pytest.param("compute.slice_paid", 0, Fate.DELIVERED, id="paid-already"),
        pytest.param("compute.proof_invalid", 0, Fate.WRONG, id="wrong-once"),
        pytest.param("compute.proof_invalid", 2, Fate.LOST, id="wrong-too-often"),
        pytest.param("compute.slice_unknown", 0, Fate.LOST, id="expired"),
        pytest.param("compute.not_assignee", 0, Fate.LOST, id="of-another"),
        *(
            pytest.param(f"compute.{reason}", 0, Fate.WRONG, id=reason)
            for reason in ("proof_decode", "proof_inputs", "proof_ctx", "proof_signature", "invalid_workload")
        ),
        pytest.param("compute.proof_ctx", 2, Fate.LOST, id="not-bound-too-often"),
        pytest.param("compute.circuit_revoked", 0, Fate.LOST, id="circuit-revoked"),
        pytest.param("compute.circuit_unknown", 0, Fate.LOST, id="circuit-unknown"),
        pytest.param("compute.statement_used", 0, Fate.LOST, id="proved-before"),
        pytest.param("compute.verify_budget", 2, Fate.RETRY, id="no-room-in-the-block"),
        pytest.param("tx.insufficient_balance", 0, Fate.RETRY, id="poor"),
        pytest.param("mempool.full", 0, Fate.RETRY, id="full"),
    ],
)
def test_refusal_is_judged(code, wrong, fate):
    assert slices.judge_refusal(code, wrong) is fate


@pytest.mark.parametrize(
    ("status", "provider", "fate"),
    [
        pytest.param(SliceStatus.SETTLED, "forge-0", Fate.DELIVERED, id="paid"),
        pytest.param(SliceStatus.SETTLED, "forge-1", Fate.LOST, id="paid-to-another"),
        pytest.param(SliceStatus.VIOLATED, "forge-0", Fate.LOST, id="too-late"),
        pytest.param(SliceStatus.CANCELLED, "", Fate.LOST, id="cancelled"),
        pytest.param(SliceStatus.OPEN, "", Fate.RETRY, id="seen-by-who-lags-behind"),
        pytest.param(SliceStatus.ASSIGNED, "forge-0", Fate.RETRY, id="ours"),
    ],
)
def test_status_is_judged(status, provider, fate):
    assert slices.judge_status(status, provider, "forge-0") is fate


def test_oldest_that_are_due_start_as_far_as_there_is_room():
    entries = [
        entry(0, taken_ms=5),
        entry(1, taken_ms=3),
        entry(2, taken_ms=1, not_before_ms=11),
        entry(3, State.COMPUTED),
        entry(4, taken_ms=2),
        entry(5, taken_ms=4),
        entry(6, taken_ms=0),
    ]

    def starts(slots: int) -> list[int]:
        planned = slices.plan_starts(
            entries, {(JOB, 4)}, slots=slots, now_ms=10, is_held=lambda waiting: waiting.index == 6
        )
        return [one.index for one in planned]

    assert [starts(slots) for slots in (0, 1, 2, 3, 9)] == [[], [], [1], [1, 5], [1, 5, 0]]


def test_next_due_is_the_nearest_in_the_future():
    entries = [entry(0, not_before_ms=5), entry(1, not_before_ms=20), entry(2, State.COMPUTED, not_before_ms=15)]
    assert slices.next_due_ms(entries, (State.ASSIGNED,), 10) == 20
    assert slices.next_due_ms(entries, (State.ASSIGNED, State.COMPUTED), 10) == 15
    assert slices.next_due_ms(entries, (State.SUBMITTED,), 10) is None
