"""Placement: caps, room, spreading, and that the same question has the same answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.domains.storage.records import Provider
from theblock_node.core.errors import InvalidRecord
from theblock_node.services.storage.placement import (
    Need,
    Offer,
    choose_target,
    compute_deposit,
    make_offers,
    plan_placement,
)

NEED = Need(data=16, parity=8, slot_bytes=100, retention_blocks=1000, collateral_bps=10_000)
SMALL = Need(data=2, parity=1, slot_bytes=100, retention_blocks=1000, collateral_bps=10_000)


def offer(name: str, **changes: object) -> Offer:
    return replace(Offer(name, "default", 10**6, 10**6, 10**12, 0, 1000), **changes)


def offers(count: int, **changes: object) -> list[Offer]:
    return [offer(f"p-{at}", **changes) for at in range(count)]


def row(name: str, **changes: object) -> Provider:
    made = Provider(1, name, "owner", bytes(32), "eu", 1000, 100, 0, 7, 50, 20, 1, False, False, 0, 1000, 0, 0, 1)
    return replace(made, **changes)


@given(st.integers(8, 12), st.binary(min_size=4, max_size=4))
def test_default_policy_survives_the_loss_of_any_two(count, seed):
    plan = plan_placement(offers(count), NEED, policy="default", seed=seed)

    assert sorted(slot for slots in plan.values() for slot in slots) == list(range(24))
    for lost in combinations(plan, 2):
        assert sum(len(slots) for name, slots in plan.items() if name not in lost) >= NEED.data


def test_regions_share_the_slots_so_that_one_may_go_dark():
    offered = [offer(f"p-{at}", region=f"r-{at % 3}") for at in range(12)]

    plan = plan_placement(offered, NEED, policy="default", seed=b"s")

    regions = Counter({f"r-{at}": 0 for at in range(3)})
    for name, slots in plan.items():
        regions[f"r-{int(name[2:]) % 3}"] += len(slots)
    assert max(regions.values()) <= NEED.parity


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_relaxed_policy_spreads_evenly_over_whoever_is_there(count):
    plan = plan_placement(offers(count), SMALL, policy="relaxed", seed=b"s")
    sizes = [len(slots) for slots in plan.values()]
    assert sum(sizes) == 3
    assert max(sizes) == -(-3 // count)


def test_same_offers_in_another_order_give_the_same_plan_and_another_object_another():
    offered = offers(12)
    plan = plan_placement(offered, NEED, policy="default", seed=b"s")
    assert plan_placement(offered[::-1], NEED, policy="default", seed=b"s") == plan
    assert plan_placement(offered, NEED, policy="default", seed=b"t") != plan


def test_what_is_placed_stays_and_the_rest_is_found():
    plan = plan_placement(offers(4), SMALL, policy="default", seed=b"s")
    name = next(iter(plan))
    kept = {other: slots for other, slots in plan.items() if other != name}
    rest = [row for row in offers(4) if row.provider_id != name]

    again = plan_placement(rest, SMALL, policy="default", seed=b"s", placed=kept)

    assert name not in again
    assert {other: again[other] for other in kept} == kept
    assert sorted(slot for slots in again.values() for slot in slots) == [0, 1, 2]


@pytest.mark.parametrize(
    ("offered", "policy"),
    [
        pytest.param([], "relaxed", id="nobody"),
        pytest.param(offers(2), "default", id="two-for-three-slots"),
        pytest.param(offers(3, free_bytes=99), "relaxed", id="no-room"),
        pytest.param(offers(3, free_bond=0, price_per_block=10**9), "relaxed", id="no-bond-left"),
        pytest.param(offers(1, free_bytes=299), "relaxed", id="room-for-two-slots"),
    ],
)
def test_lack_of_providers_is_refused(offered, policy):
    with pytest.raises(InvalidRecord) as refused:
        plan_placement(offered, SMALL, policy=policy, seed=b"s")
    assert refused.value.code == "storage.insufficient_providers"


def test_offers_are_of_those_who_are_there_and_open():
    rows = [
        row("good"),
        row("away"),
        row("closed", maintenance=True),
        row("gone", retired=True),
        row("infamous", reputation=499),
        row("full", used_bytes=1000),
        row("failed"),
    ]
    there = {"good", "closed", "gone", "infamous", "full", "failed"}

    made = make_offers(rows, there, excluded={"failed"})

    assert made == [Offer("good", "eu", 900, 1000, 30, 7, 1000)]


def test_target_is_one_that_holds_nothing_of_the_object_where_there_is_one():
    offered = offers(3)
    held = {"p-0": 1, "p-1": 1}
    assert choose_target(offered, SMALL, slots=1, held=held, policy="default", seed=b"s") == "p-2"
    assert choose_target(offered[:2], SMALL, slots=1, held=held, policy="default", seed=b"s") is None
    assert choose_target(offered[:2], SMALL, slots=1, held=held, policy="relaxed", seed=b"s") in held
    assert choose_target(offers(1, free_bytes=99), SMALL, slots=1, held={}, policy="relaxed", seed=b"s") is None


def test_deposit_is_what_the_chain_will_ask():
    offered = [offer("p-0", price_per_block=2**30), offer("p-1", price_per_block=1)]
    assert compute_deposit({"p-0": (0, 1), "p-1": (2,)}, offered, SMALL) == (200 + 1) * 1000
