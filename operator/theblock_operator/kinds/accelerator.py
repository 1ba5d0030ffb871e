"""On which side a compute member runs, the device's or the CPU's: a pure decision from what is seen (resources.md 10).

A member that waits in vain for a device falls back at once or after a while; it goes back when a device has been
free for long enough. The side stands on the member's workload, so that a restarted operator decides the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from theblock_operator import names
from theblock_operator.kinds.compute_spec import Accelerator
from theblock_operator.observed import MemberFacts, Node

DEVICE: Literal["device"] = "device"
CPU: Literal["cpu"] = "cpu"


@dataclass(frozen=True, slots=True)
class Side:
    """Where a member should run. ``reason`` is that of `AcceleratorDegraded`, empty on the device."""

    side: Literal["device", "cpu"]
    reason: str = ""
    changed: int = 0
    """Unix seconds of the last change of side; 0: never."""
    free_since: int | None = None
    """Since when a device has been free for a member on the CPU."""

    @property
    def annotations(self) -> dict[str, str]:
        return {
            names.ACCELERATOR_SIDE: self.side,
            names.ACCELERATOR_CHANGED: str(self.changed),
            **({names.ACCELERATOR_REASON: self.reason} if self.side == CPU else {}),
            **({names.ACCELERATOR_FREE_SINCE: str(self.free_since)} if self.free_since is not None else {}),
        }


def decide(wanted: Accelerator, facts: MemberFacts, nodes: Iterable[Node] | None, now: int) -> Side:
    """``nodes`` is None where they cannot be read; then only the pod tells."""
    seen = _read(facts)
    trouble = _find_trouble(wanted, facts, nodes, now)
    if wanted.fallback == "None":
        return Side(DEVICE, trouble, seen.changed)
    if seen.side == DEVICE:
        if not trouble or _is_placed(facts):
            return Side(DEVICE, "", seen.changed)
        return Side(CPU, trouble, now)
    free = nodes is not None and _has_free(wanted, nodes)
    since = (seen.free_since if seen.free_since is not None else now) if free else None
    rested = min(now - (since if since is not None else now), now - seen.changed)
    if since is not None and rested >= wanted.return_after_seconds:
        return Side(DEVICE, "", now)
    # While a device is free and the member waits to go back, what made it leave is still why it is on the CPU.
    return Side(CPU, _find_missing(wanted, nodes) or seen.reason or "Unschedulable", seen.changed, since)


def _read(facts: MemberFacts) -> Side:
    notes: Mapping[str, str] = facts.workload.annotations if facts.workload is not None else {}
    free = notes.get(names.ACCELERATOR_FREE_SINCE)
    return Side(
        CPU if notes.get(names.ACCELERATOR_SIDE) == CPU else DEVICE,
        notes.get(names.ACCELERATOR_REASON, ""),
        int(notes.get(names.ACCELERATOR_CHANGED, "0")),
        int(free) if free else None,
    )


def _find_trouble(wanted: Accelerator, facts: MemberFacts, nodes: Iterable[Node] | None, now: int) -> str:
    """Why a member cannot have a device; "" if nothing speaks against it."""
    since = facts.pod.unschedulable_since if facts.pod is not None and facts.pod.node == "" else None
    waited = since is not None and now - since >= wanted.fallback_after_seconds
    missing = _find_missing(wanted, nodes)
    return (missing or "Unschedulable") if waited or missing == "NoAcceleratorNodes" else ""


def _find_missing(wanted: Accelerator, nodes: Iterable[Node] | None) -> str:
    """Why no node has such a device at all; "" if one has, or nobody knows."""
    if nodes is None:
        return ""
    matching = [node for node in nodes if _matches(wanted, node)]
    if not matching:
        return "NoAcceleratorNodes"
    return "" if any(node.allocatable.get(wanted.resource, 0) for node in matching) else "DevicePluginMissing"


def _is_placed(facts: MemberFacts) -> bool:
    """Its pod runs somewhere: nodes that change later do not take it away."""
    return facts.pod is not None and facts.pod.node != ""


def _has_free(wanted: Accelerator, nodes: Iterable[Node]) -> bool:
    return any(
        _matches(wanted, node)
        and node.allocatable.get(wanted.resource, 0) - node.requested.get(wanted.resource, 0) >= wanted.count
        for node in nodes
    )


def _matches(wanted: Accelerator, node: Node) -> bool:
    return (
        node.ready
        and node.schedulable
        and all(node.labels.get(key) == value for key, value in wanted.node_selector.items())
    )
