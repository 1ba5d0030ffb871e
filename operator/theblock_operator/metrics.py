"""The operator's figures, for Prometheus: visits, the queue, calls to the API server, the Lease, certificates.

Knows no HTTP server: `render` gives the page, whoever serves it. Used in a cluster and in the embedded run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from theblock_operator import ca, keys, names
from theblock_operator.observed import Object
from theblock_operator.status import conditions_of

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
KEPT_MAX = 4096


@dataclass(frozen=True, slots=True)
class CertificateFigure:
    network: str
    subject: str
    """The member, or what else the certificate is for."""
    not_after: int


class Metrics:
    """One registry; satisfies `controller.Meter` and `cluster.Meter`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self._visits = Counter("theblock_operator_reconcile", "Visits of resources.", ("kind", "result"), registry=own)
        self._seconds = Histogram(
            "theblock_operator_reconcile_duration_seconds",
            "Time a visit took.",
            ("kind",),
            buckets=SECONDS,
            registry=own,
        )
        self._depth = Gauge("theblock_operator_queue_depth", "Keys that wait for a visit.", registry=own)
        self._oldest = Gauge(
            "theblock_operator_queue_oldest_seconds", "How long the oldest key has waited.", registry=own
        )
        self._watch_age = Gauge(
            "theblock_operator_watch_age_seconds",
            "Since when the watch that is silent longest was not heard.",
            registry=own,
        )
        self._calls = Counter("theblock_operator_api_calls", "Calls to the API server.", ("verb", "code"), registry=own)
        self._writes = Counter("theblock_operator_api_writes", "Writes to the API server.", ("kind",), registry=own)
        self._lease = Gauge("theblock_operator_lease_held", "1 while this process leads.", ("namespace",), registry=own)

    def visited(self, kind: str, result: str, seconds: float) -> None:
        self._visits.labels(kind, result).inc()
        self._seconds.labels(kind).observe(seconds)

    def called(self, verb: str, code: str) -> None:
        self._calls.labels(verb, code).inc()

    def wrote(self, kind: str) -> None:
        self._writes.labels(kind).inc()

    def led(self, namespace: str, held: bool) -> None:
        self._lease.labels(namespace).set(held)

    def follow_queue(self, depth: Callable[[], float], oldest_seconds: Callable[[], float]) -> None:
        """Ask these at every scrape."""
        self._depth.set_function(depth)
        self._oldest.set_function(oldest_seconds)

    def follow_watches(self, age: Callable[[], float]) -> None:
        self._watch_age.set_function(age)

    def follow_certificates(self, figures: Callable[[], Iterable[CertificateFigure]], now: Callable[[], int]) -> None:
        self.registry.register(_Certificates(figures, now))

    def follow_accelerators(self, providers: Callable[[], Iterable[Object]]) -> None:
        """Ask for the ComputeProviders at every scrape."""
        self.registry.register(_Accelerators(providers))

    def render(self) -> bytes:
        """The page of `/metrics`, of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class _Certificates(Collector):
    """Made at every scrape, so that what is gone is not told any more."""

    def __init__(self, figures: Callable[[], Iterable[CertificateFigure]], now: Callable[[], int]) -> None:
        self._figures = figures
        self._now = now

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        family = self._family()
        now = self._now()
        for figure in self._figures():
            family.add_metric([figure.network, figure.subject], figure.not_after - now)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "theblock_operator_cert_expiry_seconds",
            "Time until a certificate ends.",
            labels=["network", "subject"],
        )


class _Accelerators(Collector):
    """Made at every scrape from what conditions say."""

    def __init__(self, providers: Callable[[], Iterable[Object]]) -> None:
        self._providers = providers

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        family = self._family()
        for found in self._providers():
            said = conditions_of(found.get("status") or {}).get("AcceleratorDegraded")
            if said is not None and said.status != "Unknown":
                meta = found["metadata"]
                family.add_metric([meta["namespace"], meta["name"], said.reason], said.status == "True")
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(
            "theblock_operator_accelerator_degraded",
            "1 while members of a ComputeProvider compute without the device that they ask for.",
            labels=["namespace", "resource", "reason"],
        )


class CertificateReader:
    """What the certificates in Secrets say; each is parsed once."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}

    def read(self, secrets: Iterable[Object]) -> Iterator[CertificateFigure]:
        for secret in secrets:
            labels = secret["metadata"].get("labels") or {}
            network = labels.get(names.NETWORK)
            if network is None:
                continue
            data = keys.data_of(secret)
            for field in ("tls.crt", "ca.crt"):
                text = data.get(field)
                if text:
                    subject = labels.get(names.MEMBER) or secret["metadata"]["name"]
                    yield CertificateFigure(network, subject, self._end(text))
                    break

    def _end(self, text: str) -> int:
        if text not in self._ends:
            if len(self._ends) >= KEPT_MAX:
                self._ends.clear()
            self._ends[text] = ca.read(text).not_after
        return self._ends[text]
