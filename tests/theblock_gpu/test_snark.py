"""Wires that are bound to their slice, and proofs that verify whatever a device does."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from support.circuits import LEAKY_WASM, WRONG_WASM, bound_circuit
from support.devices import FakeCupy, FakeProver
from theblock_gpu import device, snark
from theblock_gpu.backends import Backends, Seat
from theblock_gpu.circuits import ShapeCache
from theblock_gpu.device import Device
from theblock_gpu.hash import CudaEngine, PythonEngine, Stopped
from theblock_gpu.metrics import Metrics
from theblock_gpu.snark import Binding, Made, ProofSeat, SnarkBackends
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, prover, statements
from theblock_node.core.proofs.formats import wtns

BINDING = Binding(7, b"\x01" * 32, 3, b"\x02" * 32)
X = {"x": 3}


class Rig:
    """Back ends over one device that fails as it is told."""

    def __init__(self, *, gpu_min_domain: int = 1, memory: int = 2**20) -> None:
        self.now_ms = 0
        self.metrics = Metrics()
        self.engine = FakeProver()
        shapes = ShapeCache(memory, "device", self.metrics, lambda loaded: loaded.key.close())
        self.seat = Seat(CudaEngine(FakeCupy(), Device(0, "Fake", 1)), ProofSeat(self.engine, shapes))
        self.snark = SnarkBackends(self.metrics, lambda: self.now_ms, gpu_min_domain=gpu_min_domain)
        self.backends = Backends(PythonEngine(), [self.seat], "", lambda: self.now_ms, self.snark)

    def prove(self, wasm: bytes | None = None, tell=lambda stage, done: None) -> Made:
        circuit = bound_circuit() if wasm is None else bound_circuit(wasm)
        statement = snark.solve(circuit, X, BINDING)
        made = self.backends.prove(circuit, statement.witness, tell)
        groth16.verify(circuit.usable.registered, statement.witness[1:3], groth16.decode_proof(made.proof))
        return made

    def count(self, line: str) -> float:
        told = generate_latest(self.metrics.registry).decode().splitlines()
        return next((float(row.rpartition(" ")[2]) for row in told if row.startswith(line)), 0.0)

    def failures(self, backend: str, reason: str) -> float:
        total = self.count(f'snark_prover_failure_total{{backend="{backend}"}}')
        by_reason = self.count(f'snark_prover_failure_reason_total{{backend="{backend}",reason="{reason}"}}')
        assert total >= by_reason
        return by_reason


# Wires.


def test_wires_are_bound_to_slice_and_prover():
    circuit = bound_circuit()
    statement = snark.solve(circuit, X, BINDING)
    assert statement.witness[1] == 35
    assert statement.output_commitment == statements.commit_output([35])
    assert statement.witness[2] == statements.compute_context(
        7,
        ("01" * 32),
        3,
        circuit_hash=circuit.header.circuit_hash,
        output_commitment=statement.output_commitment,
        provider_key=b"\x02" * 32,
    )
    others = [Binding(8, *(b"\x01" * 32, 3, b"\x02" * 32)), Binding(7, b"\x01" * 32, 4, b"\x02" * 32)]
    assert len({snark.solve(circuit, X, other).witness[2] for other in (BINDING, *others)}) == 3


@pytest.mark.parametrize(
    ("wasm", "inputs", "code"),
    [
        pytest.param(None, {"x": 3, "ctx": 1}, "snark.bad_inputs", id="ctx-is-not-the-buyers"),
        pytest.param(None, {}, "snark.bad_inputs", id="no-input"),
        pytest.param(None, {"x": 13}, "snark.witness_failed", id="assertion"),
        pytest.param(LEAKY_WASM, X, "snark.ctx_outputs", id="output-depends-on-ctx"),
    ],
)
def test_inputs_are_refused(wasm, inputs, code):
    circuit = bound_circuit() if wasm is None else bound_circuit(wasm)
    with pytest.raises(InvalidRecord) as refused:
        snark.solve(circuit, inputs, BINDING)
    assert refused.value.code == code


def test_unbound_circuit_is_run_once_with_all_that_it_is_given():
    circuit = bound_circuit(ctx_index=None)
    assert snark.solve(circuit, {"x": 3, "ctx": 4}, BINDING).witness == [1, 35, 4, 3, 9, 16]


def test_given_wires_must_be_bound_and_of_the_circuit():
    circuit = bound_circuit()
    wires = snark.solve(circuit, X, BINDING).witness
    assert snark.read_wires(circuit, wtns.write(wires), BINDING).witness == tuple(wires)
    for given, code in (([1, 35, 0, 3, 9, 0], "compute.proof_ctx"), (wires[:5], "snark.witness_length")):
        with pytest.raises(InvalidRecord) as refused:
            snark.read_wires(circuit, wtns.write(given), BINDING)
        assert refused.value.code == code


# Proofs.


def test_two_proofs_of_one_witness_differ_in_every_point():
    rig = Rig()
    first, second = (groth16.decode_proof(rig.prove().proof) for _ in range(2))
    assert first.a != second.a
    assert first.b != second.b
    assert first.c != second.c


def test_device_proves_large_circuits_and_those_that_lie_on_it():
    # The circuit's domain is 8: cold, it goes to a device only where it is eight times the bound.
    assert Rig(gpu_min_domain=2).prove().backend != "cuda"
    rig = Rig(gpu_min_domain=1)
    assert rig.prove().backend == "cuda"
    rig.snark.gpu_min_domain = 8
    assert rig.prove().backend == "cuda"
    assert rig.engine.loads == 1
    rig.snark.gpu_min_domain = 9
    assert rig.prove().backend != "cuda"
    assert rig.count('snark_prover_latency_seconds_count{backend="gpu"}') == 2
    assert rig.count('snark_prover_stage_seconds_count{backend="gpu",stage="msm"}') == 2


@pytest.mark.parametrize(
    ("faults", "backend", "reason", "count"),
    [
        pytest.param(["launch"], "cuda", "launch", 1, id="launch-error-is-tried-again"),
        pytest.param(["launch", "launch"], "cpu", "launch", 2, id="two-launch-errors"),
        pytest.param(["timeout", "timeout"], "cpu", "timeout", 2, id="timeout-is-tried-again"),
        pytest.param(["out_of_memory"], "cpu", "out_of_memory", 1, id="out-of-memory"),
        pytest.param(["compile"], "cpu", "compile", 1, id="compiler"),
        pytest.param(["wrong_proof"], "cpu", "wrong_proof", 1, id="wrong-point"),
        pytest.param(["lost"], "cpu", "lost", 1, id="context-lost"),
    ],
)
def test_device_that_fails_leaves_the_proof_to_the_cpu_with_other_blinders(monkeypatch, faults, backend, reason, count):
    rig, drawn = Rig(), []
    made_by_cpu = rig.snark._prove_on_cpu
    monkeypatch.setattr(
        rig.snark, "_prove_on_cpu", lambda *given, r, s: drawn.append((r, s)) or made_by_cpu(*given, r=r, s=s)
    )
    rig.engine.faults = list(faults)

    made = rig.prove()

    assert (made.backend == "cuda") == (backend == "cuda")
    assert rig.failures("gpu", reason) == count
    drawn += rig.engine.blinders
    assert len(set(drawn)) == len(drawn) >= 2
    assert rig.backends.fallbacks == (backend == "cpu")


def test_wrong_proof_quarantines_the_device_at_once():
    rig = Rig()
    rig.engine.faults = ["wrong_proof"]
    rig.prove()
    assert (rig.seat.health.name, rig.seat.health.reason) == ("Quarantined", "SelfCheckFailed")
    assert rig.backends.proof_backend == ""
    rig.snark.check()
    assert rig.backends.proof_backend in ("native", "python")


def test_device_is_not_blamed_for_wires_that_satisfy_nothing():
    rig = Rig()
    with pytest.raises(InvalidRecord) as refused:
        rig.prove(WRONG_WASM)
    assert refused.value.code == "snark.self_check"
    assert rig.seat.health.name == "Healthy"
    assert (rig.failures("gpu", "wrong_proof"), rig.failures("cpu", "self_check")) == (1, 1)


def test_three_failures_of_proofs_quarantine_a_device_and_a_golden_proof_brings_it_back():
    rig = Rig()
    rig.engine.faults = ["out_of_memory"] * 3
    assert [rig.prove().backend == "cuda" for _ in range(4)] == [False] * 4
    assert rig.seat.health.name == "Quarantined"
    assert len(rig.engine.blinders) == 3
    rig.now_ms += 60_000
    rig.engine.faults = ["wrong_proof"]
    rig.backends.check_due()
    assert rig.seat.health.name == "Quarantined"
    rig.now_ms += 300_000
    rig.backends.check_due()
    assert rig.prove().backend == "cuda"


@pytest.mark.parametrize("fault", ["lost", "hang"])
def test_lost_device_is_told_of_so_that_the_process_ends(monkeypatch, fault):
    monkeypatch.setattr(snark, "WATCH_S_COLD", 0.05)
    monkeypatch.setattr(snark, "WATCH_S_GRACE", 0.05)
    rig = Rig()
    rig.engine.faults = [fault]
    try:
        assert rig.prove().backend != "cuda"
        assert rig.backends.lost
        assert rig.seat.health.name == "Quarantined"
    finally:
        rig.engine.hang.set()


def test_slow_device_is_given_up_between_stages(monkeypatch):
    monkeypatch.setattr(snark, "WATCH_S_COLD", -1.0)
    rig = Rig()
    assert rig.prove().backend != "cuda"
    assert rig.failures("gpu", "timeout") == 2
    assert not rig.backends.lost


def test_key_that_does_not_fit_a_device_never_reaches_it():
    rig = Rig(memory=999)
    assert rig.prove().backend != "cuda"
    assert rig.engine.loads == 0
    assert rig.failures("gpu", device.OUT_OF_MEMORY) == 1


def test_key_that_makes_room_is_closed():
    rig = Rig(memory=1500)
    rig.prove()
    rig.snark.gpu_min_domain = 1
    circuit = bound_circuit(WRONG_WASM)
    rig.backends.prove(circuit, [1, 35, 4, 3, 9, 16], lambda stage, done: None)
    assert (rig.engine.loads, rig.engine.closed) == (2, 1)


def test_stopped_proof_is_no_failure_of_the_device():
    rig = Rig()

    def stop(stage: str, done_ppm: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        rig.prove(tell=stop)
    assert rig.seat.health.name == "Healthy"
    assert rig.prove().backend == "cuda"


def test_cpu_that_makes_another_golden_proof_serves_no_proofs():
    rig = Rig()
    assert rig.snark.check()
    lying = SnarkBackends(
        rig.metrics,
        lambda: 0,
        gpu_min_domain=1,
        prove_on_cpu=lambda usable, witness, r, s: prover.prove(usable, witness, r=r + 1, s=s),
    )
    assert not lying.check()


def test_twin_proves_small_circuits_where_it_is_asked_for_and_refuses_larger_ones(monkeypatch):
    metrics = Metrics()
    twin = SnarkBackends(metrics, lambda: 0, gpu_min_domain=1, uses_native=False)
    assert (twin.check(), twin.cpu_name) == (True, "python")
    circuit = bound_circuit()
    wires = snark.solve(circuit, X, BINDING).witness
    assert twin.prove(circuit, wires, None, lambda stage, done: None).backend == "python"
    monkeypatch.setattr(prover, "DOMAIN_SIZE_MAX", circuit.usable.key.domain_size // 2)
    with pytest.raises(InvalidRecord) as refused:
        twin.prove(circuit, wires, None, lambda stage, done: None)
    assert refused.value.code == "snark.no_backend"


def test_host_without_memory_refuses_by_name():
    def fail(*given, **blinders):
        raise MemoryError("the kernels")

    metrics = Metrics()
    poor = SnarkBackends(metrics, lambda: 0, gpu_min_domain=1, prove_on_cpu=fail)
    circuit = bound_circuit()
    wires = snark.solve(circuit, X, BINDING).witness
    with pytest.raises(InvalidRecord) as refused:
        poor.prove(circuit, wires, None, lambda stage, done: None)
    assert refused.value.code == "snark.out_of_memory"
    line = 'snark_prover_failure_reason_total{backend="cpu",reason="out_of_memory"} 1.0'
    assert line in generate_latest(metrics.registry).decode()
