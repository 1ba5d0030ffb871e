"""What the driver says of a device's memory and clocks, through its management library (NVML) where that is there.

The library comes with the driver, so a pod that has a device has it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
_UNCORRECTED, _SINCE_START = 1, 0
_HELD_DOWN = 0x8 | 0x20 | 0x40 | 0x80
"""Reasons for slower clocks that are faults: slowdown by hardware, heat (twice), the power supply."""


@dataclass(frozen=True, slots=True)
class Signs:
    ecc_errors: int
    """Memory errors that could not be corrected, since the driver started; 0 where the device counts none."""
    is_throttled: bool


class Nvml:
    def __init__(self, library: Any) -> None:
        self._library = library

    def look(self, bus_id: str) -> Signs:
        """The signs of the device on a PCI bus; none of one that the library does not know."""
        handle = ctypes.c_void_p()
        if self._library.nvmlDeviceGetHandleByPciBusId_v2(bus_id.encode(), ctypes.byref(handle)):
            return Signs(0, is_throttled=False)
        errors, reasons = ctypes.c_ulonglong(), ctypes.c_ulonglong()
        has_errors = not self._library.nvmlDeviceGetTotalEccErrors(
            handle, _UNCORRECTED, _SINCE_START, ctypes.byref(errors)
        )
        has_reasons = not self._library.nvmlDeviceGetCurrentClocksThrottleReasons(handle, ctypes.byref(reasons))
        return Signs(errors.value if has_errors else 0, is_throttled=has_reasons and bool(reasons.value & _HELD_DOWN))


def open_nvml() -> Nvml | None:
    """None where there is no driver."""
    try:
        library = ctypes.CDLL(LIBRARY)
        return None if library.nvmlInit_v2() else Nvml(library)
    except (OSError, AttributeError):
        return None
