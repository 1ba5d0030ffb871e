"""The courier keeps what it was told over any crash, never goes back by itself, and stays bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from theblock_node.services.compute.courier import ENDED_MAX, RETENTION_MS, Courier, open_courier
from theblock_node.services.compute.slices import Key, State

KEY: Key = (b"\x07" * 32, 3)
OTHER: Key = (b"\x07" * 32, 4)
NOW = 1_000_000


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "deep" / "courier"


@pytest.fixture
def courier(path) -> Courier:
    return open_courier(path, entries_max=4)


def computed(courier: Courier) -> None:
    courier.take(KEY, NOW)
    courier.save_result(KEY, b"bundle", "native", NOW)


def submitted(courier: Courier) -> None:
    computed(courier)
    courier.save_envelope(KEY, b"envelope", "aa", ask_ms=NOW + 30_000, now_ms=NOW)


def reopen(path: Path) -> Courier:
    """What the next process finds; the one before is never closed, as after a kill."""
    return open_courier(path, entries_max=4)


def test_every_step_is_on_disk_when_the_call_returns(courier, path):
    courier.take(KEY, NOW)
    assert [entry.key for entry in reopen(path).live()] == [KEY]
    courier.save_result(KEY, b"bundle", "native", NOW)
    (kept,) = reopen(path).live()
    assert (kept.state, kept.bundle, kept.backend) == (State.COMPUTED, b"bundle", "native")
    courier.save_envelope(KEY, b"envelope", "aa", ask_ms=NOW + 30_000, now_ms=NOW)
    (kept,) = reopen(path).live()
    assert (kept.state, kept.envelope, kept.tx_id) == (State.SUBMITTED, b"envelope", "aa")
    courier.end(KEY, State.DELIVERED, "", NOW)
    assert reopen(path).live() == []


def test_what_was_under_way_is_due_at_once_after_a_restart(courier, path):
    submitted(courier)
    courier.back_off(KEY, "nobody answers", NOW + 60_000, NOW)
    assert courier.live()[0].not_before_ms == NOW + 60_000

    (kept,) = reopen(path).live()
    assert (kept.not_before_ms, kept.attempts, kept.error) == (0, 1, "nobody answers")


def test_slice_that_is_told_twice_is_kept_once(courier):
    submitted(courier)
    assert courier.take(KEY, NOW + 1)
    (kept,) = courier.live()
    assert (kept.state, kept.taken_ms) == (State.SUBMITTED, NOW)


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD, State.CANCELLED])
def test_what_ended_never_comes_back(courier, state):
    submitted(courier)
    courier.end(KEY, state, "why", NOW)

    courier.take(KEY, NOW)
    courier.save_result(KEY, b"again", "python", NOW)
    courier.save_envelope(KEY, b"again", "bb", ask_ms=NOW, now_ms=NOW)
    courier.sign_again(KEY, "again", NOW, NOW)
    courier.compute_again(KEY, "again", NOW)
    courier.back_off(KEY, "again", NOW, NOW)
    courier.end(KEY, State.DELIVERED, "again", NOW)

    kept = courier.get(KEY)
    assert kept is not None
    assert (kept.state, kept.error, kept.attempts, courier.live()) == (state, "why", 0, [])


def save_twice(courier: Courier) -> None:
    courier.save_envelope(KEY, b"second", "bb", ask_ms=NOW, now_ms=NOW)


@pytest.mark.parametrize(
    ("make", "act"),
    [
        pytest.param(lambda courier: courier.take(KEY, NOW), save_twice, id="nothing-computed"),
        pytest.param(submitted, save_twice, id="signed-already"),
        pytest.param(
            submitted, lambda courier: courier.save_result(KEY, b"other", "python", NOW), id="result-under-way"
        ),
    ],
)
def test_step_out_of_turn_changes_nothing(courier, make: Callable[[Courier], None], act: Callable[[Courier], None]):
    make(courier)
    before = courier.get(KEY)
    act(courier)
    assert courier.get(KEY) == before


def test_transaction_that_can_never_count_makes_room_for_another(courier):
    submitted(courier)
    courier.sign_again(KEY, "tx.bad_nonce", NOW + 100, NOW)
    (kept,) = courier.live()
    assert (kept.state, kept.bundle, kept.envelope, kept.tx_id) == (State.COMPUTED, b"bundle", b"", "")
    assert (kept.attempts, kept.not_before_ms) == (1, NOW + 100)


def test_wrong_result_is_forgotten_and_counted(courier):
    submitted(courier)
    courier.compute_again(KEY, "compute.proof_invalid", NOW)
    (kept,) = courier.live()
    assert (kept.state, kept.bundle, kept.envelope, kept.wrong) == (State.ASSIGNED, b"", b"", 1)


def test_full_queue_takes_no_more_but_knows_what_it_has(courier):
    for index in range(4):
        assert courier.take((KEY[0], index), NOW)
    assert not courier.take(OTHER, NOW)
    assert courier.take((KEY[0], 0), NOW)
    courier.end((KEY[0], 0), State.DELIVERED, "", NOW)
    assert courier.take(OTHER, NOW)
    assert len(courier.live()) == 4


def test_oldest_are_first_and_counted_by_state(courier):
    for age, index in enumerate((2, 0, 1)):
        courier.take((KEY[0], index), NOW + age)
    courier.save_result((KEY[0], 0), b"bundle", "native", NOW)
    assert [entry.index for entry in courier.live()] == [2, 0, 1]
    assert courier.counts() == {**dict.fromkeys(State, 0), State.ASSIGNED: 2, State.COMPUTED: 1}


def test_transactions_are_found_by_their_ids(courier):
    submitted(courier)
    courier.take(OTHER, NOW)
    assert [entry.key for entry in courier.of_txs(["aa", "bb"])] == [KEY]
    assert courier.of_txs([""]) == []


def test_what_ended_long_ago_is_forgotten(courier):
    submitted(courier)
    courier.end(KEY, State.DEAD, "why", NOW)
    courier.take(OTHER, NOW)
    courier.prune(NOW + RETENTION_MS)
    assert courier.get(KEY) is not None
    courier.prune(NOW + RETENTION_MS + 1)
    assert courier.get(KEY) is None
    assert courier.get(OTHER) is not None


def test_what_ended_is_bounded(monkeypatch, courier):
    assert ENDED_MAX == 10_000
    monkeypatch.setattr("theblock_node.services.compute.courier.ENDED_MAX", 2)
    for index in range(4):
        courier.take((KEY[0], index), NOW + index)
        courier.end((KEY[0], index), State.DELIVERED, "", NOW + index)
    courier.prune(NOW + 10)
    assert [courier.get((KEY[0], index)) is not None for index in range(4)] == [False, False, True, True]
