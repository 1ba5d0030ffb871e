"""The page has every name that the requirement lists, and each metric is declared well."""

from __future__ import annotations

import pytest
from theblock_node.telemetry.registry import MemberFacts, Metrics

REQUIRED = [
    "energy_provider_total",
    "energy_pending_credits_total",
    "energy_receipt_total",
    "energy_active_disputes_total",
    "energy_avg_price",
    "energy_provider_register_total",
    "energy_meter_reading_total",
    "energy_settlement_total",
    "energy_treasury_fee_ct_total",
    "energy_dispute_open_total",
    "energy_dispute_resolve_total",
    "energy_kwh_traded_total",
    "energy_signature_failure_total",
    "energy_provider_fulfillment_ms",
    "oracle_reading_latency_seconds",
    "match_loop_latency_seconds",
]


def facts(**changes):
    known = {
        "role": "validator",
        "member": "validators-0",
        "network": "tbnet",
        "version": "0.1.0",
        "height": 9,
        "finalized_height": 7,
        "peers": 3,
        "is_ready": True,
        "is_in_sync": True,
        "is_draining": False,
    }
    return MemberFacts(**{**known, **changes})


@pytest.mark.parametrize("name", REQUIRED)
def test_the_requirements_names_are_on_the_page(name):
    page = Metrics().render().decode()

    assert f"# HELP {name} " in page


def test_every_metric_says_what_it_is():
    page = Metrics().render().decode()

    helped = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP ") and len(line.split()) > 3}
    typed = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}
    assert helped == typed
    assert len(typed) > 40


def test_two_processes_share_nothing():
    one, other = Metrics(), Metrics()
    one.energy_opened.inc()

    assert other.registry.get_sample_value("energy_dispute_open_total") == 0


def test_a_members_facts_are_gauges():
    metrics = Metrics()

    metrics.show_member(facts(details={"spool": 4, "is_member": True, "state": "words", "rows": [1]}))

    get = metrics.registry.get_sample_value
    assert (get("chain_height"), get("chain_finalized_height"), get("p2p_peers")) == (9, 7, 3)
    assert (get("member_ready"), get("member_draining")) == (1, 0)
    assert get("member_detail", {"name": "spool"}) == 4
    assert get("member_detail", {"name": "is_member"}) == 1
    assert get("member_detail", {"name": "state"}) is None
    assert get("member_detail", {"name": "rows"}) is None


def test_the_signers_state_moves_from_one_label_to_the_next():
    metrics = Metrics()

    metrics.show_member(facts(signer_state="WaitingToSign"))
    metrics.show_member(facts(signer_state="Ready"))

    get = metrics.registry.get_sample_value
    assert get("signer_state", {"state": "WaitingToSign"}) == 0
    assert get("signer_state", {"state": "Ready"}) == 1


def test_looks_run_at_each_reading():
    metrics = Metrics()
    seen = []
    metrics.on_scrape(lambda: metrics.mempool_size.set(len(seen)) or seen.append(1))

    assert b"\nmempool_size 0.0\n" in metrics.render()
    assert b"\nmempool_size 1.0\n" in metrics.render()


def test_totals_that_others_count_are_counters():
    metrics = Metrics()

    metrics.set_running("gossip_messages_total", "Messages", ("direction",), {("sent",): 5})

    page = metrics.render().decode()
    assert "# TYPE gossip_messages_total counter" in page
    assert 'gossip_messages_total{direction="sent"} 5.0' in page


def test_calls_are_counted_by_method_and_code_and_streams_have_no_duration():
    metrics = Metrics()

    metrics.count_call("/theblock.v1.Chain/GetTip", "OK", 0.02)
    metrics.count_call("/theblock.v1.Chain/Events", "CANCELLED", None)

    get = metrics.registry.get_sample_value
    assert get("rpc_calls_total", {"method": "/theblock.v1.Chain/GetTip", "code": "OK"}) == 1
    assert get("rpc_call_seconds_count", {"method": "/theblock.v1.Chain/GetTip"}) == 1
    assert get("rpc_calls_total", {"method": "/theblock.v1.Chain/Events", "code": "CANCELLED"}) == 1
    assert get("rpc_call_seconds_count", {"method": "/theblock.v1.Chain/Events"}) is None
