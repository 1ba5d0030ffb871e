"""Devices are found or said to be missing, and what goes wrong on one is told in one way."""

from __future__ import annotations

import pytest
from support.devices import CompileException, CudaError, FakeCupy
from theblock_gpu import device
from theblock_gpu.device import DeviceError
from theblock_gpu.hash import Stopped


class OutOfMemoryError(MemoryError):
    """What CuPy's pool would say."""


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        pytest.param(OutOfMemoryError("Out of memory allocating 4,096 bytes"), device.OUT_OF_MEMORY, id="memory"),
        pytest.param(CompileException("error: expected a ';'"), device.COMPILE, id="compiler"),
        pytest.param(CudaError("cudaErrorLaunchOutOfResources: too many resources"), device.LAUNCH, id="launch"),
        pytest.param(CudaError("cudaErrorIllegalAddress: an illegal memory access"), device.LOST, id="context"),
        pytest.param(CudaError("cudaErrorECCUncorrectable: uncorrectable ECC error"), device.LOST, id="memory-error"),
        pytest.param(ValueError("an array of another shape"), device.LAUNCH, id="wrong-call"),
        pytest.param(OSError("no such device"), device.LAUNCH, id="driver"),
    ],
)
def test_what_a_device_says_has_a_reason(failure, reason):
    with pytest.raises(DeviceError) as failed, device.device_errors(FakeCupy()):
        raise failure
    assert failed.value.reason == reason
    assert type(failure).__name__ in str(failed.value)


def test_stop_is_no_fault_of_the_device():
    with pytest.raises(Stopped), device.device_errors(FakeCupy()):
        raise Stopped
