"""A stand-in for CuPy that runs the kernels of proofs on this host, and watches what is done with its memory.

The kernels are those of `device.cu` as a C++ compiler makes them. What this shows: that the driver launches what it
should with arguments of the right types, that kernels stay within their arrays, that all of them compute what the
twin computes whichever lane goes first, and that nothing of a witness is left. It says nothing of a device.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from support.devices import CudaError, FakeCupy
from theblock_gpu import cuda_machine
from theblock_kernels import device, library

DEVICE = 0
"""Its index."""
GUARD = 64
"""Words on both sides of an array that no kernel may touch."""
_CANARY, _GARBAGE = 0x5A5A5A5A, 0xA5A5A5A5
_BACKWARDS = ("-DTB_BACKWARDS", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
Call = Callable[[str, int, int, list[int]], None]
"""Runs a kernel: its name, blocks, threads of each, arguments."""


@functools.cache
def host_kernels(*, backwards: bool = False) -> Call:
    """The kernels as a library of this host; the lanes in reverse, and undefined behaviour fatal, if ``backwards``."""
    compiler = next(filter(None, map(shutil.which, library.COMPILERS)), None)
    if compiler is None:
        pytest.skip("no C++ compiler")
    with tempfile.TemporaryDirectory(prefix="theblock-device-") as folder:
        made = Path(folder) / "device.so"
        flags = ("-x", "c++", *library.FLAGS, *(_BACKWARDS if backwards else ()))
        source = library.find_source() / device.MAIN
        subprocess.run([compiler, *flags, str(source), "-o", str(made)], check=True, timeout=300)
        opened = ctypes.CDLL(str(made))

    def call(name: str, blocks: int, threads: int, arguments: list[int]) -> None:
        takes = [ctypes.c_uint32 if kind == "u32" else ctypes.c_void_p for kind in device.kernels()[name].arguments]
        function = getattr(opened, name)
        function.argtypes, function.restype = takes, None
        function(*arguments)

    return call


class Memory:
    """What was allocated, how much there was at most, and what was in it when it was given back."""

    def __init__(self) -> None:
        self.bytes = self.peak = 0
        self.freed: list[Any] = []

    def give_back(self, whole: Any) -> None:
        self.bytes -= whole.nbytes - 2 * 4 * GUARD
        assert (whole[:GUARD] == _CANARY).all()
        assert (whole[-GUARD:] == _CANARY).all()
        self.freed.append(whole)


class Words:
    """Memory of the device: words, between guards."""

    def __init__(self, memory: Memory, values: Any, owner: Words | None = None) -> None:
        self._memory, self._owner = memory, owner
        self.values = values

    def __getitem__(self, part: slice) -> Words:
        return Words(self._memory, self.values[part], self._owner or self)

    def __len__(self) -> int:
        return len(self.values)

    def set(self, values: Any) -> None:
        assert values.dtype == self.values.dtype
        assert values.shape == self.values.shape
        self.values[:] = values

    def fill(self, value: int) -> None:
        self.values[:] = value

    def copy(self) -> Words:
        made = make_words(self._memory, len(self.values))
        made.values[:] = self.values
        return made

    def get(self) -> Any:
        return self.values.copy()


def make_words(memory: Memory, count: int) -> Words:
    whole = numpy.full(count + 2 * GUARD, _CANARY, dtype="uint32")
    made = Words(memory, whole[GUARD:-GUARD])
    # Like the device's, this memory holds whatever was there.
    made.values[:] = _GARBAGE
    memory.bytes += made.values.nbytes
    memory.peak = max(memory.peak, memory.bytes)
    weakref.finalize(made, memory.give_back, whole)
    return made


class HostCupy(FakeCupy):
    """One device. The launch whose number ``fails_at`` says fails; ``failed`` kernels are told of when waited for."""

    def __init__(self, call: Call | None = None) -> None:
        super().__init__()
        self.memory = Memory()
        self.shapes: list[tuple[str, int, int]] = []
        self.fails_at: int | None = None
        self.raises: Exception = CudaError("cudaErrorLaunchFailure: unspecified launch failure")
        self.hangs = self.failed = False
        self._call = call or host_kernels()
        self.cuda.Stream = self._stream
        self.cuda.Event = self._event
        self.cuda.runtime.eventQuery = self._query
        self.cuda.runtime.driverGetVersion = lambda: 13_010

    def empty(self, size: int, dtype: str) -> Any:
        assert dtype == "uint32"
        return make_words(self.memory, size)

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_all_blocks=lambda: None, set_limit=lambda size: None)

    def RawModule(self, *, code: str, options: tuple[str, ...]) -> Any:
        assert code == device.source()
        assert options == device.OPTIONS
        return SimpleNamespace(get_function=lambda name: functools.partial(self._run, name))

    def _run(self, name: str, grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
        assert 1 <= grid[0] <= 65_535
        assert block == (device.kernels()[name].threads,)
        if self.fails_at == len(self.shapes):
            raise self.raises
        self.shapes.append((name, grid[0], block[0]))
        plain = []
        for kind, each in zip(device.kernels()[name].arguments, arguments, strict=True):
            assert isinstance(each, numpy.uint32 if kind == "u32" else Words)
            plain.append(int(each) if kind == "u32" else each.values.ctypes.data)
        self._call(name, grid[0], block[0], plain)

    def _stream(self, *, non_blocking: bool) -> Any:
        assert non_blocking
        return _Stream()

    def _event(self, *, block: bool, disable_timing: bool) -> Any:
        assert not block
        return SimpleNamespace(ptr=len(self.shapes), record=lambda stream: None, synchronize=self._finish)

    def _query(self, event: int) -> int:
        return cuda_machine.NOT_READY if self.hangs else 719 if self.failed else 0

    def _finish(self) -> None:
        assert not self.hangs, "it would never come back"
        if self.failed:
            raise self.raises


class _Stream:
    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass
