"""Meters: the mock's register and faults, and what is an answer over HTTP."""

from __future__ import annotations

import pytest
from support.http import serving
from theblock_node.clock import ManualClock
from theblock_node.config import BadConfig, Meter, MockMeter
from theblock_node.services.energy.meters import open_meter
from theblock_node.services.energy.meters.http import parse_answer
from theblock_node.services.energy.meters.mock import JUMP_WH, SKEW_SECONDS
from theblock_node.services.energy.readings import MeterUnreachable, Reading

ORIGIN = 1_000_000


def mock(*faults: str, now: int = ORIGIN + 45):
    meter = Meter(
        name="roof", address="m", provider_id="p", mock=MockMeter(step_wh=250, start_wh=1_000, faults=tuple(faults))
    )
    return open_meter(meter, ManualClock(now * 1000), origin_seconds=ORIGIN)


@pytest.mark.parametrize(
    ("faults", "total", "timestamp"),
    [
        ((), 1_750, ORIGIN + 45),
        (("stuck",), 1_000, ORIGIN + 45),
        (("jump",), 1_750 + JUMP_WH, ORIGIN + 45),
        (("regress",), 1_250, ORIGIN + 45),
        (("skew",), 1_750, ORIGIN + 45 + SKEW_SECONDS),
    ],
)
async def test_mock_meter_is_a_function_of_the_time(faults, total, timestamp):
    assert await mock(*faults).read() == Reading("roof", total, timestamp)


async def test_offline_meter_does_not_answer():
    with pytest.raises(MeterUnreachable):
        await mock("offline").read()
    with pytest.raises(BadConfig):
        mock("explode")


async def test_meter_is_read_over_http():
    clock = ManualClock(7_000)
    with serving({"/register": {"register": "12.5"}}) as address:
        good, bad = (
            Meter(name="roof", address="m", provider_id="p", driver="http", endpoint=address + path, scale_to_wh=1000)
            for path in ("/register", "/nothing")
        )

        assert await open_meter(good, clock, origin_seconds=0).read() == Reading("roof", 12_500, 7)
        with pytest.raises(MeterUnreachable):
            await open_meter(bad, clock, origin_seconds=0).read()


@pytest.mark.parametrize(
    ("answer", "total_wh", "timestamp"),
    [
        pytest.param(b'{"total_wh": 1250}', 1250, 5, id="wh"),
        pytest.param(b'{"register": 1.25}', 1250, 5, id="scaled-exactly"),
        pytest.param(b'{"register": "0.1", "timestamp": 7}', 100, 7, id="as-text"),
    ],
)
def test_http_answer_is_read(answer, total_wh, timestamp):
    meter = Meter(name="roof", address="m", provider_id="p", driver="http", endpoint="http://m", scale_to_wh=1000)

    assert parse_answer(meter, answer, now_seconds=5) == Reading("roof", total_wh, timestamp)


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"total_wh": -1}', b'{"total_wh": true}', b'{"register": "0.0001"}', b'{"total_wh": 1e99}',
     b'{"register": "NaN"}'],
)  # fmt: skip
def test_nonsense_over_http_is_no_reading(answer):
    meter = Meter(name="roof", address="m", provider_id="p", driver="http", endpoint="http://m")

    with pytest.raises(MeterUnreachable):
        parse_answer(meter, answer, now_seconds=5)
