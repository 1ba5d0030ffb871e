"""One operator a namespace: a Lease that is taken, renewed, and given back. Losing it ends the process.

A Lease counts as abandoned when nobody renewed it for its duration *by our own clock since we saw it change*: clocks
of machines need not agree. Who leads gives up well before another may take over.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from theblock_operator.api import REST, ApiError, Conflict, NotFound
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
LEASE = "theblock-operator"
Step = Literal["create", "take", "renew", "wait"]


class LeaseLost(Exception):
    """Another may lead from now on."""


class Leases(Protocol):
    """What is needed of an API server."""

    async def get(self, kind: str, namespace: str, name: str) -> Object: ...

    async def create(self, object_: Object) -> Object: ...

    async def replace(self, object_: Object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Timing:
    duration_s: float = 15.0
    """So long a Lease lasts that nobody renews."""
    give_up_s: float = 10.0
    """So long after the last renewal the holder stops."""
    retry_s: float = 2.0


def plan_step(lease: Object | None, identity: str, unchanged_s: float) -> Step:
    """What to do about the Lease; ``unchanged_s`` is how long we have seen it as it is."""
    if lease is None:
        return "create"
    spec = lease.get("spec") or {}
    holder = spec.get("holderIdentity") or ""
    if holder == identity:
        return "renew"
    if not holder or unchanged_s > float(spec.get("leaseDurationSeconds") or 0):
        return "take"
    return "wait"


class Leader:
    """Leads one namespace, or waits to."""

    def __init__(
        self,
        leases: Leases,
        namespace: str,
        identity: str,
        *,
        timing: Timing | None = None,
        led: Callable[[str, bool], None],
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._leases = leases
        self._namespace = namespace
        self._identity = identity
        self._timing = timing or Timing()
        self._led = led
        self._monotonic = monotonic
        self._now = now
        self._seen: tuple[str, float] = ("", 0.0)
        """Resource version, and since when we have seen it."""
        self._held: Object | None = None
        self._renewed = 0.0

    async def acquire(self) -> None:
        """Return once this process leads."""
        self._led(self._namespace, False)
        while True:
            try:
                async with asyncio.timeout(self._timing.give_up_s):
                    if await self._try():
                        log.info("leads namespace %s", self._namespace)
                        return
            except (ApiError, TimeoutError) as failed:
                log.warning("the Lease in %s cannot be had yet: %s", self._namespace, failed or "no answer in time")
            await asyncio.sleep(self._timing.retry_s)

    async def hold(self) -> None:
        """Renew until cancelled; `LeaseLost` when another leads, or renewing failed for too long."""
        while True:
            await asyncio.sleep(self._timing.retry_s)
            left = self._renewed + self._timing.give_up_s - self._monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    is_ours = await self._try()
            except (ApiError, TimeoutError) as failed:
                log.warning("the Lease in %s was not renewed: %s", self._namespace, failed or "no answer in time")
                if self._monotonic() - self._renewed >= self._timing.give_up_s:
                    self._lose("it could not be renewed in time")
                continue
            if not is_ours:
                self._lose("another process holds it")

    async def release(self) -> None:
        """Let another take over at once."""
        held, self._held = self._held, None
        self._led(self._namespace, False)
        if held is None:
            return
        spec = {**held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(self._now())}
        try:
            async with asyncio.timeout(self._timing.retry_s):
                await self._leases.replace({**held, "spec": spec})
        except (ApiError, TimeoutError) as failed:
            log.warning("the Lease in %s was not given back: %s", self._namespace, failed or "no answer in time")

    async def _try(self) -> bool:
        """One look, and one write if it is ours or free."""
        started = self._monotonic()
        try:
            lease: Object | None = await self._leases.get("Lease", self._namespace, LEASE)
        except NotFound:
            lease = None
        version = "" if lease is None else lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._monotonic())
        step = plan_step(lease, self._identity, self._monotonic() - self._seen[1])
        if step == "wait":
            return False
        try:
            if lease is None:
                written = await self._leases.create(self._lease(None))
            else:
                written = await self._leases.replace(self._lease(lease))
        except Conflict:
            return False  # Another was faster; the next look says who.
        self._held = written
        # From before the write: the Lease may have been renewed any time since.
        self._renewed = started
        self._led(self._namespace, True)
        return True

    def _lease(self, before: Object | None) -> Object:
        old = {} if before is None else before.get("spec") or {}
        stamp = micro_time(self._now())
        stays = old.get("holderIdentity") == self._identity
        meta = {"name": LEASE, "namespace": self._namespace}
        return {
            "apiVersion": REST["Lease"].api_version,
            "kind": "Lease",
            "metadata": meta if before is None else before["metadata"],
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, math.ceil(self._timing.duration_s)),
                "acquireTime": old.get("acquireTime", stamp) if stays else stamp,
                "renewTime": stamp,
                "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if stays or before is None else 1),
            },
        }

    def _lose(self, why: str) -> None:
        self._held = None
        self._led(self._namespace, False)
        raise LeaseLost(f"{self._namespace}: {why}")


async def acquire_all(leaders: Sequence[Leader]) -> None:
    """One after the other: operators whose namespaces overlap must name them in the same order, as ours are sorted."""
    for leader in leaders:
        await leader.acquire()


def micro_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
