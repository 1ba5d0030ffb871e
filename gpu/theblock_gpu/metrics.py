"""What the prover counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from theblock_gpu.health import DEGRADED, HEALTHY, QUARANTINED

PROOF_SECONDS = tuple(0.005 * 2**power for power in range(16))
SECONDS = (0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 4.0, 16.0, 64.0, 256.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tasks = Counter(
            "prover_tasks", "Tasks by back end and outcome.", ["workload", "backend", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "prover_task_seconds", "Time of a task.", ["backend"], buckets=SECONDS, registry=self.registry
        )
        self._digests = Counter("prover_digests", "Digests computed.", ["backend"], registry=self.registry)
        self._fallbacks = Counter(
            "prover_fallbacks", "Tasks that a device gave up and the CPU did.", registry=self.registry
        )
        self._checks = Counter("prover_self_checks", "Self-checks by outcome.", ["outcome"], registry=self.registry)
        self._devices = Gauge("prover_devices", "Devices by health.", ["health"], registry=self.registry)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=PROOF_SECONDS, registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self._proofs = seconds("snark_prover_latency_seconds", "Whole proofs, without their wires.", "backend")
        self._stages = seconds("snark_prover_stage_seconds", "Stages of proofs.", "backend", "stage")
        self._witness = seconds("snark_witness_seconds", "Wires from inputs.")
        self._failures = counter("snark_prover_failure", "Attempts at a proof that failed.", "backend")
        self._reasons = counter("snark_prover_failure_reason", "The same by reason.", "backend", "reason")
        self._hits = counter("snark_shape_cache_hits", "Circuits that were ready.")
        self._misses = counter("snark_shape_cache_misses", "Circuits that were asked for and not loaded.")
        self._evictions = counter("snark_shape_cache_evictions", "Circuits given up.")
        self._cache_bytes = Gauge("snark_shape_cache_bytes", "What circuits take.", ["tier"], registry=self.registry)

    def task_done(self, workload: str, backend: str, seconds: float) -> None:
        self._tasks.labels(workload, backend, "done").inc()
        self._seconds.labels(backend).observe(seconds)

    def hashed(self, backend: str, digests: int) -> None:
        self._digests.labels(backend).inc(digests)

    def task_ended(self, workload: str, backend: str, outcome: str) -> None:
        """A task came to nothing: stopped, or failed."""
        self._tasks.labels(workload, backend, outcome).inc()

    def fell_back(self, count: int) -> None:
        self._fallbacks.inc(count)

    def checked(self, *, passed: bool) -> None:
        self._checks.labels("passed" if passed else "failed").inc()

    def devices(self, healths: Iterable[str]) -> None:
        seen = list(healths)
        for name in (HEALTHY, DEGRADED, QUARANTINED):
            self._devices.labels(name).set(seen.count(name))

    def proof_made(self, backend: str, seconds: float) -> None:
        self._proofs.labels(backend).observe(seconds)

    def stage_done(self, backend: str, stage: str, seconds: float) -> None:
        self._stages.labels(backend, stage).observe(seconds)

    def witness_made(self, seconds: float) -> None:
        self._witness.observe(seconds)

    def proof_failed(self, backend: str, reason: str) -> None:
        self._failures.labels(backend).inc()
        self._reasons.labels(backend, reason).inc()

    def shape_found(self, *, is_hit: bool) -> None:
        (self._hits if is_hit else self._misses).inc()

    def shapes_changed(self, tier: str, size: int, evicted: int) -> None:
        self._cache_bytes.labels(tier).set(size)
        self._evictions.inc(evicted)

    def serve(self, host: str, port: int) -> None:
        """Serve them in a thread, until the process ends; `OSError` where the port is taken."""
        start_http_server(port, addr=host, registry=self.registry)
