"""A stand-in for CuPy whose device is the host: the kernels are the host's build of the same source, arrays numpy's.

What it shows is that the driver launches the right kernels over the right ranges with arguments of the right
types. It says nothing of a device: every figure made with it was not run on one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from theblock_gpu import native
from theblock_gpu.device import WRONG, Device, DeviceError
from theblock_gpu.hash import NativeEngine, Tell
from theblock_node.core.proofs import prover
from theblock_node.core.proofs.curve import G1
from theblock_node.core.proofs.groth16 import Proof
from theblock_node.core.proofs.prover import UsableKey


def host_engine() -> NativeEngine:
    """The kernels as a library of this host; skips the test where there is no compiler."""
    try:
        return NativeEngine()
    except native.NativeMissing as missing:
        pytest.skip(f"not run on the host's kernels: {missing}")


class CudaError(RuntimeError):
    """What CUDA would say."""


class CompileException(Exception):
    """What NVRTC would say."""


class Array:
    """Memory of the device; only `get` brings it to the host."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __getitem__(self, part: slice) -> Array:
        return Array(self.values[part])

    def get(self) -> Any:
        return self.values.copy()


class FakeCupy:
    """Has ``count`` devices; ``broken`` ones fail at every launch, ``wrong`` ones compute nonsense."""

    def __init__(self, count: int = 1) -> None:
        self.broken: set[int] = set()
        self.wrong: set[int] = set()
        self.launches: list[tuple[int, str]] = []
        self._current = 0
        runtime = SimpleNamespace(
            getDeviceCount=lambda: count,
            getDeviceProperties=lambda index: {"name": f"Fake {index}".encode(), "totalGlobalMem": 2**30},
            deviceGetPCIBusId=lambda index: f"0000:0{index}:00.0",
            deviceSynchronize=self._synchronize,
        )
        compiler = SimpleNamespace(CompileException=CompileException)
        self.cuda = SimpleNamespace(runtime=runtime, compiler=compiler, Device=self._device)

    def empty(self, size: int, dtype: str) -> Array:
        # Like the device's, this memory holds whatever was there.
        return Array(numpy.full(size, 0xA5A5A5A5, dtype=dtype))

    def asarray(self, values: Any) -> Array:
        return Array(numpy.array(values))

    def RawModule(self, *, code: str, options: tuple[str, ...]) -> Any:
        assert code == native.SOURCE.read_text()
        return SimpleNamespace(get_function=lambda name: lambda *launch: self._launch(name, *launch))

    def _launch(self, name: str, grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
        assert 1 <= grid[0] <= 65_535
        assert block == (256,)
        assert all(isinstance(each, Array | numpy.uint64) for each in arguments)
        self.launches.append((self._current, name))
        if self._current in self.broken:
            raise CudaError("cudaErrorIllegalAddress: an illegal memory access was encountered")
        plain = [each.values.ctypes.data if isinstance(each, Array) else int(each) for each in arguments]
        getattr(native.load_library(), name)(*plain)
        if self._current in self.wrong:
            arguments[-1].values[0] ^= 1

    @contextlib.contextmanager
    def _device(self, index: int) -> Iterator[None]:
        before, self._current = self._current, index
        try:
            yield
        finally:
            self._current = before

    def _synchronize(self) -> None:
        pass


class FakeProver:
    """A device that proves as the host does, but for the faults that it is told to have, one an attempt."""

    def __init__(self, memory: int = 2**20) -> None:
        self.device = Device(0, "Fake", memory // 2**20)
        self.faults: list[str] = []
        self.blinders: list[tuple[int, int]] = []
        self.loads = self.closed = 0
        self.hang = threading.Event()

    def plan(self, usable: UsableKey) -> int:
        return 1000

    def load(self, usable: UsableKey) -> FakeProver._Key:
        self.loads += 1
        return self._Key(self, usable)

    class _Key:
        def __init__(self, engine: FakeProver, usable: UsableKey) -> None:
            self._engine, self._usable = engine, usable

        def close(self) -> None:
            self._engine.closed += 1

        def prove(self, witness: Sequence[int], *, r: int, s: int, tell: Tell) -> Proof:
            tell("msm", 0)
            self._engine.blinders.append((r, s))
            fault = self._engine.faults.pop(0) if self._engine.faults else ""
            if fault == "hang":
                self._engine.hang.wait(30)
            elif fault and fault != WRONG:
                raise DeviceError(f"injected {fault}", fault)
            proof = prover.make_proof(self._usable, witness, r=r, s=s)
            return replace(proof, c=G1.add(proof.c, G1.generator)) if fault == WRONG else proof
