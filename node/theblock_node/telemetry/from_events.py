"""Counters made from what final blocks tell. Whoever keeps the chain hands over each block once, in order.

Counters begin at zero with the process, as Prometheus expects; the totals of the chain itself are gauges.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from theblock_node.telemetry.registry import Metrics

JOBS_MAX = 4096
"""Jobs that wait for an assignment and are remembered."""
Record = Mapping[str, Any]
SIGNATURE_CODES = {
    "energy.invalid_signature": "invalid",
    "energy.malformed_signature": "malformed",
    "energy.unsupported_scheme": "scheme",
    "energy.key_not_registered": "unknown_key",
}


@dataclass(frozen=True, slots=True)
class TxTold:
    """One transaction: what it called, and how it ended."""

    call: str
    error_code: str
    provider: str = ""
    """Whom a refused reading was for."""
    has_proof: bool = False
    """A slice of proving was to be delivered, and was refused."""


@dataclass(frozen=True, slots=True)
class BlockTold:
    height: int
    timestamp_ms: int
    txs: tuple[TxTold, ...]
    events: tuple[tuple[str, Record], ...]
    """(name, record in its JSON form) in order."""


class EventCounter:
    """Moves the counters; remembers only what a duration needs."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._last_ms: int | None = None
        self._credited_ms: dict[str, int] = {}
        """Time of the newest credit, by label."""
        self._jobs: OrderedDict[str, tuple[str, int]] = OrderedDict()
        """(lane, time) of jobs without an assignment."""
        self._paid = 0
        self._wh = 0
        self._counters: dict[str, Callable[[Record, int], None]] = {
            "energy.provider_registered": self._registered,
            "energy.reading_submitted": self._reading,
            "energy.credit_created": self._credited,
            "energy.settled": self._settled,
            "energy.dispute_opened": lambda record, now_ms: metrics.energy_opened.inc(),
            "energy.dispute_resolved": lambda record, now_ms: metrics.energy_resolved.inc(),
            "energy.slashed": self._slashed,
            "compute.job_posted": self._posted,
            "compute.job_assigned": self._assigned,
            "compute.job_cancelled": lambda record, now_ms: self._forget(record),
            "compute.slice_settled": self._for_provider(metrics.compute_settled),
            "compute.slice_violated": self._missed,
            "compute.slice_late": self._for_provider(metrics.compute_sla_violations),
            "compute.proof_settled": lambda record, now_ms: metrics.snark_verifications.inc(),
            "storage.challenge_answered": self._for_provider(metrics.storage_answered),
            "storage.challenge_missed": self._for_provider(metrics.storage_missed),
            "storage.shard_lost": self._lost,
            "bridge.headers_accepted": self._headers,
            "bridge.reorganised": self._reorganised,
        }

    def take(self, block: BlockTold) -> None:
        """Count one final block."""
        metrics = self._metrics
        if self._last_ms is not None:
            metrics.block_interval.observe((block.timestamp_ms - self._last_ms) / 1000)
        self._last_ms = block.timestamp_ms
        metrics.block_txs.observe(len(block.txs))
        for tx in block.txs:
            metrics.txs.labels(tx.call, tx.error_code or "success").inc()
            reason = SIGNATURE_CODES.get(tx.error_code)
            if reason is not None and tx.call == "energy.submit_reading":
                metrics.energy_bad_signatures.labels(metrics.provider(tx.provider), reason).inc()
            if tx.has_proof:
                metrics.snark_fail.inc()
        for name, record in block.events:
            metrics.events.labels(name).inc()
            count = self._counters.get(name)
            if count is not None:
                count(record, block.timestamp_ms)

    def _label(self, record: Record) -> str:
        return self._metrics.provider(str(record["provider_id"]))

    def _for_provider(self, counter: Any) -> Callable[[Record, int], None]:
        return lambda record, now_ms: counter.labels(self._label(record)).inc()

    def _registered(self, record: Record, now_ms: int) -> None:
        self._metrics.energy_registered.inc()

    def _reading(self, record: Record, now_ms: int) -> None:
        self._metrics.energy_readings.labels(self._label(record)).inc()
        self._metrics.reading_latency.observe(max(0, now_ms / 1000 - int(record["timestamp"])))

    def _credited(self, record: Record, now_ms: int) -> None:
        self._credited_ms[self._label(record)] = now_ms

    def _settled(self, record: Record, now_ms: int) -> None:
        metrics, label = self._metrics, self._label(record)
        metrics.energy_settled.labels(label).inc()
        metrics.energy_fees.inc(int(record["treasury_fee"]))
        metrics.energy_traded.inc(int(record["wh"]) / 1000)
        self._paid += int(record["price_paid"])
        self._wh += int(record["wh"])
        if self._wh:
            metrics.energy_avg_price.set(self._paid * 1000 / self._wh)
        if label in self._credited_ms:
            metrics.energy_fulfillment.labels(label).observe(now_ms - self._credited_ms[label])

    def _slashed(self, record: Record, now_ms: int) -> None:
        self._metrics.energy_slashed.labels(self._label(record)).inc(int(record["amount"]))

    def _posted(self, record: Record, now_ms: int) -> None:
        self._jobs[str(record["job_id"])] = (str(record["lane"]), now_ms)
        if len(self._jobs) > JOBS_MAX:
            self._jobs.popitem(last=False)

    def _assigned(self, record: Record, now_ms: int) -> None:
        posted = self._jobs.pop(str(record["job_id"]), None)
        if posted is not None:
            lane, since_ms = posted
            self._metrics.match_latency.labels(lane).observe((now_ms - since_ms) / 1000)

    def _forget(self, record: Record) -> None:
        self._jobs.pop(str(record["job_id"]), None)

    def _missed(self, record: Record, now_ms: int) -> None:
        label = self._label(record)
        self._metrics.compute_violated.labels(label).inc()
        self._metrics.compute_sla_violations.labels(label).inc()

    def _lost(self, record: Record, now_ms: int) -> None:
        self._metrics.storage_lost.labels(self._label(record)).inc(len(record["slots"]))

    def _headers(self, record: Record, now_ms: int) -> None:
        self._metrics.bridge_headers.labels(self._metrics.provider(str(record["chain_id"]))).inc(int(record["count"]))

    def _reorganised(self, record: Record, now_ms: int) -> None:
        self._metrics.bridge_reorganised.labels(self._metrics.provider(str(record["chain_id"]))).inc()
