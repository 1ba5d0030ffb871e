"""Vectors of the energy market: what is signed, how rounds are judged, what settling costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core import crypto
from theblock_node.core.domains.energy import attestation
from theblock_node.core.domains.energy.fees import FeeLaw, compute_fee_bps
from theblock_node.core.domains.energy.records import Entry
from theblock_node.core.numeric import bps

LAW = FeeLaw(250, 100, 1000, 700_000, 10_000, 300_000, 300_000, 19)


def test_reading_is_signed_as_the_vector_says():
    key = crypto.SigningKey.from_seed(b"\x07" * 32)
    body = attestation.reading_body(1, "energy-0x00000001", "meter-1", 1_250_000, 1_760_000_000, 42)
    message = attestation.attestation_message(body, "oracle-a")

    assert body.hex() == (
        "0100000011000000656e657267792d30783030303030303031070000006d657465722d31"
        "d0121300000000000078e768000000002a00000000000000"
    )
    assert message.hex() == "956017d54aeb9aa7a749cf648eb515eaa0cb15d47065fa326134d95efa511da2"
    assert key.sign(message).hex() == (
        "b935462662931c39079e155fd92c0542a8aa33ec7a838082e80eee89e36fca4b"
        "10f9731fee5d8ae4b7065246f79684e4807bbbc27a3d8d6f2a8ad1e2f2f5eb02"
    )
    assert attestation.compute_credit_id(body).hex() == (
        "a800f5b5b3e4321ccd4aadc9b75edc183c9ec2edda9ebc58de6641edbefbc1c3"
    )


@pytest.mark.parametrize(
    ("base", "capacity", "used", "sellers", "hour", "fee"),
    [
        pytest.param(250, 3_000_000, 0, 3, 19, 134, id="idle-at-the-peak"),
        pytest.param(250, 3_000_000, 2_200_000, 3, 19, 358, id="a-little-above-target"),
        pytest.param(250, 3_000_000, 2_400_000, 3, 19, 537, id="congested"),
        pytest.param(250, 3_000_000, 2_100_000, 3, 7, 145, id="on-target-in-the-morning"),
        pytest.param(250, 3_000_000, 2_100_000, 1, 13, 225, id="one-seller"),
        pytest.param(250, 10_000_000, 9_500_000, 20, 19, 455, id="many-sellers"),
        pytest.param(250, 0, 0, 0, 1, 125, id="empty-market"),
        pytest.param(1000, 1_000, 1_000, 1, 19, 1000, id="clamped"),
    ],
)
def test_fee_follows_the_law(base, capacity, used, sellers, hour, fee):
    law = FeeLaw(base, 100, 1000, 700_000, 10_000, 300_000, 300_000, 19)

    assert compute_fee_bps(law, capacity_wh=capacity, used_wh=used, sellers=sellers, hour=hour) == fee


@given(
    st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**6), st.integers(0, 23)
)
def test_fee_is_bounded_and_rises_with_use(capacity, used, more, sellers, hour):
    fees = [
        compute_fee_bps(LAW, capacity_wh=capacity, used_wh=wh, sellers=sellers, hour=hour) for wh in (used, used + more)
    ]

    assert 100 <= fees[0] <= fees[1] <= 1000


@pytest.mark.parametrize(
    ("wh", "price", "fee_bps", "jurisdiction_bps", "split"),
    [
        (500_000, 120, 250, 0, (60_000, 1_500, 0, 58_500)),
        (600_000, 7, 455, 50, (4_200, 191, 21, 3_988)),
        (1, 120, 250, 0, (0, 0, 0, 0)),
        (12_345, 997, 1000, 100, (12_307, 1_230, 123, 10_954)),
    ],
)
def test_cost_is_split_as_the_vectors_say(wh, price, fee_bps, jurisdiction_bps, split):
    cost = wh * price // 1000
    treasury, jurisdiction = bps(cost, fee_bps), bps(cost, jurisdiction_bps)

    assert (cost, treasury, jurisdiction, cost - treasury - jurisdiction) == split


@pytest.mark.parametrize(
    ("reports", "median", "agreeing", "agree_ppm"),
    [
        pytest.param(
            {"a": 1_250_000, "b": 1_250_400, "c": 1_249_900, "d": 1_251_000, "e": 1_400_000},
            1_250_400, "abcd", 800_000, id="one-outlier",
        ),
        pytest.param({"a": 1_250_000, "b": 1_250_400, "c": 1_249_900}, 1_250_000, "abc", 600_000, id="pending"),
        pytest.param(
            {"a": 1_250_000, "b": 1_300_000, "c": 1_350_000, "d": 1_400_000, "e": 1_450_000},
            1_350_000, "c", 200_000, id="no-agreement",
        ),
    ],
)  # fmt: skip
def test_round_is_judged_as_the_vectors_say(reports, median, agreeing, agree_ppm):
    entries = [Entry(name, total, 1000) for name, total in reports.items()]

    verdict = attestation.judge_round(entries, last_wh=1_000_000, oracle_count=5, deviation_ppm=20_000, floor_wh=1_000)

    assert verdict.median_wh == median
    assert "".join(sorted(entry.oracle_id for entry in verdict.agreeing)) == agreeing
    assert verdict.agree_ppm == agree_ppm


@given(
    st.lists(st.integers(10**6, 10**6 + 1000), min_size=3, max_size=10),
    st.lists(st.integers(0, 10**9), max_size=3),
)
def test_few_liars_cannot_move_the_median_out_of_the_honest_range(honest, lies):
    lies = lies[: (len(honest) - 1) // 2]
    entries = [Entry(f"o-{at}", total, 0) for at, total in enumerate(honest + lies)]

    verdict = attestation.judge_round(
        entries, last_wh=0, oracle_count=len(entries), deviation_ppm=20_000, floor_wh=1_000
    )

    assert min(honest) <= verdict.median_wh <= max(honest)
