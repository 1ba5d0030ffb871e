"""A meter behind HTTP: GET of its endpoint answers one JSON object.

`{"total_wh": 1250250}` is taken as it is, `{"register": "1250.25"}` is multiplied by the meter's `scale_to_wh` and
must then be whole; `timestamp` (seconds) may say when it was read, else it is now.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from decimal import Decimal, InvalidOperation
from typing import Any

from theblock_node.clock import Clock
from theblock_node.config import BadConfig, Meter
from theblock_node.services.energy.readings import MeterUnreachable, Reading

DEADLINE_S = 3.0
ANSWER_BYTES_MAX = 65_536


class HttpMeter:
    def __init__(self, meter: Meter, clock: Clock) -> None:
        if not str(meter.endpoint).startswith(("http://", "https://")):
            raise BadConfig(f"meter {meter.name}: the endpoint is no HTTP address")
        self._meter = meter
        self._clock = clock

    async def read(self) -> Reading:
        try:
            data = await asyncio.to_thread(self._get)
        except OSError as failed:
            raise MeterUnreachable(str(failed)) from failed
        return parse_answer(self._meter, data, now_seconds=self._clock.now_ms() // 1000)

    def _get(self) -> bytes:
        with urllib.request.urlopen(str(self._meter.endpoint), timeout=DEADLINE_S) as answer:
            return answer.read(ANSWER_BYTES_MAX)  # type: ignore[no-any-return]


def parse_answer(meter: Meter, data: bytes, *, now_seconds: int) -> Reading:
    """The reading that a meter answered; `MeterUnreachable` where it is none."""
    try:
        answer = json.loads(data, parse_float=Decimal)
        if "total_wh" in answer:
            total = _whole(answer["total_wh"], 1)
        else:
            total = _whole(answer["register"], meter.scale_to_wh)
        return Reading(meter.name, total, _whole(answer.get("timestamp", now_seconds), 1))
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as wrong:
        raise MeterUnreachable(f"not an answer of a meter: {type(wrong).__name__}") from wrong


def _whole(value: Any, scale: int) -> int:
    if isinstance(value, bool):
        raise TypeError("a number is wanted")
    scaled = Decimal(value) * scale
    whole = int(scaled)
    if whole != scaled or not 0 <= whole < 2**63:
        raise ValueError("not a whole number of Wh")
    return whole
