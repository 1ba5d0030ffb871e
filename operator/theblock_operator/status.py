"""Status: what a judge says, and how it becomes the `.status` of a resource. The writing itself is the shell's.

A condition's transition time moves only with its status. A figure that moves by itself (a height, a balance, a count
of bytes or jobs) is rounded down and is never by itself a reason to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from theblock_operator.observed import Object

Truth = Literal["True", "False", "Unknown"]
MESSAGE_MAX = 1024
NOT_YET_OBSERVED = "NotYetObserved"

QUIET = frozenset(
    {
        "balance",
        "baseFee",
        "blocks",
        "bond",
        "certNotAfter",
        "contracts",
        "earned",
        "collateral",
        "epoch",
        "finalizedHeight",
        "height",
        "justifiedHeight",
        "lastReadingHeight",
        "lastTotalWh",
        "leaderMisses",
        "mempool",
        "missed",
        "ok",
        "pending",
        "pendingCreditsWh",
        "queued",
        "reputation",
        "reputationPpm",
        "running",
        "settled",
        "signFloorHeight",
        "spoolDepth",
        "successPpm",
        "tipHeight",
        "bestHash",
        "unitsPerSecond",
        "usedBytes",
        "violated",
        "votes.height",
    }
)
"""Fields, at any depth, whose movement alone causes no write."""


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: Truth
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What a judge says. `fields` has the names of the CRD; conditions come one a type, in the kind's order."""

    conditions: tuple[Condition, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def condition(self, type_: str) -> Condition:
        return next(condition for condition in self.conditions if condition.type == type_)


def render(status: Status, before: Object, *, generation: int, now: int) -> Object:
    """The object to store in place of ``before``."""
    return {
        **status.fields,
        "observedGeneration": generation,
        "conditions": render_conditions(
            status.conditions, before.get("conditions", ()), generation=generation, now=now
        ),
    }


def render_conditions(
    conditions: Iterable[Condition], before: Iterable[Object], *, generation: int, now: int
) -> list[Object]:
    old = {condition["type"]: condition for condition in before}
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message[:MESSAGE_MAX],
            "observedGeneration": generation,
            "lastTransitionTime": old[condition.type]["lastTransitionTime"]
            if condition.type in old and old[condition.type]["status"] == condition.status
            else rfc3339(now),
        }
        for condition in conditions
    ]


def is_worth_writing(before: Object, after: Object) -> bool:
    """Something besides quiet figures differs."""
    return bool(_loud(before) != _loud(after))


def needs_refresh(before: Object, after: Object, *, last_write: int, refresh_seconds: int, now: int) -> bool:
    """The quiet figures moved, and the Network wants them refreshed by now."""
    return before != after and 0 < refresh_seconds <= now - last_write


def load_moved(before: Object, after: Object) -> bool:
    """The slices by which autoscalers scale are others."""
    was, is_now = (status.get("jobs") or {} for status in (before, after))
    return any(was.get(name) != is_now.get(name) for name in ("running", "queued"))


def conditions_of(status: Object) -> dict[str, Condition]:
    """What a stored status says, by type."""
    return {
        row["type"]: Condition(row["type"], row["status"], row["reason"], row.get("message", ""))
        for row in status.get("conditions", ())
    }


def not_yet_observed(types: Iterable[str]) -> tuple[Condition, ...]:
    return tuple(Condition(type_, "Unknown", NOT_YET_OBSERVED) for type_ in types)


def floor_height(height: int) -> int:
    """Rounded down to 100 blocks."""
    return height - height % 100


def floor_figure(amount: int) -> int:
    """Rounded down to two leading digits."""
    step: int = 10 ** max(0, len(str(amount)) - 2)
    return amount - amount % step


def rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def _loud(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _loud(part) for key, part in value.items() if key not in QUIET}
    if isinstance(value, list | tuple):
        return [_loud(part) for part in value]
    return value
