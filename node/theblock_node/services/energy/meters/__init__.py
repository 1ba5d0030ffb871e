"""Meters: how each driver reads one, and the table of drivers."""

from __future__ import annotations

from theblock_node.clock import Clock
from theblock_node.config import BadConfig, Meter
from theblock_node.services.energy.meters.http import HttpMeter
from theblock_node.services.energy.meters.mock import MockRegister
from theblock_node.services.energy.readings import MeterDriver


def open_meter(meter: Meter, clock: Clock, *, origin_seconds: int) -> MeterDriver:
    """The driver that ``meter`` names; ``origin_seconds`` is when a mock one began to count."""
    match meter.driver:
        case "mock":
            return MockRegister(meter, clock, origin_seconds=origin_seconds)
        case "http" if meter.endpoint is not None:
            return HttpMeter(meter, clock)
        case "http":
            raise BadConfig(f"meter {meter.name}: driver http needs an endpoint")
        case other:
            raise BadConfig(f"meter {meter.name}: no driver {other}")
