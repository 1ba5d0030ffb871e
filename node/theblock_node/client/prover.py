"""The prover container beside a node, over a socket in the pod."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theblock_node.client.channel import Channels, Endpoint
from theblock_node.pb.theblock.v1 import prover_pb2, prover_pb2_grpc

ASK_DEADLINE_S = 10.0
CHECK_DEADLINE_S = 60.0
RUN_DEADLINE_S = 600.0
CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Device:
    index: int
    model: str
    memory_mib: int
    health: str
    reason: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    workloads: tuple[str, ...]
    backend: str
    """cuda, native or python."""
    fallback_reason: str
    devices: tuple[Device, ...]
    proof_backend: str = ""
    """Of the next proof; empty where none is made."""
    circuits: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SelfCheck:
    passed: bool
    digest: bytes
    expected: bytes


@dataclass(frozen=True, slots=True)
class HashResult:
    root: bytes
    openings: tuple[bytes, ...]
    backend: str
    elapsed_us: int


@dataclass(frozen=True, slots=True)
class Progress:
    stage: str
    done_ppm: int


@dataclass(frozen=True, slots=True)
class TaskResult:
    digest: bytes
    output: bytes
    proof: bytes
    backend: str
    elapsed_us: int


@dataclass(frozen=True, slots=True)
class CircuitFiles:
    """A circuit to hand over, its files on this machine's disk."""

    circuit_hash: bytes
    zkey_hash: bytes
    zkey: Path
    wasm: Path
    verifying_key: bytes
    output_count: int
    ctx_index: int | None


@dataclass(frozen=True, slots=True)
class ProofOrder:
    """A proof that is wanted; see the proto."""

    task_id: bytes
    circuit_hash: bytes
    inputs_json: bytes
    chain_id: int
    job_id: bytes
    index: int
    provider_key: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Proved:
    public_inputs: tuple[bytes, ...]
    proof: bytes
    output_commitment: bytes
    witness_commitment: bytes
    backend: str
    latency_ms: int


class ProverClient:
    """``socket`` is a path in the pod."""

    def __init__(self, socket: str) -> None:
        self.channels = Channels([Endpoint.of_socket(socket)], None)

    async def close(self) -> None:
        await self.channels.close()

    async def capabilities(self) -> Capabilities:
        got = await self._ask("GetCapabilities", prover_pb2.GetCapabilitiesRequest(), ASK_DEADLINE_S)
        devices = tuple(
            Device(each.index, each.model, each.memory_mib, each.health, each.reason) for each in got.devices
        )
        return Capabilities(
            tuple(got.workloads), got.backend, got.fallback_reason, devices, got.proof_backend, tuple(got.circuits)
        )

    async def self_check(self) -> SelfCheck:
        got = await self._ask("SelfCheck", prover_pb2.SelfCheckRequest(), CHECK_DEADLINE_S)
        return SelfCheck(got.passed, bytes(got.digest), bytes(got.expected))

    async def run_hash(
        self, algorithm: int, seed: bytes, start: int, count: int, context: bytes, *, deadline_s: float = RUN_DEADLINE_S
    ) -> HashResult:
        asked = prover_pb2.RunHashRequest(algorithm=algorithm, seed=seed, start=start, count=count, context=context)
        got = await self._ask("RunHash", asked, deadline_s)
        return HashResult(bytes(got.root), tuple(got.openings), got.backend, got.elapsed_us)

    async def run_task(
        self,
        workload: str,
        params_json: str,
        seed: bytes,
        data: bytes,
        context: bytes,
        *,
        deadline_s: float = RUN_DEADLINE_S,
    ) -> AsyncIterator[Progress | TaskResult]:
        """How far the task is, and last what came out."""
        task = prover_pb2.ProverTask(workload=workload, params_json=params_json, seed=seed, input=data, context=context)
        request = prover_pb2.RunTaskRequest(task=task)
        async for got in self.channels.stream(
            lambda channel: prover_pb2_grpc.ProverStub(channel).RunTask(request, timeout=deadline_s)
        ):
            if got.WhichOneof("news") == "progress":
                yield Progress(got.progress.stage, got.progress.done_ppm)
            else:
                done = got.result
                yield TaskResult(done.digest, done.output, done.proof, done.backend, done.elapsed_us)

    async def load_circuit(self, files: CircuitFiles, *, deadline_s: float = RUN_DEADLINE_S) -> bool:
        """Hand a circuit over; whether the prover had it."""
        header = prover_pb2.CircuitHeader(
            circuit_hash=files.circuit_hash,
            zkey_hash=files.zkey_hash,
            zkey_size=files.zkey.stat().st_size,
            wasm_size=files.wasm.stat().st_size,
            verifying_key=files.verifying_key,
            output_count=files.output_count,
            ctx_index=files.ctx_index,
        )

        def requests() -> AsyncIterator[prover_pb2.LoadCircuitRequest]:
            return _circuit_parts(header, files)

        got = await self.channels.call(
            lambda channel, timeout: prover_pb2_grpc.ProverStub(channel).LoadCircuit(requests(), timeout=timeout),
            deadline_s=deadline_s,
        )
        return bool(got.was_loaded)

    async def evict_circuit(self, circuit_hash: bytes) -> bool:
        got = await self._ask("EvictCircuit", prover_pb2.EvictCircuitRequest(circuit_hash=circuit_hash), ASK_DEADLINE_S)
        return bool(got.was_loaded)

    async def prove(
        self, order: ProofOrder, *, deadline_s: float = RUN_DEADLINE_S
    ) -> AsyncGenerator[Progress | Proved, None]:
        """How far the proof is, and last the proof."""
        request = prover_pb2.ProveRequest(
            task_id=order.task_id,
            circuit_hash=order.circuit_hash,
            inputs_json=order.inputs_json,
            chain_id=order.chain_id,
            job_id=order.job_id,
            index=order.index,
            provider_key=order.provider_key,
            salt=order.salt,
        )
        async for got in self.channels.stream(
            lambda channel: prover_pb2_grpc.ProverStub(channel).Prove(request, timeout=deadline_s)
        ):
            if got.WhichOneof("news") == "progress":
                yield Progress(got.progress.stage, got.progress.done_ppm)
            else:
                done = got.result
                yield Proved(
                    tuple(done.public_inputs),
                    done.proof,
                    done.output_commitment,
                    done.witness_commitment,
                    done.backend,
                    done.latency_ms,
                )

    async def cancel(self, task_id: bytes) -> bool:
        """Stop a proof; whether it was being made."""
        got = await self._ask("Cancel", prover_pb2.ProverCancelRequest(task_id=task_id), ASK_DEADLINE_S)
        return bool(got.was_running)

    async def _ask(self, method: str, request: Any, deadline_s: float) -> Any:
        return await self.channels.call(
            lambda channel, timeout: getattr(prover_pb2_grpc.ProverStub(channel), method)(request, timeout=timeout),
            deadline_s=deadline_s,
        )


async def _circuit_parts(
    header: prover_pb2.CircuitHeader, files: CircuitFiles
) -> AsyncIterator[prover_pb2.LoadCircuitRequest]:
    yield prover_pb2.LoadCircuitRequest(header=header)
    with files.zkey.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield prover_pb2.LoadCircuitRequest(zkey_chunk=chunk)
    with files.wasm.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield prover_pb2.LoadCircuitRequest(wasm_chunk=chunk)
