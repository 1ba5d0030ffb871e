"""Figures about visits: counted for `theblock status`, and passed on to the operator's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from theblock_operator.metrics import Metrics


class VisitCounter:
    """The `Meter` of the run without Kubernetes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._visits: Counter[tuple[str, str]] = Counter()

    def visited(self, kind: str, result: str, seconds: float) -> None:
        self._visits[kind, result] += 1
        self._metrics.visited(kind, result, seconds)

    def visits(self) -> Mapping[str, int]:
        """By `Kind/result`."""
        return {f"{kind}/{result}": count for (kind, result), count in sorted(self._visits.items())}
