"""How often a caller may call: exact at the edges, one bucket each, bounded, and members are never banned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.errors import InvalidRecord
from theblock_node.rpc import limits
from theblock_node.rpc.limits import (
    BAN_MS,
    BAN_REFUSALS,
    MUTUAL_CALLS_MAX,
    PUBLIC,
    PUBLIC_CALLS_MAX,
    Buckets,
    InProgress,
    Limits,
    Rate,
    classify,
)

TIP = "/theblock.v1.Chain/GetTip"


def refusal(act) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as refused:
        act()
    return refused.value


def test_a_burst_is_taken_at_once_and_then_one_for_each_interval():
    buckets = Buckets(Rate(per_second=10, burst=3))
    for _ in range(3):
        buckets.take("me", 0)

    refused = refusal(lambda: buckets.take("me", 0))
    assert (refused.code, refused.facts["retry_after_ms"]) == ("rpc.rate_limited", 101)
    refusal(lambda: buckets.take("me", 99))
    buckets.take("me", 101)
    refusal(lambda: buckets.take("me", 101))
    buckets.take("you", 101)


@given(st.lists(st.integers(0, 400), max_size=80))
def test_no_schedule_gets_more_than_burst_and_rate(pauses):
    buckets, now, taken = Buckets(Rate(per_second=10, burst=5)), 0, 0
    for pause in pauses:
        now += pause
        try:
            buckets.take("me", now)
        except InvalidRecord:
            continue
        taken += 1

    assert taken <= 5 + now * 10 / 1000


def test_who_does_not_stop_is_banned_for_a_while_and_only_on_the_public_port():
    public, mutual = Buckets(Rate(1, 1), bans=True), Buckets(Rate(1, 1))
    for buckets in (public, mutual):
        buckets.take("me", 0)
        codes = [refusal(lambda buckets=buckets: buckets.take("me", 1)).code for _ in range(BAN_REFUSALS)]
        assert codes[:-1] == ["rpc.rate_limited"] * (BAN_REFUSALS - 1)
        assert codes[-1] == ("rpc.banned" if buckets is public else "rpc.rate_limited")

    assert refusal(lambda: public.take("me", BAN_MS)).code == "rpc.banned"
    public.take("me", BAN_MS + 1)
    mutual.take("me", 5_000)


def test_callers_are_bounded_by_forgetting_who_was_seen_least_lately(monkeypatch):
    monkeypatch.setattr(limits, "CALLERS_MAX", 2)
    buckets = Buckets(Rate(1, 1))
    for caller in ("a", "b", "c"):
        buckets.take(caller, 0)

    assert refusal(lambda: buckets.take("c", 0)).code == "rpc.rate_limited"
    buckets.take("a", 0)


def test_calls_in_progress_are_counted_until_they_end_however_they_end():
    open_calls = InProgress(1)

    def break_off() -> None:
        with open_calls.hold("me"), open_calls.hold("you"):
            assert refusal(lambda: open_calls.hold("me").__enter__()).code == "rpc.too_many_calls"
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    with open_calls.hold("me"), open_calls.hold("you"):
        pass


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (TIP, "public"),
        ("/theblock.accounts.v1.Accounts/Transfer", "public"),
        ("/theblock.energy.v1.EnergyMarket/SubmitReading", "energy.submit"),
        ("/theblock.energy.v1.EnergyMarket/Settle", "energy.settle"),
        ("/theblock.energy.v1.EnergyMarket/FlagDispute", "energy.dispute"),
        ("/theblock.energy.v1.EnergyMarket/ListCredits", "energy.read"),
        ("/theblock.bridge.v1.Bridge/GetHeader", "bridge.read"),
        ("/theblock.bridge.v1.Bridge/SubmitHeaders", "bridge.submit"),
        ("nonsense", "public"),
    ],
)
def test_methods_have_the_class_of_what_they_cost(method, name):
    assert classify(method) == name
    assert name in limits.CLASSES


def test_a_member_may_do_more_at_once_than_the_public_and_classes_do_not_share():
    admission = Limits(PUBLIC)
    settle = "/theblock.energy.v1.EnergyMarket/Settle"
    for _ in range(5):
        with admission.admit("me", settle, 0, is_known=False):
            pass

    with pytest.raises(InvalidRecord), admission.admit("me", settle, 0, is_known=False):
        pytest.fail("the sixth is not admitted")
    with admission.admit("me", TIP, 0, is_known=False), admission.admit("me", settle, 0, is_known=True):
        pass
    for known, most in ((False, PUBLIC_CALLS_MAX), (True, MUTUAL_CALLS_MAX)):
        held = [admission.admit("you", TIP, 0, is_known=known) for _ in range(most + 1)]
        for one in held[:-1]:
            one.__enter__()
        assert refusal(held[-1].__enter__).code == "rpc.too_many_calls"
