"""The Prover service: takes tasks over a socket in the pod, hands them to worker threads, tells how far they are.

A bounded number of tasks waits; one more is refused. A caller who goes away, or whose deadline passes, stops its
task at the next step. Devices in quarantine are checked again when their time comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from theblock_node.core import codec
from theblock_node.core.errors import InvalidRecord, ProtocolError
from theblock_node.core.proofs.gpu_hash import HashTask
from theblock_node.pb.theblock.v1 import prover_pb2, prover_pb2_grpc

from theblock_gpu import tasks
from theblock_gpu.backends import Backends, Checked
from theblock_gpu.hash import DONE, Output, Stopped, Tell
from theblock_gpu.metrics import Metrics
from theblock_gpu.proving import Proving
from theblock_gpu.telemetry import open_nvml
from theblock_gpu.work import Work

SERVICE = "theblock.v1.Prover"
TASKS_MAX = 16
"""Worked on or waiting; the node beside us sends a few at once."""
TASK_SECONDS_MAX = 600.0
PROGRESS_S = 0.25
"""How often a caller is told how far its task is."""
CHECK_PERIOD_S = 5.0
STOP_SECONDS = 5.0
STOPPED = "compute.task_stopped"
MESSAGE_BYTES_MAX = 5 * 2**20
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)
_STATUS = {
    "compute.prover_full": code_pb2.RESOURCE_EXHAUSTED,
    "compute.self_check": code_pb2.UNAVAILABLE,
    STOPPED: code_pb2.DEADLINE_EXCEEDED,
    "compute.unsupported_workload": code_pb2.UNIMPLEMENTED,
    "snark.circuit_not_loaded": code_pb2.NOT_FOUND,
    "snark.job_quarantined": code_pb2.FAILED_PRECONDITION,
    "snark.no_backend": code_pb2.FAILED_PRECONDITION,
    "snark.out_of_memory": code_pb2.RESOURCE_EXHAUSTED,
    "snark.self_check": code_pb2.INTERNAL,
    "snark.task_exists": code_pb2.ALREADY_EXISTS,
}

T = TypeVar("T")

log = logging.getLogger("prover")


class Prover(prover_pb2_grpc.ProverServicer):
    def __init__(self, backends: Backends, metrics: Metrics, proving: Proving) -> None:
        self._backends = backends
        self._metrics = metrics
        self._proving = proving
        self.lost = asyncio.Event()
        """Set once a device's context is lost: only another process gets it to work again."""
        self._pool = ThreadPoolExecutor(backends.width, thread_name_prefix="prover")
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="self-check")
        self._count = 0

    async def self_check(self) -> Checked:
        """Check every back end."""
        checked = await asyncio.get_running_loop().run_in_executor(self._checker, self._backends.check)
        self._metrics.checked(passed=checked.passed)
        self._tell_devices()
        return checked

    async def watch_devices(self) -> None:
        """Ask the driver of the devices, and check quarantined ones when they are due, until cancelled."""
        loop = asyncio.get_running_loop()
        nvml = open_nvml() if self._backends.seats else None
        while True:
            if nvml is not None:
                await loop.run_in_executor(self._checker, self._backends.look, nvml)
            await loop.run_in_executor(self._checker, self._backends.check_due)
            self._tell_devices()
            await asyncio.sleep(CHECK_PERIOD_S)

    def close(self) -> None:
        for pool in (self._pool, self._checker):
            pool.shutdown(wait=False, cancel_futures=True)
        self._proving.close()

    # What callers ask.

    async def GetCapabilities(
        self, request: prover_pb2.GetCapabilitiesRequest, context: Any
    ) -> prover_pb2.GetCapabilitiesResponse:
        backends = self._backends
        return prover_pb2.GetCapabilitiesResponse(
            workloads=self._workloads(),
            backend=backends.backend,
            fallback_reason=backends.fallback_reason,
            devices=[
                prover_pb2.Device(
                    index=seat.engine.device.index,
                    model=seat.engine.device.model,
                    memory_mib=seat.engine.device.memory_mib,
                    health=health,
                    reason=reason,
                )
                for seat in backends.seats
                for health, reason in (seat.condition,)
            ],
            proof_backend=backends.proof_backend,
            circuits=self._proving.cache.names(),
            gpu_min_domain=backends.snark.gpu_min_domain if backends.snark is not None else 0,
        )

    async def SelfCheck(self, request: prover_pb2.SelfCheckRequest, context: Any) -> prover_pb2.SelfCheckResponse:
        checked = await self.self_check()
        return prover_pb2.SelfCheckResponse(passed=checked.passed, digest=checked.digest, expected=checked.expected)

    async def RunHash(self, request: prover_pb2.RunHashRequest, context: Any) -> prover_pb2.RunHashResponse:
        async with _refusals(context):
            self._require(tasks.GPU_HASH)
            task, binding = tasks.read_hash(request)
            with self._admitted() as work:
                output, backend, elapsed_us = await self._run(task, binding, work, _seconds_left(context))
        return prover_pb2.RunHashResponse(
            root=output.root,
            openings=[codec.encode(opening) for opening in output.openings],
            backend=backend,
            elapsed_us=elapsed_us,
        )

    async def RunTask(
        self, request: prover_pb2.RunTaskRequest, context: Any
    ) -> AsyncIterator[prover_pb2.RunTaskResponse]:
        async with _refusals(context):
            self._require(tasks.GPU_HASH)
            task, binding = tasks.read_task(request.task)
            with self._admitted() as work:
                running = asyncio.ensure_future(self._run(task, binding, work, _seconds_left(context)))
                async for progress in _progress_of(running, work):
                    yield prover_pb2.RunTaskResponse(progress=progress)
                output, backend, elapsed_us = running.result()
            result = prover_pb2.ProverResult(
                digest=output.root, proof=encode_proof(output), backend=backend, elapsed_us=elapsed_us
            )
            yield prover_pb2.RunTaskResponse(result=result)

    async def _run(self, task: HashTask, binding: bytes, work: Work, seconds: float) -> tuple[Output, str, int]:
        """The output, its back end, and the microseconds of the work itself, without the waiting."""

        def act(tell: Tell) -> tuple[Output, str, int]:
            started = time.perf_counter_ns()
            output, backend = self._backends.run(task, binding, tell)
            return output, backend, (time.perf_counter_ns() - started) // 1000

        outcome = "failed"
        try:
            made = await self._in_thread(act, work, seconds)
            outcome = "done"
        except InvalidRecord as refused:
            outcome = "stopped" if refused.code == STOPPED else "failed"
            raise
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        finally:
            if outcome != "done":
                self._metrics.task_ended(tasks.GPU_HASH, self._backends.backend, outcome)
        self._metrics.task_done(tasks.GPU_HASH, made[1], made[2] / 1e6)
        self._metrics.hashed(made[1], task.count)
        return made

    async def LoadCircuit(
        self, request_iterator: AsyncIterator[prover_pb2.LoadCircuitRequest], context: Any
    ) -> prover_pb2.LoadCircuitResponse:
        async with _refusals(context):
            self._require(tasks.SNARK)
            return await self._proving.load(request_iterator, _seconds_left(context))

    async def EvictCircuit(
        self, request: prover_pb2.EvictCircuitRequest, context: Any
    ) -> prover_pb2.EvictCircuitResponse:
        return prover_pb2.EvictCircuitResponse(was_loaded=self._proving.evict(request.circuit_hash))

    async def Cancel(self, request: prover_pb2.ProverCancelRequest, context: Any) -> prover_pb2.ProverCancelResponse:
        return prover_pb2.ProverCancelResponse(was_running=self._proving.cancel(request.task_id))

    async def Prove(self, request: prover_pb2.ProveRequest, context: Any) -> AsyncIterator[prover_pb2.ProveResponse]:
        async with _refusals(context):
            self._require(tasks.SNARK)
            task = tasks.read_proof(request)
            with self._admitted() as work, self._proving.begun(task, work) as circuit:
                act = functools.partial(self._proving.prove, task, circuit)
                running = asyncio.ensure_future(self._prove(act, work, _seconds_left(context)))
                async for progress in _progress_of(running, work):
                    yield prover_pb2.ProveResponse(progress=progress)
                result = running.result()
            yield prover_pb2.ProveResponse(result=result)

    async def _prove(self, act: Callable[[Tell], prover_pb2.Proved], work: Work, seconds: float) -> prover_pb2.Proved:
        outcome = "stopped"
        try:
            made = await self._in_thread(act, work, seconds)
        except InvalidRecord as refused:
            outcome = "stopped" if refused.code == STOPPED else "failed"
            raise
        else:
            outcome = "done"
            self._metrics.task_done(tasks.SNARK, made.backend, made.latency_ms / 1e3)
            return made
        finally:
            if outcome != "done":
                self._metrics.task_ended(tasks.SNARK, self._backends.proof_backend, outcome)

    async def _in_thread(self, act: Callable[[Tell], T], work: Work, seconds: float) -> T:
        """What ``act`` makes in a worker thread; it stops when nobody waits for it any more."""
        before = self._backends.fallbacks
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(self._pool, act, work.tell)
        except (TimeoutError, Stopped) as late:
            raise InvalidRecord(STOPPED, seconds=round(seconds)) from late
        finally:
            work.stop()
            if self._backends.fallbacks > before:
                log.warning("a device gave a task up, the CPU did it: %s", self._backends.fallback_reason)
                self._metrics.fell_back(self._backends.fallbacks - before)
                self._tell_devices()
            if self._backends.lost:
                self.lost.set()

    def _workloads(self) -> list[str]:
        """Those whose self-check passed."""
        snark = self._backends.snark
        known = ((tasks.GPU_HASH, self._backends.passed), (tasks.SNARK, snark is not None and snark.passed))
        return [name for name, passed in known if passed]

    def _require(self, workload: str) -> None:
        if workload not in self._workloads():
            raise InvalidRecord("compute.self_check", reason="no back end has passed the self-check")

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[Work]:
        """Count a task while the block runs, or refuse it."""
        if self._count >= TASKS_MAX:
            raise InvalidRecord("compute.prover_full", tasks_max=TASKS_MAX)
        self._count += 1
        work = Work()
        try:
            yield work
        finally:
            work.stop()
            self._count -= 1

    def _tell_devices(self) -> None:
        self._metrics.devices(seat.condition[0] for seat in self._backends.seats)


