"""A slice on its way from assignment to settlement, and what follows from what is known of it. Pure.

    assigned -> computed -> submitted -> delivered
        ^__________|____________|          or dead, or cancelled

Nothing goes back on its own: a wrong result is computed again, a transaction that can never count is signed again.
A slice that nobody can compute goes the same way, with a command that gives it back in the place of a result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from random import Random

from theblock_node.core.domains.compute.records import SliceStatus

Key = tuple[bytes, int]
"""Job and index."""
QUICK_MS = (100, 200, 400, 800)
WAIT_MS_MAX = 60_000
JITTER_PERCENT = 20
DECLINED = "declined"
"""The back end of a slice that is given back."""
WRONG_MAX = 3
"""Results of one slice that the chain may find wrong before it is given up."""


WRONG_RESULTS = frozenset(
    f"compute.{reason}"
    for reason in ("proof_invalid", "proof_decode", "proof_inputs", "proof_ctx", "proof_signature", "invalid_workload")
)
"""Refusals of what was computed. A block that has no room for another proof refuses none: it is sent again."""
ENDED = frozenset(
    f"compute.{reason}"
    for reason in (
        "slice_unknown",
        "job_not_found",
        "not_assignee",
        "circuit_unknown",
        "circuit_revoked",
        "statement_used",
    )
)
"""Refusals after which nothing that we could send counts."""


class State(Enum):
    ASSIGNED = "assigned"
    COMPUTED = "computed"
    SUBMITTED = "submitted"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"


LIVE = (State.ASSIGNED, State.COMPUTED, State.SUBMITTED)


class Fate(Enum):
    """What a refusal means for a slice."""

    DELIVERED = "delivered"
    WRONG = "wrong"
    LOST = "lost"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Entry:
    job_id: bytes
    index: int
    state: State
    attempts: int
    """Failed ones, of whatever the state waits for."""
    wrong: int
    """Results that the chain refused."""
    not_before_ms: int
    taken_ms: int
    bundle: bytes
    """Canonical bytes of the command that delivers it, or gives it back; empty until computed."""
    backend: str
    envelope: bytes
    """The signed transaction; empty until there is one."""
    tx_id: str
    error: str
    """What last went wrong."""

    @property
    def key(self) -> Key:
        return self.job_id, self.index

    @property
    def is_declined(self) -> bool:
        return self.backend == DECLINED

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


def wait_ms(attempts: int, chance: Random) -> int:
    """How long to wait after the failed attempt number ``attempts``, counted from 1."""
    if attempts <= len(QUICK_MS):
        return QUICK_MS[attempts - 1]
    base = min(WAIT_MS_MAX, QUICK_MS[-1] << min(attempts - len(QUICK_MS), 16))
    return base + base * chance.randint(-JITTER_PERCENT, JITTER_PERCENT) // 100


def judge_refusal(code: str, wrong: int) -> Fate:
    """``wrong`` results of the slice were refused before."""
    match code:
        case "compute.slice_paid":
            return Fate.DELIVERED
        case code if code in WRONG_RESULTS:
            return Fate.WRONG if wrong + 1 < WRONG_MAX else Fate.LOST
        case code if code in ENDED:
            return Fate.LOST
        case _:
            return Fate.RETRY


def judge_status(status: SliceStatus, provider_id: str, own_id: str) -> Fate:
    """What became of a slice that we hold, as the chain has it."""
    match status:
        case SliceStatus.SETTLED:
            return Fate.DELIVERED if provider_id == own_id else Fate.LOST
        case SliceStatus.VIOLATED | SliceStatus.CANCELLED:
            return Fate.LOST
        case _:
            # An open one is seen by who lags behind the block that assigned it.
            return Fate.RETRY


def plan_starts(
    entries: Iterable[Entry],
    running: Collection[Key],
    *,
    slots: int,
    now_ms: int,
    is_held: Callable[[Entry], bool],
) -> list[Entry]:
    """Which slices to begin to compute: the oldest that are due, as many as there is room for."""
    waiting = [
        entry
        for entry in entries
        if entry.state is State.ASSIGNED
        and entry.key not in running
        and entry.not_before_ms <= now_ms
        and not is_held(entry)
    ]
    waiting.sort(key=lambda entry: (entry.taken_ms, entry.key))
    return waiting[: max(0, slots - len(running))]


def next_due_ms(entries: Iterable[Entry], states: Collection[State], now_ms: int) -> int | None:
    """When the next slice in one of the states falls due; None if nothing waits for the time."""
    return min(
        (entry.not_before_ms for entry in entries if entry.state in states and entry.not_before_ms > now_ms),
        default=None,
    )
