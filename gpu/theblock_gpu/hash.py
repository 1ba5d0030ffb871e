"""The workload `gpu_hash` on each back end: CUDA, the same kernels built for the host, and the exact twin.

An engine computes a task into a `Tree`: every level of the tree over its digests, wherever that lies. What an
output opens is then read out of it. All engines give the same bytes; `core.proofs.gpu_hash` says which.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashOpening, HashTask

from theblock_gpu import native
from theblock_gpu.device import Cupy, Device, device_errors

Tell = Callable[[str, int], None]
"""Told the stage and the parts per million that are done; may raise `Stopped`."""
CUDA, NATIVE, PYTHON = "cuda", "native", "python"
SIZE = gpu_hash.DIGEST_BYTES
WORDS = SIZE // 4
DONE = 1_000_000
PYTHON_STEP = 16_384
"""Messages between two looks at whether the work is still wanted."""
NATIVE_STEP = 1 << 18
NATIVE_RANGE_MIN = 4096
"""Items below which a second thread costs more than it brings."""
THREADS_MAX = 16
BLOCK_THREADS = 256
GRID_BLOCKS_MAX = 65_535
_KERNEL_OF = {HashAlgorithm.BLAKE3: "hash_blake3", HashAlgorithm.SHA256: "hash_sha256"}


class Stopped(Exception):
    """Nobody wants the result any more."""


@dataclass(frozen=True, slots=True)
class Output:
    root: bytes
    openings: tuple[HashOpening, ...]


class Tree(Protocol):
    def node(self, level: int, at: int) -> bytes:
        """One hash; level 0 are the leaves."""
        ...


class Engine(Protocol):
    name: str

    def build(self, task: HashTask, tell: Tell) -> Tree:
        """Compute a task; raises `DeviceError` where a device fails, and what ``tell`` raises."""
        ...


def compute(engine: Engine, task: HashTask, context: bytes, tell: Tell) -> Output:
    """The output of a task: its root, and the openings that follow from it."""
    tree = engine.build(task, tell)
    root, openings = gpu_hash.open_tree(context, task.count, tree.node)
    tell("done", DONE)
    return Output(root, openings)


class HostTree:
    """Levels in memory, each one run of hashes."""

    def __init__(self, levels: list[Any]) -> None:
        self._levels = levels

    def node(self, level: int, at: int) -> bytes:
        return bytes(self._levels[level][at * SIZE : (at + 1) * SIZE])


class PythonEngine:
    """The twin itself."""

    name = PYTHON

    def build(self, task: HashTask, tell: Tell) -> HostTree:
        digests = bytearray()
        for first in range(0, task.count, PYTHON_STEP):
            tell("hash", first * DONE // task.count)
            for index in range(first, min(first + PYTHON_STEP, task.count)):
                digests += gpu_hash.compute_digest(task, index)
        tell("tree", DONE)
        return HostTree(list(gpu_hash.build_levels(bytes(digests))))


class NativeEngine:
    """The kernels as the host's compiler made them, on every core that the process may use."""

    name = NATIVE

    def __init__(self) -> None:
        """Raises `native.NativeMissing`."""
        self._library = native.load_library()
        self._threads = min(THREADS_MAX, len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="kernels")

    def build(self, task: HashTask, tell: Tell) -> HostTree:
        digests = bytearray(task.count * SIZE)
        hash_messages = _KERNEL_OF[task.algorithm]
        for first in range(0, task.count, NATIVE_STEP):
            tell("hash", first * DONE // task.count)
            last = min(first + NATIVE_STEP, task.count)
            self._run(hash_messages, first, last, task.seed, task.start, _at(digests))
        tell("tree", DONE)
        # In place: the digests themselves are not opened.
        self._run("hash_leaves", 0, task.count, _at(digests), _at(digests))
        levels = [digests]
        for below, above in _steps(task.count):
            level = bytearray(above * SIZE)
            self._run("hash_parents", 0, above, _at(levels[-1]), below, _at(level))
            levels.append(level)
        return HostTree(levels)

    def _run(self, name: str, first: int, last: int, *arguments: Any) -> None:
        kernel = getattr(self._library, name)
        count = max(1, min(self._threads, (last - first) // NATIVE_RANGE_MIN))
        if count == 1:
            kernel(first, last, *arguments)
            return
        ends = [first + (last - first) * part // count for part in range(count + 1)]
        # The list waits for all of them, and raises what one of them raised.
        list(self._pool.map(lambda part: kernel(ends[part], ends[part + 1], *arguments), range(count)))


class DeviceTree:
    """Levels in the memory of a device; only what is opened is copied out of it."""

    def __init__(self, cupy: Cupy, device: Device, levels: list[Any]) -> None:
        self._cupy = cupy
        self._device = device
        self._levels = levels

    def node(self, level: int, at: int) -> bytes:
        with device_errors(self._cupy), self._cupy.cuda.Device(self._device.index):
            return bytes(self._levels[level][at * WORDS : (at + 1) * WORDS].get().tobytes())


class CudaEngine:
    """The kernels on one device, compiled by NVRTC at the first task."""

    name = CUDA

    def __init__(self, cupy: Cupy, device: Device) -> None:
        self._cupy = cupy
        self.device = device
        self._module: Any = None

    def build(self, task: HashTask, tell: Tell) -> DeviceTree:
        cupy = self._cupy
        with device_errors(cupy), cupy.cuda.Device(self.device.index):
            if self._module is None:
                tell("compile", 0)
                self._module = cupy.RawModule(code=native.SOURCE.read_text(), options=("-std=c++17",))
            tell("hash", 0)
            seed = cupy.asarray(_words(task.seed))
            digests = cupy.empty(task.count * WORDS, dtype="uint32")
            self._launch(_KERNEL_OF[task.algorithm], task.count, seed, _u64(task.start), digests)
            self._launch("hash_leaves", task.count, digests, digests)
            levels = [digests]
            for below, above in _steps(task.count):
                level = cupy.empty(above * WORDS, dtype="uint32")
                self._launch("hash_parents", above, levels[-1], _u64(below), level)
                levels.append(level)
            # Launches return at once: what went wrong in one is told here.
            cupy.cuda.runtime.deviceSynchronize()
            tell("tree", DONE)
        return DeviceTree(cupy, self.device, levels)

    def _launch(self, name: str, count: int, *arguments: Any) -> None:
        blocks = min(GRID_BLOCKS_MAX, -(-count // BLOCK_THREADS))
        kernel = self._module.get_function(name)
        kernel((blocks,), (BLOCK_THREADS,), (_u64(0), _u64(count), *arguments))


def _steps(count: int) -> list[tuple[int, int]]:
    """Sizes of neighbouring levels, from the leaves up."""
    sizes = gpu_hash.level_sizes(count)
    return list(itertools.pairwise(sizes))


def _at(buffer: bytearray) -> Any:
    """The address of a buffer, which must outlive the call."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _words(data: bytes) -> Any:
    import numpy

    return numpy.frombuffer(data, dtype="<u4")


def _u64(value: int) -> Any:
    import numpy

    return numpy.uint64(value)
