"""Counters move as final blocks say, under the names that dashboards and alerts use."""

from __future__ import annotations

from pathlib import Path

import pytest
from theblock_node.core import codec
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.energy import rounds
from theblock_node.telemetry import from_events
from theblock_node.telemetry.from_events import BlockTold, EventCounter, TxTold
from theblock_node.telemetry.registry import OTHER, PROVIDERS_MAX, Metrics

SOLAR = {"provider_id": "solar"}


@pytest.fixture
def metrics():
    return Metrics()


def block(height, *events, txs=(), timestamp_ms=None):
    return BlockTold(height, height * 1000 if timestamp_ms is None else timestamp_ms, tuple(txs), tuple(events))


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def settled(provider="solar", wh="2500", paid="5000", fee="50"):
    return ("energy.settled", {"provider_id": provider, "wh": wh, "price_paid": paid, "treasury_fee": fee})


def test_settlements_are_counted_by_provider_with_what_they_moved(metrics):
    counter = EventCounter(metrics)

    counter.take(block(1, settled(), settled()))
    counter.take(block(2, settled("wind", wh="1000", paid="4000", fee="1")))

    assert value(metrics, "energy_settlement_total", provider="solar") == 2
    assert value(metrics, "energy_settlement_total", provider="wind") == 1
    assert value(metrics, "energy_treasury_fee_ct_total") == 101
    assert value(metrics, "energy_kwh_traded_total") == 6
    assert value(metrics, "energy_avg_price") == pytest.approx(14_000 / 6)


def test_readings_show_how_late_they_came(metrics):
    reading = ("energy.reading_submitted", {**SOLAR, "timestamp": "7"})

    EventCounter(metrics).take(block(10, reading))

    assert value(metrics, "energy_meter_reading_total", provider="solar") == 1
    assert value(metrics, "oracle_reading_latency_seconds_sum") == 3


def test_fulfillment_is_from_the_newest_credit_to_the_settlement(metrics):
    counter = EventCounter(metrics)

    counter.take(block(1, ("energy.credit_created", SOLAR)))
    counter.take(block(3, ("energy.credit_created", SOLAR)))
    counter.take(block(4, settled(), settled("wind")))

    assert value(metrics, "energy_provider_fulfillment_ms_sum", provider="solar") == 1000
    assert value(metrics, "energy_provider_fulfillment_ms_count", provider="wind") is None


def test_matching_takes_from_the_jobs_block_to_the_first_assignment(metrics):
    counter = EventCounter(metrics)

    counter.take(block(1, ("compute.job_posted", {"job_id": "aa", "lane": "consumer"})))
    counter.take(block(4, ("compute.job_assigned", {"job_id": "aa"}), ("compute.job_assigned", {"job_id": "aa"})))

    assert value(metrics, "match_loop_latency_seconds_sum", lane="consumer") == 3
    assert value(metrics, "match_loop_latency_seconds_count", lane="consumer") == 1


def test_refused_signatures_are_told_apart(metrics):
    txs = [
        TxTold("energy.submit_reading", "energy.invalid_signature", "solar"),
        TxTold("energy.submit_reading", "energy.malformed_signature", "solar"),
        TxTold("energy.submit_reading", "energy.stale_reading", "solar"),
        TxTold("energy.submit_reading", ""),
    ]

    EventCounter(metrics).take(block(1, txs=txs))

    assert value(metrics, "energy_signature_failure_total", provider="solar", reason="invalid") == 1
    assert value(metrics, "energy_signature_failure_total", provider="solar", reason="malformed") == 1
    assert value(metrics, "chain_tx_total", call="energy.submit_reading", result="success") == 1
    assert value(metrics, "chain_tx_total", call="energy.submit_reading", result="energy.stale_reading") == 1


def test_proofs_and_what_they_cost_are_counted(metrics):
    proofs = ("compute.proof_settled", {}), ("compute.proof_settled", {})
    violations = ("compute.slice_late", SOLAR), ("compute.slice_violated", SOLAR)
    refused = TxTold("compute.submit_slice", "compute.proof_invalid", has_proof=True)
    other = TxTold("compute.submit_slice", "compute.proof_invalid")

    EventCounter(metrics).take(block(1, *proofs, *violations, txs=[refused, other]))

    assert value(metrics, "snark_verifications_total") == 2
    assert value(metrics, "snark_fail_total") == 1
    assert value(metrics, "compute_sla_violations_total", provider="solar") == 2
    assert value(metrics, "compute_slice_violated_total", provider="solar") == 1


def test_block_time_is_measured_between_blocks(metrics):
    counter = EventCounter(metrics)

    counter.take(block(1, timestamp_ms=1000))
    counter.take(block(2, timestamp_ms=2500))

    assert value(metrics, "block_interval_seconds_sum") == 1.5
    assert value(metrics, "block_interval_seconds_count") == 1
    assert value(metrics, "block_txs_count") == 2


def test_providers_beyond_the_table_share_a_label(metrics):
    counter = EventCounter(metrics)

    counter.take(block(1, *(settled(f"p{number}") for number in range(PROVIDERS_MAX + 3))))

    assert value(metrics, "energy_settlement_total", provider="p0") == 1
    assert value(metrics, "energy_settlement_total", provider=OTHER) == 3


def test_jobs_that_are_never_assigned_are_forgotten(metrics, monkeypatch):
    monkeypatch.setattr(from_events, "JOBS_MAX", 1)
    counter = EventCounter(metrics)
    jobs = [("compute.job_posted", {"job_id": name, "lane": "consumer"}) for name in ("aa", "bb")]

    counter.take(block(1, *jobs))
    counter.take(block(2, ("compute.job_assigned", {"job_id": "aa"}), ("compute.job_assigned", {"job_id": "bb"})))

    assert value(metrics, "match_loop_latency_seconds_count", lane="consumer") == 1


def test_every_counted_event_is_one_of_the_chain_with_the_fields_that_are_read(metrics):
    counter = EventCounter(metrics)

    assert set(counter._counters) <= set(REGISTRY.event_types)
    for name in counter._counters:
        names = [field for field, _ in codec.kind_of(REGISTRY.event_types[name]).parts]
        record = dict.fromkeys(names, "1") | ({"slots": [1]} if "slots" in names else {})
        counter.take(block(1, (name, record)))
        assert value(metrics, "chain_event_total", event=name) == 1


def test_signature_codes_are_the_rules_own():
    text = Path(rounds.__file__).read_text()

    assert all(f'"{code}"' in text for code in from_events.SIGNATURE_CODES)
