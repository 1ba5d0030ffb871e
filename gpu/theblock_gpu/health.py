"""Whether a device may work: three failed tasks within ten minutes or one wrong result quarantine it, a passed
self-check brings it back.

Pure: the time is passed in, and what is returned replaces what was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FAILURES_MAX = 3
WINDOW_MS = 600_000
"""So many failed tasks within so long quarantine a device."""
RETRY_S = (60, 300, 1800, 3600)
"""When a quarantined device is checked again; the last one for ever."""
HEALTHY, DEGRADED, QUARANTINED = "Healthy", "Degraded", "Quarantined"
UNHEALTHY, WRONG, THROTTLED = "DeviceUnhealthy", "SelfCheckFailed", "Throttled"


@dataclass(frozen=True, slots=True)
class Health:
    failed_ms: tuple[int, ...] = ()
    """When tasks failed, the last few."""
    reason: str = ""
    """Why it is quarantined; empty while it may work."""
    said: str = ""
    """What its last task failed with; empty if it did not."""
    tries: int = 0
    """Self-checks that failed since it was quarantined."""
    check_at_ms: int = 0

    @property
    def may_work(self) -> bool:
        return not self.reason

    @property
    def name(self) -> str:
        if self.reason:
            return QUARANTINED
        return DEGRADED if self.said else HEALTHY

    def is_check_due(self, now_ms: int) -> bool:
        return bool(self.reason) and now_ms >= self.check_at_ms


def after_success(health: Health) -> Health:
    """A task was done; earlier failures still count."""
    return replace(health, said="")


def after_good_check(_: Health) -> Health:
    return Health()


def after_failure(health: Health, said: str, now_ms: int) -> Health:
    """A task failed on the device."""
    recent = tuple(at for at in health.failed_ms if now_ms - at < WINDOW_MS)
    failed = replace(health, failed_ms=(*recent, now_ms)[-FAILURES_MAX:], said=said)
    return quarantine(failed, UNHEALTHY, said, now_ms) if len(failed.failed_ms) >= FAILURES_MAX else failed


def quarantine(health: Health, reason: str, said: str, now_ms: int) -> Health:
    """No work for the device until a self-check passes."""
    return replace(health, reason=reason, said=said, tries=0, check_at_ms=now_ms + RETRY_S[0] * 1000)


def after_bad_check(health: Health, said: str, now_ms: int) -> Health:
    """A self-check failed: the next one is later."""
    tries = health.tries + 1
    wait_s = RETRY_S[min(tries, len(RETRY_S) - 1)]
    return replace(health, reason=health.reason or WRONG, said=said, tries=tries, check_at_ms=now_ms + wait_s * 1000)
