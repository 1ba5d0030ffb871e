"""The documents of `custom.metrics.k8s.io/v1beta2` for ComputeProviders: what metrics there are, and what they say.

Values in, values out; `metrics_api.py` serves them. A figure is read from the resource's status, which whoever leads
keeps fresh; nothing is remembered here, so every replica of the operator answers the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from theblock_operator.api import REST
from theblock_operator.names import GROUP
from theblock_operator.observed import Object
from theblock_operator.status import rfc3339

GROUP_VERSION = "custom.metrics.k8s.io/v1beta2"
KIND = "ComputeProvider"
RESOURCE = f"{REST[KIND].plural}.{GROUP}"

METRICS: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "queued_slices": lambda jobs: min(int(jobs["queued"]), int(jobs["running"])),
    "running_slices": lambda jobs: max(0, int(jobs["running"]) - int(jobs["queued"])),
    "backlog": lambda jobs: int(jobs["running"]),
}
"""From `.status.jobs`, whose `running` counts what the chain has assigned and not settled, and `queued` what of it
waits in the members' queues. The backlog thus rests on the chain alone: a member that is silent does not lower it."""


def read(found: Object, metric: str) -> int | None:
    """What a metric of ``METRICS`` says of a resource; None while its chain does not answer."""
    jobs = (found.get("status") or {}).get("jobs")
    return None if jobs is None or not {"running", "queued"} <= jobs.keys() else METRICS[metric](jobs)


def discovery() -> Object:
    """The resources of the group version."""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP_VERSION,
        "resources": [
            {
                "name": f"{RESOURCE}/{metric}",
                "singularName": "",
                "namespaced": True,
                "kind": "MetricValueList",
                "verbs": ["get"],
            }
            for metric in METRICS
        ],
    }


def value_list(metric: str, found: Iterable[Object], now: int) -> Object:
    """What a metric says of resources; those of which nothing is known are left out."""
    return {
        "kind": "MetricValueList",
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": [
            {
                "describedObject": {
                    "kind": KIND,
                    "apiVersion": REST[KIND].api_version,
                    "namespace": each["metadata"]["namespace"],
                    "name": each["metadata"]["name"],
                },
                "metric": {"name": metric, "selector": None},
                "timestamp": rfc3339(now),
                "value": str(value),
            }
            for each in found
            if (value := read(each, metric)) is not None
        ],
    }


def refusal(code: int, reason: str, message: str, **details: str) -> Object:
    """A `Status`, as the API server itself refuses."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }
