"""Circuits that are handed over, and the proofs that are made with them: what `worker` serves of the workload `snark`.

A circuit is received by one caller at a time, so that no more than one lies in memory beside the cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import encoding, statements, witness
from theblock_node.pb.theblock.v1 import prover_pb2

from theblock_gpu import circuits, programs, snark, tasks
from theblock_gpu.backends import Backends
from theblock_gpu.circuits import Circuit, Header, Loader, ShapeCache
from theblock_gpu.hash import DONE, Tell
from theblock_gpu.metrics import Metrics
from theblock_gpu.quarantine import FailedTasks
from theblock_gpu.tasks import ProofTask
from theblock_gpu.work import Work

CHUNK_BYTES_MAX = 2**22
LOAD_SECONDS_MAX = 600.0
_EXCUSED = frozenset({"snark.circuit_not_loaded", "snark.job_quarantined", "compute.task_stopped"})
"""Refusals that are no fault of the task."""


class Proving:
    def __init__(
        self,
        backends: Backends,
        metrics: Metrics,
        *,
        cache_bytes: int,
        now_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        load_program: Loader = programs.load,
    ) -> None:
        self._backends = backends
        self._metrics = metrics
        self._now_ms = now_ms
        self._load_program = load_program
        self._loading = asyncio.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="circuits")
        self._failed = FailedTasks()
        self._tasks: dict[bytes, Work] = {}
        self.cache: ShapeCache[Circuit] = ShapeCache(cache_bytes, "host", metrics)

    def close(self) -> None:
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def load(
        self, requests: AsyncIterator[prover_pb2.LoadCircuitRequest], seconds: float
    ) -> prover_pb2.LoadCircuitResponse:
        """Take a circuit, unless it is there."""
        try:
            async with asyncio.timeout(min(seconds, LOAD_SECONDS_MAX)):
                header = await _read_header(requests)
                async with self._loading:
                    was_loaded = self._is_loaded(header)
                    if not was_loaded:
                        await self._take(header, requests)
        except TimeoutError as late:
            raise InvalidRecord("compute.task_stopped", seconds=round(seconds)) from late
        return prover_pb2.LoadCircuitResponse(was_loaded=was_loaded, cache_bytes=self.cache.size)

    def evict(self, circuit_hash: bytes) -> bool:
        was_loaded = self.cache.evict(circuit_hash)
        for seat in self._backends.seats:
            if seat.proofs is not None:
                seat.proofs.shapes.evict(circuit_hash)
        return was_loaded

    def cancel(self, task_id: bytes) -> bool:
        """Stop a task at its next step; whether there was one."""
        work = self._tasks.get(task_id)
        if work is not None:
            work.stop()
        return work is not None

    @contextlib.contextmanager
    def begun(self, task: ProofTask, work: Work) -> Iterator[Circuit]:
        """The task's circuit, while the task can be cancelled; failures are counted against it."""
        if task.task_id in self._tasks:
            raise InvalidRecord("snark.task_exists")
        self._failed.check(task.key, self._now_ms())
        circuit = self.cache.find(task.circuit_hash)
        if circuit is None:
            raise InvalidRecord("snark.circuit_not_loaded", circuit_hash=task.circuit_hash.hex())
        self._tasks[task.task_id] = work
        try:
            yield circuit
            self._failed.forget(task.key)
        except InvalidRecord as refused:
            if refused.code not in _EXCUSED:
                self._failed.add(task.key, self._now_ms())
            raise
        finally:
            del self._tasks[task.task_id]

    def prove(self, task: ProofTask, circuit: Circuit, tell: Tell) -> prover_pb2.Proved:
        """Make the proof. Blocks."""
        tell("witness", 0)
        started = time.perf_counter()
        if task.is_wtns:
            statement = snark.read_wires(circuit, task.source, task.binding)
        else:
            statement = snark.solve(circuit, witness.parse_inputs(task.source), task.binding)
            self._metrics.witness_made(time.perf_counter() - started)
        commitment = statements.commit_witness(task.salt, statement.witness)
        tell("witness", DONE)
        made = self._backends.prove(circuit, statement.witness, tell)
        public = statement.witness[1 : circuit.public_count + 1]
        return prover_pb2.Proved(
            public_inputs=[encoding.scalar_bytes(value) for value in public],
            proof=made.proof,
            output_commitment=statement.output_commitment,
            witness_commitment=commitment,
            backend=made.backend,
            latency_ms=made.latency_ms,
        )

    def _is_loaded(self, header: Header) -> bool:
        """Whether the circuit is there as ``header`` has it; one that differs makes room."""
        known = self.cache.peek(header.circuit_hash)
        if known is not None and known.header != header:
            self.evict(header.circuit_hash)
            return False
        return known is not None

    async def _take(self, header: Header, requests: AsyncIterator[prover_pb2.LoadCircuitRequest]) -> None:
        self.cache.require_fits(header.cost)
        zkey_file, wasm_file = await _receive(header, requests)

        def make() -> Circuit:
            return circuits.build(header, zkey_file, wasm_file, self._load_program)

        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._loader, self.cache.load, header.circuit_hash, header.cost, make)


async def _read_header(requests: AsyncIterator[prover_pb2.LoadCircuitRequest]) -> Header:
    async for request in requests:
        if request.WhichOneof("part") == "header":
            return tasks.read_header(request.header)
        break
    raise InvalidRecord("snark.bad_circuit", field="header", value="missing")


async def _receive(header: Header, requests: AsyncIterator[prover_pb2.LoadCircuitRequest]) -> tuple[bytes, bytes]:
    """The zkey and the wasm file, each exactly as long as the header says."""
    sizes = {"zkey_chunk": header.zkey_size, "wasm_chunk": header.wasm_size}
    files = {name: bytearray() for name in sizes}
    async for request in requests:
        name = str(request.WhichOneof("part"))
        if name not in files:
            raise InvalidRecord("snark.bad_circuit", field="part", value=name)
        chunk = getattr(request, name)
        if not 1 <= len(chunk) <= CHUNK_BYTES_MAX or len(files[name]) + len(chunk) > sizes[name]:
            raise InvalidRecord("snark.bad_circuit", field=name, value=f"{len(files[name]) + len(chunk)} bytes")
        files[name] += chunk
    for name, data in files.items():
        if len(data) != sizes[name]:
            raise InvalidRecord("snark.bad_circuit", field=name, value=f"{len(data)} bytes")
    return bytes(files.pop("zkey_chunk")), bytes(files.pop("wasm_chunk"))
