"""One CUDA device: its kernels, its stream, its memory, and waits that end.

CuPy raises where a launch or a copy fails; what happens after it is told at the next wait. Whatever is raised inside
`Machine.entered` is a `DeviceError`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
from theblock_kernels import device as kernels
from theblock_kernels.bn254 import NotCanonical

from theblock_gpu.device import TIMEOUT, Cupy, DeviceError, device_errors

Array = Any
"""A `cupy.ndarray` of 32-bit words."""
DEVICES_MAX = 16
SCAN_CHUNK = 64
GRID_BLOCKS_MAX = 65_535
NOT_READY = 600
"""cudaErrorNotReady."""
STAGE_SECONDS_MAX = 60.0
POLL_SECONDS = 0.0002


@functools.lru_cache(maxsize=DEVICES_MAX)
def _compile(cupy: Cupy, device: int) -> dict[str, Any]:
    """The kernels as functions, for the device that is entered: once, not for each key."""
    module = cupy.RawModule(code=kernels.source(), options=kernels.OPTIONS)
    return {name: module.get_function(name) for name in kernels.kernels()}


class NoElement(Exception):
    """A buffer of the caller's holds what is at or above its modulus, which is no fault of the device."""


class Machine:
    """The kernels on one device, their stream, and memory for them. Not for two threads at once."""

    def __init__(self, cupy: Cupy, device: int) -> None:
        """Compiles, unless CuPy has it; raises `DeviceError`."""
        self.cupy = cupy
        self.device = device
        with device_errors(cupy), cupy.cuda.Device(device):
            self._functions = _compile(cupy, device)
            self._stream = cupy.cuda.Stream(non_blocking=True)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, calls go to this device in their order, and what it says becomes `DeviceError`."""
        try:
            with device_errors(self.cupy), self.cupy.cuda.Device(self.device), self._stream:
                yield
        except NoElement as found:
            raise NotCanonical("an element is not below its modulus") from found

    def launch(self, name: str, *arguments: int | Array, items: int = 0) -> None:
        """Call a kernel, with a thread for each item; as many as its first argument says unless ``items`` does."""
        threads = kernels.kernels()[name].threads
        self._launch(name, -(-(items or int(arguments[0])) // threads), threads, arguments)

    def launch_blocks(self, name: str, *arguments: int | Array) -> None:
        """As `launch`, where a block does an item."""
        self._launch(name, int(arguments[0]), kernels.kernels()[name].threads, arguments)

    def _launch(self, name: str, blocks: int, threads: int, arguments: tuple[int | Array, ...]) -> None:
        takes = kernels.kernels()[name].arguments
        assert [kind == "u32" for kind in takes] == [isinstance(each, int) for each in arguments], name
        plain = tuple(numpy.uint32(each) if isinstance(each, int) else each for each in arguments)
        self._functions[name]((min(GRID_BLOCKS_MAX, blocks),), (threads,), plain)

    def zeros(self, words: int) -> Array:
        array = self.cupy.empty(max(1, words), dtype="uint32")
        array.fill(0)
        return array

    def upload(self, data: bytes | bytearray) -> Array:
        array = self.cupy.empty(max(1, len(data) // 4), dtype="uint32")
        if data:
            array.set(numpy.frombuffer(data, dtype="<u4"))
        return array

    def download(self, array: Array) -> bytes:
        """Bytes of the device, once all that was asked of it before is done; raises `DeviceError`."""
        self.wait()
        return bytes(array.get().tobytes())

    def wait(self) -> None:
        """Until the device is done. Asks again and again: CUDA's own wait cannot be given up."""
        event = self.cupy.cuda.Event(block=False, disable_timing=True)
        event.record(self._stream)
        ends = time.monotonic() + STAGE_SECONDS_MAX
        # A kernel that failed makes the query say so, and `event.done` false for ever.
        while self.cupy.cuda.runtime.eventQuery(event.ptr) == NOT_READY:
            if time.monotonic() > ends:
                raise DeviceError(f"not done after {STAGE_SECONDS_MAX:.0f} s", TIMEOUT)
            time.sleep(POLL_SECONDS)
        event.synchronize()

    def scan(self, counts: Array, size: int) -> None:
        """Make running sums of counts, in place."""
        chunks = -(-size // SCAN_CHUNK)
        sums = self.zeros(chunks)
        if chunks > 1:
            self.launch("sum_chunks", size, SCAN_CHUNK, counts, sums, items=chunks)
            self.scan(sums, chunks)
        self.launch("spread_sums", size, SCAN_CHUNK, sums, counts, items=chunks)
        sums.fill(0)
