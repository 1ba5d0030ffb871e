"""Tasks that failed too often: refused for a while, so that one bad input does not keep the prover busy."""

from __future__ import annotations

from collections import OrderedDict

from theblock_node.core.errors import InvalidRecord

FAILURES_MAX = 3
WINDOW_MS = 600_000
"""After so many failures within so long a task is refused, for as long again."""
TASKS_MAX = 1024
"""How many are remembered; the oldest are forgotten first."""
Key = tuple[bytes, int]
"""Job and slice: the other slices of a job are not made to wait."""


class FailedTasks:
    def __init__(self) -> None:
        self._failed: OrderedDict[Key, tuple[int, ...]] = OrderedDict()

    def check(self, key: Key, now_ms: int) -> None:
        """Refuse a task that is in quarantine."""
        failed = self._recent(key, now_ms)
        if len(failed) >= FAILURES_MAX:
            wait_ms = failed[-1] + WINDOW_MS - now_ms
            raise InvalidRecord("snark.job_quarantined", failures=len(failed), retry_after_ms=wait_ms)

    def add(self, key: Key, now_ms: int) -> None:
        """A task failed."""
        self._failed[key] = (*self._recent(key, now_ms), now_ms)[-FAILURES_MAX:]
        self._failed.move_to_end(key)
        if len(self._failed) > TASKS_MAX:
            self._failed.popitem(last=False)

    def forget(self, key: Key) -> None:
        """A task was done."""
        self._failed.pop(key, None)

    def _recent(self, key: Key, now_ms: int) -> tuple[int, ...]:
        return tuple(at for at in self._failed.get(key, ()) if now_ms - at < WINDOW_MS)
