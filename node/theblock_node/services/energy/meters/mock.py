"""A meter that is not there: its register is a function of the time, so that all members see the same one.

It rises by `step_wh` each interval from the origin on. Faults are for drills: offline, stuck, jump, regress, skew.
"""

from __future__ import annotations

from theblock_node.clock import Clock
from theblock_node.config import BadConfig, Meter, MockMeter
from theblock_node.services.energy.readings import MeterUnreachable, Reading

FAULTS = ("offline", "stuck", "jump", "regress", "skew")
JUMP_WH = 10**15
"""More than any provider may deliver."""
SKEW_SECONDS = 3600
FAULTY_STEPS = 4
"""Jump and regress show on every fourth step, so that good readings lie between."""


class MockRegister:
    def __init__(self, meter: Meter, clock: Clock, *, origin_seconds: int) -> None:
        self._meter = meter
        self._mock = meter.mock or MockMeter()
        self._clock = clock
        self._origin = origin_seconds
        unknown = set(self._mock.faults) - set(FAULTS)
        if unknown:
            raise BadConfig(f"meter {meter.name}: no fault {sorted(unknown)[0]}")

    async def read(self) -> Reading:
        return self.at(self._clock.now_ms() // 1000)

    def at(self, now_seconds: int) -> Reading:
        """The reading at a time, faults included."""
        faults = self._mock.faults
        if "offline" in faults:
            raise MeterUnreachable("the mock meter is offline")
        step = max(0, now_seconds - self._origin) // self._meter.interval_seconds
        total = self._mock.start_wh + (0 if "stuck" in faults else step * self._mock.step_wh)
        is_faulty = step % FAULTY_STEPS == FAULTY_STEPS - 1
        if "jump" in faults and is_faulty:
            total += JUMP_WH
        if "regress" in faults and is_faulty:
            total = max(0, total - 2 * self._mock.step_wh)
        timestamp = now_seconds + (SKEW_SECONDS if "skew" in faults else 0)
        return Reading(self._meter.name, total, timestamp)
