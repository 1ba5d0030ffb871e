"""Proofs on one CUDA device: between the seat of a device and the kernels' prover there.

The kernels' prover takes bytes and gives bytes, as that of the host does; both are reached through
`core.proofs.native`, which encodes, decodes, and zeroes the wires.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from theblock_node.core.proofs import native
from theblock_node.core.proofs.groth16 import Proof
from theblock_node.core.proofs.prover import UsableKey

from theblock_gpu.circuits import Counts, ShapeCache
from theblock_gpu.cuda_plan import Circuit, plan_proof
from theblock_gpu.device import Cupy, Device, device_errors
from theblock_gpu.hash import Tell
from theblock_gpu.snark import Loaded, ProofSeat

MEMORY_SHARE = 60
"""Percent of a device's memory for keys and what a proof needs."""


class DeviceProver(Protocol):
    """A key on a device, as the kernels have it."""

    def prove(self, witness: bytearray, *, r: bytes, s: bytes, tell: Tell) -> bytes: ...

    def close(self) -> None: ...


OpenProver = Callable[..., DeviceProver]
"""Called with CuPy, the index of a device, the bases, and ``memory_bytes``."""


class CudaProofs:
    """What proves on one device."""

    def __init__(self, cupy: Cupy, device: Device, open_prover: OpenProver) -> None:
        self._cupy = cupy
        self._open_prover = open_prover
        self.device = device

    @property
    def memory_bytes(self) -> int:
        return self.device.memory_mib * 2**20 * MEMORY_SHARE // 100

    def plan(self, usable: UsableKey) -> int:
        """Bytes of a key and a proof with it; refuses ``snark.out_of_memory``."""
        key = usable.key
        circuit = Circuit(key.wire_count, key.domain_size, len(key.coefficients))
        return plan_proof(circuit, self.memory_bytes).device_bytes

    def load(self, usable: UsableKey) -> CudaKey:
        with device_errors(self._cupy), self._cupy.cuda.Device(self.device.index):
            bases = native.encode_bases(usable.key)
            opened = self._open_prover(self._cupy, self.device.index, bases, memory_bytes=self.plan(usable))
        return CudaKey(self._cupy, self.device, opened)


class CudaKey:
    """A proving key in the memory of a device."""

    def __init__(self, cupy: Cupy, device: Device, prover: DeviceProver) -> None:
        self._cupy, self._device, self._prover = cupy, device, prover

    def prove(self, witness: Sequence[int], *, r: int, s: int, tell: Tell) -> Proof:
        with device_errors(self._cupy), self._cupy.cuda.Device(self._device.index):
            told: Any = _Telling(self._prover, tell)
            return Proof(*native.prove(told, witness, r=r, s=s))

    def close(self) -> None:
        with device_errors(self._cupy), self._cupy.cuda.Device(self._device.index):
            self._prover.close()


class _Telling:
    """A device's prover, for who hands over no one to tell."""

    def __init__(self, prover: DeviceProver, tell: Tell) -> None:
        self._prover, self._tell = prover, tell

    def prove(self, witness: bytearray, *, r: bytes, s: bytes) -> bytes:
        return self._prover.prove(witness, r=r, s=s, tell=self._tell)


def open_seat(cupy: Cupy, device: Device, open_prover: OpenProver, counts: Counts) -> ProofSeat:
    """What proves on a device, with room for the keys that lie on it."""
    engine = CudaProofs(cupy, device, open_prover)
    shapes: ShapeCache[Loaded] = ShapeCache(engine.memory_bytes, "device", counts, lambda loaded: loaded.key.close())
    return ProofSeat(engine, shapes)
