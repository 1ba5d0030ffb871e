"""Every metric of a node, declared once, in one registry that the process hands to whoever measures.

Names are the requirement's where the thing exists. A label takes its values from a closed set (methods, codes,
calls, events, lanes) or, for providers, from a table of bounded size; ids of transactions, peers and accounts are
no labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

PROVIDERS_MAX = 64
"""Providers with a label of their own; later ones share `OTHER`."""
OTHER = "other"
DETAILS_MAX = 64
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
INTERVAL_SECONDS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
BLOCK_TXS = (0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)
FULFILLMENT_MS = (50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000)
PROOF_MS = (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
READING_SECONDS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
SIGNER_STATES = ("Ready", "WaitingToSign", "KeyInUseElsewhere", "FencedOut", "Off")


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What every member says of itself at a scrape."""

    role: str
    member: str
    network: str
    version: str
    height: int
    finalized_height: int
    peers: int
    is_ready: bool
    is_in_sync: bool
    is_draining: bool
    signer_state: str | None = None
    """None where nothing is signed."""
    signer_floor_slot: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the role adds; its numbers become `member_detail`."""


class Metrics:
    """The metrics of one process. Counters are moved where things happen, gauges are set when they are read."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._looks: list[Callable[[], None]] = []
        self._running = _Running()
        self._providers: dict[str, str] = {}
        self.registry.register(self._running)
        ProcessCollector(registry=self.registry)

        self.info = self._gauge("member_info", "Always 1; who this is", "role", "member", "network", "version")
        self.ready = self._gauge("member_ready", "1 while the readiness probe says yes")
        self.in_sync = self._gauge("member_in_sync", "1 while nobody that it hears is ahead")
        self.draining = self._gauge("member_draining", "1 once it was asked to drain")
        self.detail = self._gauge("member_detail", "Numbers that the role adds to its status", "name")
        self.height = self._gauge("chain_height", "Height of the head")
        self.finalized_height = self._gauge("chain_finalized_height", "Height of the last final block")
        self.peers = self._gauge("p2p_peers", "Sessions with other members")
        self.mempool_size = self._gauge("mempool_size", "Transactions that wait for a block")
        self.signer_state = self._gauge("signer_state", "1 for the state that the signer is in", "state")
        self.signer_floor_slot = self._gauge("signer_floor_slot", "Slot at and below which nothing is signed")

        self.block_interval = self._histogram(
            "block_interval_seconds", "Time between a final block and its parent", INTERVAL_SECONDS
        )
        self.block_txs = self._histogram("block_txs", "Transactions of a final block", BLOCK_TXS)
        self.txs = self._counter("chain_tx_total", "Transactions in final blocks", "call", "result")
        self.events = self._counter("chain_event_total", "Events of final blocks", "event")
        self.rpc_calls = self._counter("rpc_calls_total", "Calls that ended, by what they ended with", "method", "code")
        self.rpc_seconds = self._histogram("rpc_call_seconds", "Duration of unary calls", SECONDS, "method")

        self.energy_providers = self._gauge("energy_provider_total", "Providers that are registered and not gone")
        self.energy_pending = self._gauge("energy_pending_credits_total", "Energy credited and not settled, in Wh")
        self.energy_receipts = self._gauge("energy_receipt_total", "Receipts since the genesis")
        self.energy_disputes = self._gauge("energy_active_disputes_total", "Disputes that are open")
        self.energy_avg_price = self._gauge(
            "energy_avg_price", "nBLOCK per kWh, averaged over what this process saw settled"
        )
        self.energy_registered = self._counter("energy_provider_register_total", "Providers registered")
        self.energy_readings = self._counter("energy_meter_reading_total", "Readings accepted", "provider")
        self.energy_settled = self._counter("energy_settlement_total", "Settlements", "provider")
        self.energy_fees = self._counter("energy_treasury_fee_ct_total", "nBLOCK of fees paid to the treasury")
        self.energy_opened = self._counter("energy_dispute_open_total", "Disputes opened")
        self.energy_resolved = self._counter("energy_dispute_resolve_total", "Disputes resolved")
        self.energy_traded = self._counter("energy_kwh_traded_total", "Energy settled, in kWh")
        self.energy_bad_signatures = self._counter(
            "energy_signature_failure_total", "Readings refused for their signature", "provider", "reason"
        )
        self.energy_slashed = self._counter("energy_slashed_total", "nBLOCK slashed", "provider")
        self.energy_fulfillment = self._histogram(
            "energy_provider_fulfillment_ms",
            "From a provider's newest credit to the settlement that follows it",
            FULFILLMENT_MS,
            "provider",
        )
        self.reading_latency = self._histogram(
            "oracle_reading_latency_seconds", "From the meter's time to the block of the reading", READING_SECONDS
        )

        self.match_latency = self._histogram(
            "match_loop_latency_seconds", "From a job's block to that of its first assignment", INTERVAL_SECONDS, "lane"
        )
        self.compute_settled = self._counter("compute_slice_settled_total", "Slices paid", "provider")
        self.compute_violated = self._counter("compute_slice_violated_total", "Slices missed", "provider")
        self.compute_sla_violations = self._counter(
            "compute_sla_violations_total", "Slices delivered late, or never", "provider"
        )
        self.snark_verifications = self._counter("snark_verifications_total", "Proofs that settled a slice")
        self.proof_verification = self._histogram(
            "proof_verification_latency_ms", "Time to verify a proof, at the door or in a block", PROOF_MS
        )
        self.snark_fail = self._counter("snark_fail_total", "Deliveries of proofs that were refused")
        self.storage_answered = self._counter("storage_challenge_answered_total", "Challenges answered", "provider")
        self.storage_missed = self._counter("storage_challenge_missed_total", "Challenges missed", "provider")
        self.storage_lost = self._counter("storage_shard_lost_total", "Slots lost", "provider")
        self.bridge_headers = self._counter("bridge_headers_accepted_total", "Foreign headers accepted", "chain")
        self.bridge_reorganised = self._counter("bridge_reorganised_total", "Foreign branches switched", "chain")

    def on_scrape(self, look: Callable[[], None]) -> None:
        """Have ``look`` set its gauges each time before the metrics are read."""
        self._looks.append(look)

    def render(self) -> bytes:
        """The page, in Prometheus' text format."""
        for look in self._looks:
            look()
        return generate_latest(self.registry)

    def provider(self, name: str) -> str:
        """The label of a provider: its name, while there is room."""
        label = self._providers.get(name)
        if label is None:
            label = name if len(self._providers) < PROVIDERS_MAX else OTHER
            if label != OTHER:
                self._providers[name] = label
        return label

    def count_call(self, method: str, code: str, seconds: float | None) -> None:
        """A call ended with ``code``; ``seconds`` is None for streams."""
        self.rpc_calls.labels(method, code).inc()
        if seconds is not None:
            self.rpc_seconds.labels(method).observe(seconds)

    def set_running(self, name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], int]) -> None:
        """Show totals that somebody else counts: ``values`` by the values of ``labels``."""
        self._running.families[name] = (text, labels, dict(values))

    def show_member(self, facts: MemberFacts) -> None:
        """Set the gauges that every member has."""
        self.info.labels(facts.role, facts.member, facts.network, facts.version).set(1)
        self.ready.set(facts.is_ready)
        self.in_sync.set(facts.is_in_sync)
        self.draining.set(facts.is_draining)
        self.height.set(facts.height)
        self.finalized_height.set(facts.finalized_height)
        self.peers.set(facts.peers)
        if facts.signer_state is not None:
            states = dict.fromkeys((*SIGNER_STATES, facts.signer_state), 0) | {facts.signer_state: 1}
            for state, value in states.items():
                self.signer_state.labels(state).set(value)
            self.signer_floor_slot.set(facts.signer_floor_slot)
        for name, value in [pair for pair in facts.details.items() if isinstance(pair[1], int | float)][:DETAILS_MAX]:
            self.detail.labels(name).set(value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)


class _Running(Collector):
    """Totals that are counted elsewhere and only shown here."""

    def __init__(self) -> None:
        self.families: dict[str, tuple[str, tuple[str, ...], dict[tuple[str, ...], int]]] = {}

    def collect(self) -> Iterator[CounterMetricFamily]:
        for name, (text, labels, values) in self.families.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for key, value in values.items():
                family.add_metric(key, value)
            yield family

    def describe(self) -> Iterator[CounterMetricFamily]:
        return iter(())
