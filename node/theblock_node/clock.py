"""The time, passed in: the system's, or one that a test or the simulator moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    async def sleep_until(self, at_ms: int) -> None:
        """Return once `now_ms` has reached ``at_ms``."""
        ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep_until(self, at_ms: int) -> None:
        while (left := at_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - the passing of time is the condition
            await asyncio.sleep(left / 1000)


class ManualClock:
    """Stands still until it is advanced."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep_until(self, at_ms: int) -> None:
        if at_ms <= self._now_ms:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (at_ms, next(self._order), future))
        await future

    def advance(self, by_ms: int) -> None:
        """Move on and wake who is due; they run when the caller next awaits."""
        self._now_ms += by_ms
        while self._waiting and self._waiting[0][0] <= self._now_ms:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)


class LoopClock:
    """Follows the event loop's own clock, which the simulator moves without waiting."""

    def __init__(self, start_ms: int, *, skew_ms: int = 0) -> None:
        self._start_ms = start_ms + skew_ms

    def now_ms(self) -> int:
        return self._start_ms + round(asyncio.get_running_loop().time() * 1000)

    async def sleep_until(self, at_ms: int) -> None:
        while (left := at_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - the passing of time is the condition
            await asyncio.sleep(left / 1000)
