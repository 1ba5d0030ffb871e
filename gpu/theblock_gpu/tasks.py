"""Tasks as they come over the wire, checked once: a request becomes a task, or a refusal with a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import MaxLen
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import OPENINGS, HashAlgorithm, HashOpening, HashTask
from theblock_node.pb.theblock.v1 import prover_pb2

from theblock_gpu.circuits import WASM_BYTES_MAX, ZKEY_BYTES_MAX, Header
from theblock_gpu.snark import Binding

GPU_HASH, SNARK = "gpuHash", "snark"
CONTEXT_BYTES_MAX = 256
TASK_ID_BYTES_MAX = 64
INPUTS_BYTES_MAX = 2**14
"""As the market's."""
WTNS_BYTES_MAX = 2**22
KEY_BYTES_MAX = 2**18
HASH_BYTES = 32
Openings = Annotated[tuple[HashOpening, ...], MaxLen(OPENINGS)]
"""The proof of a task, as the chain's command has it."""


def read_hash(request: prover_pb2.RunHashRequest) -> tuple[HashTask, bytes]:
    """(task, context) of a `RunHash`."""
    if request.algorithm not in set(HashAlgorithm):
        raise _bad("algorithm", request.algorithm)
    task = HashTask(HashAlgorithm(request.algorithm), bytes(request.seed), request.start, request.count)
    return check(task, request.context), bytes(request.context)


def read_task(task: prover_pb2.ProverTask) -> tuple[HashTask, bytes]:
    """(task, context) of a `RunTask`."""
    if task.workload != GPU_HASH:
        raise InvalidRecord("compute.unsupported_workload", workload=task.workload[:63])
    if task.input:
        raise _bad("input", f"{len(task.input)} bytes where none are wanted")
    return check(gpu_hash.read_task(task.params_json, bytes(task.seed)), task.context), bytes(task.context)


def check(task: HashTask, context: bytes) -> HashTask:
    if len(context) > CONTEXT_BYTES_MAX:
        raise _bad("context", f"{len(context)} bytes")
    return gpu_hash.check_task(task)


@dataclass(frozen=True, slots=True)
class ProofTask:
    task_id: bytes
    circuit_hash: bytes
    source: bytes
    is_wtns: bool
    """Whether ``source`` holds all wires, or the inputs as JSON."""
    binding: Binding
    salt: bytes

    @property
    def key(self) -> tuple[bytes, int]:
        return self.binding.job_id, self.binding.index


def read_proof(request: prover_pb2.ProveRequest) -> ProofTask:
    """The task of a `Prove`."""
    if not 1 <= len(request.task_id) <= TASK_ID_BYTES_MAX:
        raise _bad("task_id", f"{len(request.task_id)} bytes")
    for field in ("circuit_hash", "job_id", "provider_key", "salt"):
        _check_digest(field, getattr(request, field))
    kind = request.WhichOneof("source")
    if kind is None:
        raise _bad("source", "neither inputs nor wires")
    source = getattr(request, kind)
    if len(source) > (WTNS_BYTES_MAX if kind == "wtns" else INPUTS_BYTES_MAX):
        raise _bad(kind, f"{len(source)} bytes")
    binding = Binding(request.chain_id, request.job_id, request.index, request.provider_key)
    return ProofTask(request.task_id, request.circuit_hash, source, kind == "wtns", binding, request.salt)


def read_header(header: prover_pb2.CircuitHeader) -> Header:
    """What a `LoadCircuit` begins with."""
    for field in ("circuit_hash", "zkey_hash"):
        _check_digest(field, getattr(header, field))
    for field, size_max in (("zkey_size", ZKEY_BYTES_MAX), ("wasm_size", WASM_BYTES_MAX)):
        if not 1 <= getattr(header, field) <= size_max:
            raise _bad(field, getattr(header, field))
    if len(header.verifying_key) > KEY_BYTES_MAX:
        raise _bad("verifying_key", f"{len(header.verifying_key)} bytes")
    return Header(
        header.circuit_hash,
        header.zkey_hash,
        header.zkey_size,
        header.wasm_size,
        header.verifying_key,
        header.output_count,
        header.ctx_index if header.HasField("ctx_index") else None,
    )


def _check_digest(field: str, value: bytes) -> None:
    if len(value) != HASH_BYTES:
        raise _bad(field, f"{len(value)} bytes where {HASH_BYTES} are wanted")


def _bad(field: str, value: object) -> InvalidRecord:
    return InvalidRecord("compute.invalid_workload", field=field, value=value)
