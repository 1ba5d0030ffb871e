"""The workload `snark` on each back end: wires from inputs, and from wires a proof that verified.

A device is tried first where the circuit is large enough for it to pay. Whatever goes wrong there, the CPU makes the
proof with blinders of its own; what a device made is never handed on before it satisfied the registered key.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, native, prover, statements
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import wtns
from theblock_node.core.proofs.groth16 import Proof
from theblock_node.core.proofs.prover import UsableKey

from theblock_gpu import golden
from theblock_gpu import health as healths
from theblock_gpu.circuits import Circuit, ShapeCache
from theblock_gpu.device import LAUNCH, LOST, OUT_OF_MEMORY, TIMEOUT, WRONG, Device, DeviceError
from theblock_gpu.hash import CUDA, DONE, NATIVE, PYTHON, Tell
from theblock_gpu.health import Health

CTX = "ctx"
"""The signal that binds a circuit to its slice."""
COLD_FACTOR = 8
"""A device must save this much more before a key is brought to it for the first time."""
RETRIED = (LAUNCH, TIMEOUT)
"""Failures after which a device is tried once more."""
WATCH_FACTOR = 10
WATCH_S_MIN, WATCH_S_COLD, WATCH_S_GRACE = 10.0, 120.0, 5.0
"""A device may take ten times what it took before; with a new key, so long. Then it is left alone."""
CPU, GPU = "cpu", "gpu"

log = logging.getLogger("prover")


class DeviceKey(Protocol):
    """A proving key in the memory of a device."""

    def prove(self, witness: Sequence[int], *, r: int, s: int, tell: Tell) -> Proof:
        """The points; raises `DeviceError` and what ``tell`` raises. Nothing of the wires stays on the device."""
        ...

    def close(self) -> None:
        """Zero its memory and give it back."""
        ...


class ProofEngine(Protocol):
    """What proves on one device."""

    device: Device

    def plan(self, usable: UsableKey) -> int:
        """Bytes of the device that a key and a proof with it take; asks the device nothing."""
        ...

    def load(self, usable: UsableKey) -> DeviceKey:
        """Bring a key to the device; raises `DeviceError`."""
        ...


class Counts(Protocol):
    """Told what happens to proofs."""

    def proof_failed(self, backend: str, reason: str) -> None: ...

    def proof_made(self, backend: str, seconds: float) -> None: ...

    def stage_done(self, backend: str, stage: str, seconds: float) -> None: ...


@dataclass(slots=True)
class Loaded:
    """A key on a device."""

    key: DeviceKey
    seconds: float = 0.0
    """Of its last proof; 0 before the first."""


@dataclass(slots=True)
class ProofSeat:
    """What proves on a device, the keys that lie on it, and the one thread that talks to it."""

    engine: ProofEngine
    shapes: ShapeCache[Loaded]
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="device"))

    def limit_s(self, name: bytes) -> float:
        """How long the next proof of a circuit may take."""
        loaded = self.shapes.peek(name)
        return max(WATCH_S_MIN, WATCH_FACTOR * loaded.seconds) if loaded and loaded.seconds else WATCH_S_COLD


@dataclass(frozen=True, slots=True)
class Binding:
    """The slice and the member that a proof is for."""

    chain_id: int
    job_id: bytes
    index: int
    provider_key: bytes

    def context(self, circuit_hash: bytes, output_commitment: bytes) -> int:
        return statements.compute_context(
            self.chain_id,
            self.job_id.hex(),
            self.index,
            circuit_hash=circuit_hash,
            output_commitment=output_commitment,
            provider_key=self.provider_key,
        )


@dataclass(frozen=True, slots=True)
class Statement:
    """All wires, and the commitment to those of them that are outputs."""

    witness: Sequence[int]
    output_commitment: bytes


@dataclass(frozen=True, slots=True)
class Made:
    proof: bytes
    """Compressed; it verified."""
    backend: str
    """cuda, native or python."""
    latency_ms: int


def solve(circuit: Circuit, inputs: Mapping[str, Any], binding: Binding) -> Statement:
    """The wires for ``inputs``. A bound circuit is run twice: its outputs are needed to know what binds it."""
    header = circuit.header
    if header.ctx_index is None:
        return _statement(circuit, circuit.program.compute(inputs))
    if CTX in inputs:
        raise InvalidRecord("snark.bad_inputs", signal=CTX, reason="reserved")
    first = _statement(circuit, circuit.program.compute({**inputs, CTX: 0}))
    wanted = binding.context(header.circuit_hash, first.output_commitment)
    bound = _statement(circuit, circuit.program.compute({**inputs, CTX: wanted}))
    if bound.output_commitment != first.output_commitment:
        raise InvalidRecord("snark.ctx_outputs")
    return _require_bound(circuit, bound, binding)


def read_wires(circuit: Circuit, data: bytes, binding: Binding) -> Statement:
    """The wires of a `.wtns` file, which must be bound already."""
    return _require_bound(circuit, _statement(circuit, wtns.read(data)), binding)


def _statement(circuit: Circuit, wires: Sequence[int]) -> Statement:
    if len(wires) != circuit.usable.key.wire_count:
        raise InvalidRecord("snark.witness_length", count=len(wires), wanted=circuit.usable.key.wire_count)
    return Statement(wires, statements.commit_output(wires[1 : circuit.header.output_count + 1]))


def _require_bound(circuit: Circuit, statement: Statement, binding: Binding) -> Statement:
    at = circuit.header.ctx_index
    wanted = binding.context(circuit.header.circuit_hash, statement.output_commitment)
    if at is not None and statement.witness[at + 1] != wanted:
        raise InvalidRecord("compute.proof_ctx", index=at)
    return statement


class Seat(Protocol):
    """A device as `backends` holds it."""

    health: Health
    proofs: ProofSeat | None


class SnarkBackends:
    """What makes proofs: the devices that are free, and the CPU."""

    def __init__(
        self,
        counts: Counts,
        now_ms: Callable[[], int],
        *,
        gpu_min_domain: int,
        uses_native: bool = True,
        prove_on_cpu: Callable[..., Proof] = prover.prove,
    ) -> None:
        self._counts = counts
        self._now_ms = now_ms
        self._prove_on_cpu = prove_on_cpu
        self._uses_native = uses_native and native.LIBRARY is not None
        self.gpu_min_domain = gpu_min_domain
        self.passed = False
        """Whether the CPU makes the golden proof."""
        self.lost = ""
        """Why this process should end: what a device said when its context was lost."""

    @property
    def cpu_name(self) -> str:
        return NATIVE if self._uses_native else PYTHON

    def wants_device(self, seat: Seat, circuit: Circuit) -> bool:
        """Whether a proof of ``circuit`` is faster there."""
        if seat.proofs is None:
            return False
        is_warm = seat.proofs.shapes.peek(circuit.header.circuit_hash) is not None
        return circuit.usable.key.domain_size >= self.gpu_min_domain * (1 if is_warm else COLD_FACTOR)

    def prove(self, circuit: Circuit, witness: Sequence[int], seat: Seat | None, tell: Tell) -> Made:
        """A proof that verified; ``seat`` is held by the caller. Blocks; raises what ``tell`` raises."""
        doubted = None
        if seat is not None:
            assert seat.proofs is not None
            try:
                return self._measure(GPU, tell, lambda told: self._on_device(seat, circuit, witness, told))
            except DeviceError as failed:
                if failed.reason == WRONG:
                    doubted = seat
        made = self._measure(CPU, tell, lambda told: self._on_cpu(circuit, witness, told))
        if doubted is not None:
            # The same wires make a proof here, so it was the device and not whoever sent them.
            doubted.health = healths.quarantine(doubted.health, healths.WRONG, "a wrong proof", self._now_ms())
        return made

    def check(self) -> bool:
        """Whether the CPU makes the golden proof."""
        usable = golden.usable_key()
        try:
            proof = self._prove_on_cpu(usable, golden.WITNESS, r=golden.R, s=golden.S)
            groth16.verify(usable.registered, golden.WITNESS[1:2], proof)
            self.passed = groth16.encode_proof(proof) == golden.PROOF
        except InvalidRecord as refused:
            log.error("the golden proof was not made: %s", refused)
            self.passed = False
        return self.passed

    def check_device(self, seat: Seat) -> bool:
        """Whether a device makes the golden proof; True for one that only hashes. Raises `DeviceError`."""
        if seat.proofs is None:
            return True
        usable = golden.usable_key()
        engine = seat.proofs.engine

        def act() -> Proof:
            key = engine.load(usable)
            try:
                return key.prove(golden.WITNESS, r=golden.R, s=golden.S, tell=lambda _stage, _done: None)
            finally:
                key.close()

        try:
            return groth16.encode_proof(seat.proofs.thread.submit(act).result(WATCH_S_COLD)) == golden.PROOF
        except TimeoutError as hung:
            raise DeviceError(f"the device hangs for {WATCH_S_COLD:.0f} s", TIMEOUT) from hung

    def _measure(self, backend: str, tell: Tell, act: Callable[[Tell], tuple[bytes, str]]) -> Made:
        stages = _Stages(tell)
        started = time.perf_counter()
        try:
            proof, name = act(stages.tell)
        except InvalidRecord as refused:
            self._count(backend, refused.code.partition(".")[2])
            raise
        except MemoryError as failed:
            self._count(backend, OUT_OF_MEMORY)
            raise InvalidRecord("snark.out_of_memory", cause=str(failed)) from failed
        seconds = time.perf_counter() - started
        self._counts.proof_made(backend, seconds)
        for stage, took in stages.end():
            self._counts.stage_done(backend, stage, took)
        return Made(proof, name, max(1, round(seconds * 1000)))

    def _on_cpu(self, circuit: Circuit, witness: Sequence[int], tell: Tell) -> tuple[bytes, str]:
        tell("prove", 0)
        r, s = _draw_blinders()
        usable = circuit.usable if self._uses_native else replace(circuit.usable, native=None)
        proof = self._prove_on_cpu(usable, witness, r=r, s=s)
        tell("done", DONE)
        return groth16.encode_proof(proof), self.cpu_name

    def _on_device(self, seat: Seat, circuit: Circuit, witness: Sequence[int], tell: Tell) -> tuple[bytes, str]:
        """Try once, and once more where that may help; raises the last `DeviceError`."""
        try:
            return self._try_device(seat, circuit, witness, tell)
        except DeviceError as failed:
            self._take_failure(seat, failed)
            if failed.reason not in RETRIED or self.lost or not seat.health.may_work:
                raise
        try:
            return self._try_device(seat, circuit, witness, tell)
        except DeviceError as failed:
            self._take_failure(seat, failed)
            raise

    def _try_device(self, seat: Seat, circuit: Circuit, witness: Sequence[int], tell: Tell) -> tuple[bytes, str]:
        proofs = seat.proofs
        assert proofs is not None
        name, usable = circuit.header.circuit_hash, circuit.usable
        limit_s = proofs.limit_s(name)
        ends = time.monotonic() + limit_s

        def watched(stage: str, done_ppm: int) -> None:
            if time.monotonic() > ends:
                raise DeviceError(f"still at {stage} after {limit_s:.0f} s", TIMEOUT)
            tell(stage, done_ppm)

        def act() -> Proof:
            started = time.monotonic()
            size = proofs.engine.plan(usable)
            loaded = proofs.shapes.load(name, size, lambda: Loaded(proofs.engine.load(usable)))
            r, s = _draw_blinders()
            proof = loaded.key.prove(witness, r=r, s=s, tell=watched)
            loaded.seconds = time.monotonic() - started
            return proof

        running = proofs.thread.submit(act)
        try:
            proof = running.result(limit_s + WATCH_S_GRACE)
        except TimeoutError as hung:
            # Its thread cannot be brought back: only another process gets the device to work again.
            self.lost = f"the device hangs for {limit_s:.0f} s"
            raise DeviceError(self.lost, TIMEOUT) from hung
        except InvalidRecord as refused:
            # The key does not fit, which was found before the device was asked for anything.
            raise DeviceError(str(refused), refused.code.partition(".")[2]) from refused
        tell("check", 0)
        data = _verified(usable, witness, proof)
        tell("done", DONE)
        seat.health = healths.after_success(seat.health)
        return data, CUDA

    def _take_failure(self, seat: Seat, failed: DeviceError) -> None:
        self._count(GPU, failed.reason)
        log.warning("no proof from the device, %s: %s", failed.reason, failed)
        if failed.reason == LOST:
            self.lost = str(failed)
        if failed.reason != WRONG:
            seat.health = healths.after_failure(seat.health, str(failed), self._now_ms())
        if self.lost:
            seat.health = healths.quarantine(seat.health, healths.UNHEALTHY, str(failed), self._now_ms())

    def _count(self, backend: str, reason: str) -> None:
        self._counts.proof_failed(backend, reason)


class _Stages:
    """How long each stage takes, as it is told of."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._begun: list[tuple[str, float]] = []

    def tell(self, stage: str, done_ppm: int) -> None:
        if not self._begun or self._begun[-1][0] != stage:
            self._begun.append((stage, time.perf_counter()))
        self._tell(stage, done_ppm)

    def end(self) -> Iterator[tuple[str, float]]:
        ends = [at for _, at in self._begun[1:]]
        for (stage, began), ended in zip(self._begun, ends, strict=False):
            yield stage, ended - began


def _verified(usable: UsableKey, witness: Sequence[int], proof: Proof) -> bytes:
    """The bytes of a proof of a device, once whoever reads them accepts it."""
    try:
        data = groth16.encode_proof(proof)
        public = witness[1 : usable.key.verifying.public_count + 1]
        groth16.verify(usable.registered, public, groth16.decode_proof(data))
    except InvalidRecord as refused:
        raise DeviceError(refused.code, WRONG) from refused
    return data


def _draw_blinders() -> tuple[int, int]:
    """Never twice the same, never from a seed: they hide the witness."""
    return secrets.randbelow(R), secrets.randbelow(R)