def encode_proof(output: Output) -> bytes:
    """The openings as one value in canonical bytes."""
    return codec.encode_as(tasks.Openings, output.openings)


@contextlib.asynccontextmanager
async def serve(prover: Prover, socket: str, *, closing_s: float = STOP_SECONDS) -> AsyncIterator[grpc.aio.Server]:
    """Serve on a socket in the file system until the block is left."""
    _clear_socket(socket)
    server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=4 * TASKS_MAX)
    prover_pb2_grpc.add_ProverServicer_to_server(prover, server)
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    channelz.add_channelz_servicer(server)
    names = [SERVICE, health.SERVICE_NAME, "grpc.channelz.v1.Channelz", reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    await status.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield server
    finally:
        await server.stop(closing_s)
        prover.close()
        _clear_socket(socket)


@contextlib.asynccontextmanager
async def _refusals(context: Any) -> AsyncIterator[None]:
    """A refusal inside ends the call with its name, as everywhere else."""
    try:
        yield
    except ProtocolError as refused:
        domain, _, reason = refused.code.partition(".")
        facts = {name: str(value)[:256] for name, value in refused.facts.items()}
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=reason.upper(), domain=f"{domain}.theblock.dev", metadata=facts))
        code = _STATUS.get(refused.code, code_pb2.INVALID_ARGUMENT)
        status = status_pb2.Status(code=code, message=str(refused)[:1024], details=[detail])
        await context.abort_with_status(rpc_status.to_status(status))


def _clear_socket(socket: str) -> None:
    """Make room for the socket: one that a killed process left answers nobody."""
    path = Path(socket)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


async def _progress_of(running: asyncio.Future[Any], work: Work) -> AsyncIterator[prover_pb2.ProverProgress]:
    """How far a task is, until it ends; it ends with whoever listens."""
    try:
        while not running.done():
            yield prover_pb2.ProverProgress(stage=work.stage, done_ppm=min(work.done_ppm, DONE))
            await asyncio.wait({running}, timeout=PROGRESS_S)
    finally:
        running.cancel()


def _seconds_left(context: Any) -> float:
    left = context.time_remaining()
    return TASK_SECONDS_MAX if left is None else min(float(left), TASK_SECONDS_MAX)
