"""Proofs on a stand-in device, whose prover is the host's: bytes go over and come back, and wires do not stay."""

from __future__ import annotations

from typing import Any

import pytest
from support.circuits import bound_circuit
from support.devices import CudaError, FakeCupy
from support.snark import BLINDERS, WITNESS, cubic_proof, cubic_usable
from theblock_gpu import cuda, snark
from theblock_gpu.backends import Backends, Seat
from theblock_gpu.device import LOST, Device, DeviceError
from theblock_gpu.hash import CudaEngine, PythonEngine
from theblock_gpu.metrics import Metrics
from theblock_gpu.snark import Binding, SnarkBackends
from theblock_kernels.snark import Bases, Prover
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, native

pytestmark = pytest.mark.skipif(native.LIBRARY is None, reason="not run: there are no kernels for this machine")
BINDING = Binding(7, b"\x01" * 32, 3, b"\x02" * 32)


class HostProver:
    """The host's prover where the device's would be."""

    opened: list[HostProver] = []

    def __init__(self, cupy: Any, index: int, bases: Bases, *, memory_bytes: int) -> None:
        assert memory_bytes > 0
        self._prover, self.witness, self.is_closed = Prover(native.LIBRARY, bases), bytearray(), False
        self.failure: Exception | None = None
        HostProver.opened.append(self)

    def prove(self, witness: bytearray, *, r: bytes, s: bytes, tell: Any) -> bytes:
        self.witness = witness
        tell("msm", 0)
        if self.failure is not None:
            raise self.failure
        return self._prover.prove(witness, r=r, s=s)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(HostProver, "opened", [])


def engine(memory_mib: int = 1024) -> cuda.CudaProofs:
    return cuda.CudaProofs(FakeCupy(), Device(0, "Fake", memory_mib), HostProver)


def test_golden_proof_is_made_and_the_wires_are_zeroed():
    told: list[str] = []
    key = engine().load(cubic_usable())
    proof = key.prove(WITNESS, **BLINDERS, tell=lambda stage, done: told.append(stage))
    assert groth16.encode_proof(proof) == groth16.encode_proof(cubic_proof())
    assert told == ["msm"]
    assert bytes(HostProver.opened[0].witness) == bytes(128)
    key.close()
    assert HostProver.opened[0].is_closed


def test_fault_of_the_device_is_told_as_one_and_leaves_no_wires():
    key = engine().load(cubic_usable())
    HostProver.opened[0].failure = CudaError("cudaErrorIllegalAddress: an illegal memory access was encountered")
    with pytest.raises(DeviceError) as failed:
        key.prove(WITNESS, **BLINDERS, tell=lambda stage, done: None)
    assert failed.value.reason == LOST
    assert bytes(HostProver.opened[0].witness) == bytes(128)


def test_plan_grows_with_the_circuit_and_a_share_of_the_memory_bounds_it():
    small, large = engine().plan(cubic_usable()), engine().plan(bound_circuit().usable)
    assert 10_000 < small < large
    with pytest.raises(InvalidRecord) as refused:
        engine(0).plan(cubic_usable())
    assert refused.value.code == "snark.out_of_memory"
    assert engine(1000).memory_bytes == 600 * 2**20


def test_seat_proves_for_a_slice():
    cupy, device, metrics = FakeCupy(), Device(0, "Fake", 1024), Metrics()
    seat = Seat(CudaEngine(cupy, device), cuda.open_seat(cupy, device, HostProver, metrics))
    backends = Backends(PythonEngine(), [seat], "", lambda: 0, SnarkBackends(metrics, lambda: 0, gpu_min_domain=1))
    assert backends.check().passed
    circuit = bound_circuit()
    statement = snark.solve(circuit, {"x": 3}, BINDING)
    made = backends.prove(circuit, statement.witness, lambda stage, done: None)
    assert (made.backend, backends.proof_backend) == ("cuda", "cuda")
    groth16.verify(circuit.usable.registered, statement.witness[1:3], groth16.decode_proof(made.proof))
