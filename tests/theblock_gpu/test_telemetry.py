"""The driver's library, as far as it can be asked without a driver."""

from __future__ import annotations

import pytest
from theblock_gpu import telemetry
from theblock_gpu.telemetry import Nvml, Signs

NOT_SUPPORTED = 3


class Library:
    """Stands in for NVML: it writes through the pointers that it is given."""

    def __init__(self, *, known: bool = True, errors: int | None = 0, reasons: int | None = 0) -> None:
        self._known, self._errors, self._reasons = known, errors, reasons

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus_id, handle):
        assert bus_id == b"0000:01:00.0"
        return 0 if self._known else NOT_SUPPORTED

    def nvmlDeviceGetTotalEccErrors(self, handle, kind, counter, out):
        assert (kind, counter) == (1, 0)
        return self._write(out, self._errors)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle, out):
        return self._write(out, self._reasons)

    @staticmethod
    def _write(out, value):
        if value is None:
            return NOT_SUPPORTED
        out._obj.value = value
        return 0


@pytest.mark.parametrize(
    ("library", "signs"),
    [
        pytest.param(Library(errors=4), Signs(4, is_throttled=False), id="memory-errors"),
        pytest.param(Library(reasons=0x40), Signs(0, is_throttled=True), id="heat"),
        pytest.param(Library(reasons=0x1 | 0x4), Signs(0, is_throttled=False), id="idle-or-at-its-power-cap"),
        pytest.param(Library(errors=None, reasons=None), Signs(0, is_throttled=False), id="counts-nothing"),
        pytest.param(Library(known=False, errors=9), Signs(0, is_throttled=False), id="unknown-device"),
    ],
)
def test_signs_are_read(library, signs):
    assert Nvml(library).look("0000:01:00.0") == signs


def test_host_without_a_driver_has_no_library(monkeypatch):
    monkeypatch.setattr(telemetry, "LIBRARY", "libnvidia-ml-of-nobody.so.1")
    assert telemetry.open_nvml() is None
