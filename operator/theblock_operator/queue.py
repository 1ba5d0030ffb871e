"""Keys to look at: each waits once, has one worker at a time, and after failures comes back later and later.

Level-triggered: a key that is added while it is being looked at is looked at again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 60.0
KEYS_MAX = 10_000


class WorkQueue(Generic[K]):
    """Owned by one event loop. `get` and `done` come in pairs."""

    def __init__(self, now: Callable[[], float], chance: random.Random) -> None:
        self._now = now
        self._chance = chance
        self._waiting: dict[K, float] = {}
        """Key -> since when; in order."""
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: K) -> None:
        """Look at ``key`` as soon as a worker is free."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting and len(self._waiting) < KEYS_MAX:
            self._waiting[key] = self._now()
        self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Look at ``key`` in so many seconds, or earlier if that was asked for."""
        at = self._now() + seconds
        if self._due.get(key, at + 1) > at:
            self._due[key] = at
            heapq.heappush(self._later, (at, next(self._order), key))
            self._changed.set()

    def add_failed(self, key: K) -> float:
        """Look at ``key`` after a wait that doubles with every failure in a row, with jitter; returns the wait."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest: float = min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2.0 ** (failures - 1))
        wait = longest / 2 + self._chance.random() * longest / 2
        self.add_after(key, wait)
        return wait

    def forget_failures(self, key: K) -> None:
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The key that has waited longest; `done` must follow."""
        while True:
            self._move_due()
            if self._waiting:
                key = next(iter(self._waiting))
                del self._waiting[key]
                self._working.add(key)
                return key
            self._changed.clear()
            wait = self._later[0][0] - self._now() if self._later else None
            try:
                async with asyncio.timeout(None if wait is None else max(0.0, wait)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    @property
    def depth(self) -> int:
        return len(self._waiting)

    @property
    def oldest_seconds(self) -> float:
        """How long the key has waited that waits longest."""
        return self._now() - next(iter(self._waiting.values())) if self._waiting else 0.0

    def _move_due(self) -> None:
        while self._later and self._later[0][0] <= self._now():
            at, _, key = heapq.heappop(self._later)
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)
