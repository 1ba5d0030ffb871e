"""The CUDA devices of this process, or why there is none.

CuPy is imported only here, and only when a device is wanted: the prover runs without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Cupy = Any
"""The module `cupy`; typed by what we use of it."""


@dataclass(frozen=True, slots=True)
class Device:
    index: int
    model: str
    memory_mib: int
    bus_id: str = ""
    """Where the driver's own library finds it."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What was found. ``cupy`` is None exactly where ``reason`` says why there is no device."""

    cupy: Cupy | None
    devices: tuple[Device, ...]
    reason: str


OUT_OF_MEMORY, COMPILE, LAUNCH, TIMEOUT, LOST, WRONG = (
    "out_of_memory",
    "compile",
    "launch",
    "timeout",
    "lost",
    "wrong_proof",
)
_STICKY = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorLaunchTimeout",
    "cudaErrorHardwareStackError",
    "cudaErrorIllegalInstruction",
    "cudaErrorMisalignedAddress",
    "cudaErrorInvalidAddressSpace",
    "cudaErrorInvalidPc",
    "cudaErrorAssert",
    "cudaErrorECCUncorrectable",
)
"""After one of these every later call of the process fails: its context is lost."""


class DeviceError(Exception):
    """A device did not do what it was told; the text says what it said, ``reason`` is one of the words above."""

    def __init__(self, said: str, reason: str = LAUNCH) -> None:
        super().__init__(said)
        self.reason = reason


@contextmanager
def device_errors(cupy: Cupy) -> Iterator[None]:
    """Whatever CUDA or CuPy raises inside becomes a `DeviceError`; `Stopped` and the like pass."""
    try:
        yield
    except (RuntimeError, ValueError, MemoryError, OSError, cupy.cuda.compiler.CompileException) as failed:
        said = f"{type(failed).__name__}: {failed}"[:500]
        if isinstance(failed, MemoryError):
            reason = OUT_OF_MEMORY
        elif isinstance(failed, cupy.cuda.compiler.CompileException):
            reason = COMPILE
        else:
            reason = LOST if any(name in said for name in _STICKY) else LAUNCH
        raise DeviceError(said, reason) from failed


def find_devices() -> Devices:
    """Look for devices; never raises for want of one."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as missing:
        return Devices(None, (), f"CuPy is not there: {missing}")
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
        devices = tuple(_describe(cupy, index) for index in range(count))
    except (RuntimeError, OSError) as failed:
        return Devices(None, (), f"no CUDA device: {failed}")
    if not devices:
        return Devices(None, (), "no CUDA device")
    return Devices(cupy, devices, "")


def _describe(cupy: Cupy, index: int) -> Device:
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    name = properties["name"]
    model = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    bus_id = str(cupy.cuda.runtime.deviceGetPCIBusId(index))
    return Device(index, model, int(properties["totalGlobalMem"]) // 2**20, bus_id)
