"""What an oracle decides: which readings it takes, what it does next, which key signs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from theblock_node.config import EnergyPolicy
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains.energy.records import OracleKey, Provider, ProviderState
from theblock_node.core.errors import InvalidRecord
from theblock_node.services.energy import keys, readings
from theblock_node.services.energy.keys import KeyRing
from theblock_node.services.energy.readings import Drop, Fate, GiveUp, Reading, Resend, Sign, Signed, Wait

NOW = 1_790_000_000
POLICY = EnergyPolicy()
PROVIDER = Provider(
    1, "solar-roof", "0000:" + 64 * "0", "US_CA", 10_000, 5, None, 0, 0, "meter-1", 0, 1000, 0, ProviderState.ACTIVE,
    ("solar-0",), 5_000, NOW - 60, 7, 90, 0, 1, 0,
)  # fmt: skip
SIGNED = Signed("solar-roof", "meter-1", 5_100, NOW - 20, 8, bytes(64), 3, "aa", True)
OLD, NEW = (SigningKey.from_seed(bytes([at]) * 32) for at in (1, 2))


def plan(provider=PROVIDER, reading=None, signed=None, **facts):
    given = {"policy": POLICY, "has_key": True, "now_seconds": NOW, "height": 100, **facts}
    return readings.plan_step(provider, reading or Reading("roof", 5_250, NOW - 1), signed, **given)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param(plan(), Sign(8), id="next-nonce"),
        pytest.param(plan(signed=replace(SIGNED, is_open=False, nonce=9)), Sign(10), id="never-a-nonce-twice"),
        pytest.param(plan(signed=SIGNED), Resend(), id="what-was-signed-comes-first"),
        pytest.param(plan(signed=replace(SIGNED, nonce=7)), GiveUp(), id="nonce-was-taken"),
        pytest.param(plan(signed=replace(SIGNED, timestamp=NOW - 301)), GiveUp(), id="signed-too-long-ago"),
        pytest.param(plan(signed=replace(SIGNED, is_open=False, nonce=23)), Wait("energy.nonce_gap"), id="window-full"),
        pytest.param(plan(None), Wait("energy.unknown_provider"), id="not-registered"),
        pytest.param(
            plan(replace(PROVIDER, state=ProviderState.UNBONDING)), Wait("energy.provider_inactive"), id="leaving"
        ),
        pytest.param(plan(has_key=False), Wait("energy.key_not_registered"), id="key-does-not-count-yet"),
        pytest.param(plan(reading=Reading("roof", 1, NOW - 301)), Drop("energy.stale_reading"), id="too-old"),
        pytest.param(plan(reading=Reading("roof", 6_000, NOW - 60)), Drop("covered"), id="somebody-said-more"),
        pytest.param(plan(reading=Reading("roof", 4_999, NOW)), Drop("energy.meter_regression"), id="backwards"),
        pytest.param(plan(reading=Reading("roof", 20_001, NOW)), Drop("energy.implausible_delta"), id="jump"),
        pytest.param(plan(reading=Reading("roof", 5_000, NOW)), Drop("unchanged"), id="nothing-new"),
        pytest.param(plan(reading=Reading("roof", 5_000, NOW), height=450), Sign(8), id="heartbeat-due"),
        pytest.param(plan(replace(PROVIDER, last_meter_wh=None, last_nonce=0)), Sign(1), id="baseline"),
    ],
)
def test_next_step_is_planned(step, expected):
    assert step == expected


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        pytest.param(Reading("roof", 100, NOW - 300), None, id="just-fresh"),
        pytest.param(Reading("roof", 100, NOW - 301), "energy.stale_reading", id="too-old"),
        pytest.param(Reading("roof", 100, NOW + 30), None, id="just-not-ahead"),
        pytest.param(Reading("roof", 100, NOW + 31), "energy.future_skew", id="ahead"),
        pytest.param(Reading("roof", 99, NOW), "energy.meter_regression", id="backwards"),
        pytest.param(Reading("roof", 100, NOW - 302), "energy.stale_reading", id="before-the-last"),
    ],
)
def test_reading_is_checked(reading, code):
    last = Reading("roof", 100, NOW - 300)
    if code is None:
        readings.check_reading(reading, last, POLICY, NOW)
        return
    with pytest.raises(InvalidRecord) as refused:
        readings.check_reading(reading, last, POLICY, NOW)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        ("energy.nonce_replay", Fate.COVERED),
        ("energy.implausible_delta", Fate.REFUSED),
        ("energy.rehearsal", Fate.RETRY),
        ("mempool.insufficient_balance", Fate.RETRY),
    ],
)
def test_refusal_says_what_becomes_of_a_reading(code, fate):
    assert readings.judge_refusal(code) is fate


def test_pushed_reading_needs_the_meters_signature():
    reading = Reading("roof", 100, NOW)
    signature = OLD.sign(readings.push_message("roof", 100, NOW))

    readings.check_push(reading, OLD.public_key, signature)
    with pytest.raises(InvalidRecord, match=r"energy\.invalid_signature"):
        readings.check_push(replace(reading, total_wh=101), OLD.public_key, signature)


def test_bad_key_file_keeps_the_old_key_and_is_reported():
    ring = keys.reload(KeyRing(OLD), b"zz")

    assert (ring.active, ring.staged, ring.invalid) == (OLD, None, "not hexadecimal")
    assert keys.reload(ring, b"00" * 31).invalid == "31 bytes where 32 are wanted"
    assert keys.reload(ring, b"02" * 32 + b"\n").staged.public_key == NEW.public_key
    assert keys.reload(KeyRing(OLD, NEW), b"01" * 32) == KeyRing(OLD), "going back to the old file"


def test_chain_decides_which_key_signs():
    ring = KeyRing(OLD, NEW)
    registered = [OracleKey(1, OLD.public_key, 1, 120), OracleKey(2, NEW.public_key, 100, 0)]

    assert keys.choose(ring, registered, 99) is OLD
    assert keys.choose(ring, registered, 100) is NEW
    assert keys.choose(KeyRing(OLD), registered, 119) is OLD
    assert keys.choose(KeyRing(OLD), registered, 120) is None
    assert keys.promote(ring, [NEW.public_key, OLD.public_key]) is ring
    assert keys.promote(ring, [NEW.public_key, NEW.public_key]) == KeyRing(NEW)
