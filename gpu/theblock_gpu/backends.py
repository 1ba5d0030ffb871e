"""What computes a task: a healthy device, else the best back end of the CPU; and the self-check of each.

Calls come from worker threads, one for each device at most. A device that fails a task is told of by its health,
and the task goes on on the CPU: the caller gets the same output from another back end, which says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from theblock_node.core import crypto, merkle
from theblock_node.core.proofs import gpu_hash, native
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashTask

from theblock_gpu import circuits, cuda
from theblock_gpu import hash as hashing
from theblock_gpu import health as healths
from theblock_gpu.circuits import Circuit
from theblock_gpu.config import Config
from theblock_gpu.cuda import OpenProver
from theblock_gpu.cuda_proof import DeviceProver
from theblock_gpu.device import LOST, Cupy, Device, DeviceError, find_devices
from theblock_gpu.hash import CudaEngine, Engine, NativeEngine, Output, PythonEngine, Tell
from theblock_gpu.health import Health
from theblock_gpu.native import NativeMissing
from theblock_gpu.snark import Counts, Made, ProofSeat, SnarkBackends
from theblock_gpu.telemetry import Nvml

CHECK_COUNT = 5000
"""No power of two, so that the tree has nodes that rise."""
CHECK_SEED = bytes(range(32))
CHECK_START = 2**32 - 1000
"""The numbers of the messages pass from one word into the next."""
CHECK_CONTEXT = b"theblock/prover/self-check"
Now = Callable[[], int]


class AllCounts(Counts, circuits.Counts, Protocol):
    """Told of proofs and of what is kept for them."""


class DeviceEngine(Engine, Protocol):
    """An engine on one device."""

    device: Device


@dataclass(slots=True)
class Seat:
    """A device, its engine and its health; whoever computes on it holds the lock."""

    engine: DeviceEngine
    proofs: ProofSeat | None = None
    """None where the device only hashes."""
    health: Health = field(default_factory=Health)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ecc_errors: int | None = None
    """As the driver last counted them; None before it was asked."""
    is_throttled: bool = False

    @property
    def condition(self) -> tuple[str, str]:
        """Its health and the reason."""
        if self.is_throttled and self.health.name == healths.HEALTHY:
            return healths.DEGRADED, healths.THROTTLED
        return self.health.name, self.health.reason


@dataclass(frozen=True, slots=True)
class Checked:
    passed: bool
    digest: bytes
    expected: bytes


def check_tasks() -> tuple[HashTask, ...]:
    return tuple(HashTask(algorithm, CHECK_SEED, CHECK_START, CHECK_COUNT) for algorithm in HashAlgorithm)


def expected_check() -> bytes:
    """What a self-check must come to, by the definition itself."""
    roots = [merkle.list_root(gpu_hash.compute_digests(task)) for task in check_tasks()]
    return crypto.blake3(b"".join(roots))


class Backends:
    """The back ends of one prover, in the order in which they are tried."""

    def __init__(
        self, cpu: Engine, seats: Sequence[Seat], fallback_reason: str, now_ms: Now, snark: SnarkBackends | None = None
    ) -> None:
        self._cpu = cpu
        self.snark = snark
        """None where no proofs are made."""
        self._now_ms = now_ms
        self._fallback_reason = fallback_reason
        self._expected = expected_check()
        self.seats = tuple(seats)
        self.passed = False
        """Whether the last self-check came to what it must."""
        self.fallbacks = 0
        """Tasks that a device gave up and the CPU did."""
        self.lost = ""
        """Why this process should end: what a device said when its context was lost at work."""

    @property
    def backend(self) -> str:
        """What the next task goes to."""
        return next((seat.engine.name for seat in self.seats if seat.health.may_work), self._cpu.name)

    @property
    def fallback_reason(self) -> str:
        """Why it is not a better one."""
        if self.seats and not any(seat.health.may_work for seat in self.seats):
            health = self.seats[0].health
            return f"{health.reason}: {health.said}"
        return self._fallback_reason

    @property
    def width(self) -> int:
        """How many tasks can be worked on at once."""
        return max(1, len(self.seats))

    def run(self, task: HashTask, context: bytes, tell: Tell) -> tuple[Output, str]:
        """The output, and the back end that computed it. Blocks; raises what ``tell`` raises."""
        seat = self._take_seat()
        if seat is not None:
            try:
                output = hashing.compute(seat.engine, task, context, tell)
                if gpu_hash.verify_output(task, context, output.root, output.openings):
                    seat.health = healths.after_success(seat.health)
                    return output, seat.engine.name
                seat.health = healths.quarantine(seat.health, healths.WRONG, "a wrong digest", self._now_ms())
            except DeviceError as failed:
                seat.health = healths.after_failure(seat.health, str(failed), self._now_ms())
                if failed.reason == LOST:
                    self.lost = str(failed)
            finally:
                seat.lock.release()
            self.fallbacks += 1
        return hashing.compute(self._cpu, task, context, tell), self._cpu.name

    def prove(self, circuit: Circuit, witness: Sequence[int], tell: Tell) -> Made:
        """A proof that verified. Blocks; raises what ``tell`` raises."""
        snark = self.snark
        assert snark is not None, "asked for only where proofs are made"
        seat = self._take_seat(lambda seat: snark.wants_device(seat, circuit))
        try:
            made = snark.prove(circuit, witness, seat, tell)
        finally:
            self.lost = self.lost or snark.lost
            if seat is not None:
                seat.lock.release()
        if seat is not None and made.backend != hashing.CUDA:
            self.fallbacks += 1
        return made

    @property
    def proof_backend(self) -> str:
        """What the next large proof goes to; empty where none is made."""
        if self.snark is None or not self.snark.passed:
            return ""
        has_device = any(seat.proofs is not None and seat.health.may_work for seat in self.seats)
        return hashing.CUDA if has_device else self.snark.cpu_name

    def check(self) -> Checked:
        """Check every back end that may work. Who computes wrongly works no more: another one takes its place."""
        digest = self._check_digest(self._cpu)
        if digest != self._expected and self._cpu.name != hashing.PYTHON:
            self._fallback_reason = f"the back end {self._cpu.name} computes wrongly"
            self._cpu = PythonEngine()
            digest = self._check_digest(self._cpu)
        for seat in self.seats:
            if seat.health.may_work:
                self._check_seat(seat)
        self.passed = digest == self._expected
        if self.snark is not None:
            self.snark.check()
        return Checked(self.passed, digest, self._expected)

    def trust(self) -> None:
        """Work unchecked, where the configuration wants that."""
        self.passed = True
        if self.snark is not None:
            self.snark.passed = True

    def check_due(self) -> None:
        """Check the quarantined devices whose time has come; one that passes works again."""
        for seat in self.seats:
            if seat.health.is_check_due(self._now_ms()):
                self._check_seat(seat)

    def look(self, nvml: Nvml) -> None:
        """Ask the driver of every device; one whose memory fails gets no more work until a self-check passes."""
        for seat in self.seats:
            signs = nvml.look(seat.engine.device.bus_id)
            seat.is_throttled = signs.is_throttled
            if seat.ecc_errors is not None and signs.ecc_errors > seat.ecc_errors:
                said = f"{signs.ecc_errors} uncorrectable memory errors"
                seat.health = healths.quarantine(seat.health, healths.UNHEALTHY, said, self._now_ms())
            seat.ecc_errors = signs.ecc_errors

    def _check_seat(self, seat: Seat) -> None:
        """Check a device; its health says what follows."""
        with seat.lock:
            said = "a wrong digest"
            try:
                is_right = self._check_digest(seat.engine) == self._expected
                if is_right and self.snark is not None and not self.snark.check_device(seat):
                    is_right, said = False, "a wrong proof"
            except DeviceError as failed:
                is_right, said = False, str(failed)
            if is_right:
                seat.health = healths.after_good_check(seat.health)
            else:
                seat.health = healths.after_bad_check(seat.health, said, self._now_ms())

    def _check_digest(self, engine: Engine) -> bytes:
        outputs = [hashing.compute(engine, task, CHECK_CONTEXT, _tell_nobody) for task in check_tasks()]
        return crypto.blake3(b"".join(output.root for output in outputs))

    def _take_seat(self, suits: Callable[[Seat], bool] = lambda _seat: True) -> Seat | None:
        """A device that may work and does not, with its lock held."""
        for seat in self.seats:
            if suits(seat) and seat.health.may_work and seat.lock.acquire(blocking=False):
                if seat.health.may_work:
                    return seat
                seat.lock.release()
        return None


def open_backends(
    config: Config,
    counts: AllCounts,
    now_ms: Now = lambda: time.monotonic_ns() // 1_000_000,
    open_prover: OpenProver = DeviceProver,
) -> Backends:
    """The back ends that ``config`` allows and this machine has; ``counts`` is told of proofs.

    ``open_prover`` brings a key to a device.
    """
    seats: tuple[Seat, ...] = ()
    reasons = []
    if config.backend in ("auto", "cuda"):
        found = find_devices()
        seats = tuple(_open_seat(found.cupy, device, counts, open_prover) for device in found.devices)
        reasons.append(found.reason)
    cpu: Engine = PythonEngine()
    if config.backend != "python":
        try:
            cpu = NativeEngine()
        except NativeMissing as missing:
            reasons.append(str(missing))
    snark = SnarkBackends(counts, now_ms, gpu_min_domain=config.gpu_min_domain, uses_native=config.backend != "python")
    return Backends(cpu, seats, "; ".join(filter(None, reasons)), now_ms, snark)


def _open_seat(cupy: Cupy, device: Device, counts: AllCounts, open_prover: OpenProver) -> Seat:
    # Keys go to a device in the form of the host's kernels.
    if native.LIBRARY is None:
        return Seat(CudaEngine(cupy, device))
    return Seat(CudaEngine(cupy, device), cuda.open_seat(cupy, device, open_prover, counts))


def _tell_nobody(stage: str, done_ppm: int) -> None:
    """A self-check runs to its end."""
