"""How often and how much at once a caller may call: token buckets and counts, with the time passed in.

A bucket is kept for each caller and class of methods. Who is refused again and again is banned for a while. Only
callers without a certificate are banned: a member that is told to wait is one of ours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from theblock_node.core.errors import InvalidRecord

CALLERS_MAX = 4096
BAN_REFUSALS = 10
"""So many refusals within `BAN_WINDOW_MS` are too many."""
BAN_WINDOW_MS = 10_000
BAN_MS = 60_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls a second, and so many at once after a pause."""

    per_second: int
    burst: int


PUBLIC = Rate(200, 400)
MUTUAL = Rate(5000, 10_000)
PUBLIC_CALLS_MAX = 64
"""Calls of one caller in progress, streams included."""
MUTUAL_CALLS_MAX = 256
DEFAULT_CLASS = "public"
CLASSES = {
    DEFAULT_CLASS: PUBLIC,
    "energy.read": Rate(64, 64),
    "energy.submit": Rate(10, 10),
    "energy.settle": Rate(5, 5),
    "energy.dispute": Rate(3, 3),
    "bridge.read": Rate(64, 64),
    "bridge.submit": Rate(20, 20),
}
"""Classes of methods of the public port."""


def classify(method: str) -> str:
    """The class of a method, ``/theblock.energy.v1.EnergyMarket/Settle``."""
    service, _, name = method.removeprefix("/").rpartition("/")
    domain = service.removeprefix("theblock.").partition(".")[0]
    if domain not in ("energy", "bridge"):
        return DEFAULT_CLASS
    if name.startswith(("Get", "List", "Quote")):
        return f"{domain}.read"
    if domain == "bridge":
        return "bridge.submit"
    return {"SubmitReading": "energy.submit", "Settle": "energy.settle"}.get(name, "energy.dispute")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    since_ms: int
    refusals: int = 0
    first_refusal_ms: int = 0
    banned_until_ms: int = 0


class Buckets:
    """One bucket a caller; the callers seen least lately are forgotten first."""

    def __init__(self, rate: Rate, *, bans: bool = False) -> None:
        self._rate = rate
        self._bans = bans
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, now_ms: int) -> None:
        """Count one call; refuses with the wait until the next is allowed."""
        bucket = self._buckets.pop(caller, None) or _Bucket(float(self._rate.burst), now_ms)
        self._buckets[caller] = bucket
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        if now_ms < bucket.banned_until_ms:
            raise InvalidRecord("rpc.banned", retry_after_ms=bucket.banned_until_ms - now_ms)
        earned = max(0, now_ms - bucket.since_ms) * self._rate.per_second / 1000
        bucket.tokens, bucket.since_ms = min(float(self._rate.burst), bucket.tokens + earned), now_ms
        if bucket.tokens < 1:
            self._refuse(bucket, now_ms)
        bucket.tokens -= 1

    def _refuse(self, bucket: _Bucket, now_ms: int) -> None:
        if now_ms - bucket.first_refusal_ms > BAN_WINDOW_MS:
            bucket.refusals, bucket.first_refusal_ms = 0, now_ms
        bucket.refusals += 1
        if self._bans and bucket.refusals >= BAN_REFUSALS:
            bucket.refusals, bucket.banned_until_ms = 0, now_ms + BAN_MS
            raise InvalidRecord("rpc.banned", retry_after_ms=BAN_MS)
        wait_ms = int((1 - bucket.tokens) * 1000 / self._rate.per_second) + 1
        raise InvalidRecord("rpc.rate_limited", retry_after_ms=wait_ms, per_second=self._rate.per_second)


class InProgress:
    """How many calls each caller has open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[str, int] = {}

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Count a call while the block runs; refuses one too many."""
        now = self._open.get(caller, 0)
        if now >= self._most:
            raise InvalidRecord("rpc.too_many_calls", max=self._most, retry_after_ms=1000)
        self._open[caller] = now + 1
        try:
            yield
        finally:
            left = self._open[caller] - 1
            if left:
                self._open[caller] = left
            else:
                del self._open[caller]


class Limits:
    """What the guard asks before every call."""

    def __init__(self, public: Rate) -> None:
        rates = CLASSES if public is PUBLIC else dict.fromkeys(CLASSES, public)
        self._public = {name: Buckets(rate, bans=True) for name, rate in rates.items()}
        self._mutual = Buckets(MUTUAL)
        self._public_calls = InProgress(PUBLIC_CALLS_MAX)
        self._mutual_calls = InProgress(MUTUAL_CALLS_MAX)

    @contextmanager
    def admit(self, caller: str, method: str, now_ms: int, *, is_known: bool) -> Iterator[None]:
        """Count a call of ``caller`` while the block runs; ``is_known`` says that it showed a certificate."""
        buckets = self._mutual if is_known else self._public[classify(method)]
        buckets.take(caller, now_ms)
        with (self._mutual_calls if is_known else self._public_calls).hold(caller):
            yield
