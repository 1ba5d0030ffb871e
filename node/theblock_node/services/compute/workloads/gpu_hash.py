"""The workload `gpuHash` in the node: by the prover, or by the exact twin in a process of its own.

The twin takes seconds where a prover takes milliseconds, so it never runs in the event loop's process:
`python -m theblock_node.services.compute.workloads.gpu_hash` reads a task and writes how far it is and the output.
Killing that process is how a task is given up.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, BinaryIO

from theblock_node.client.errors import RefusedError
from theblock_node.client.prover import HashResult, Progress, ProverClient
from theblock_node.core import codec
from theblock_node.core.errors import InvalidRecord, ProtocolError
from theblock_node.core.numeric import MaxLen
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import OPENINGS, HashOpening, HashTask

NAME = "gpuHash"
PYTHON = "python"
TASK_SECONDS_MAX = 600.0
STEP = 16_384
"""Messages between two words of the twin on how far it is."""
DONE = 1_000_000
LINE_BYTES_MAX = 2**20


class TwinFailed(Exception):
    """The twin's process did not come to an end; the text says how it died."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the twin's process is told."""

    task: HashTask
    context: Annotated[bytes, MaxLen(256)]


@dataclass(frozen=True, slots=True)
class Output:
    root: Annotated[bytes, MaxLen(32)]
    openings: Annotated[tuple[HashOpening, ...], MaxLen(OPENINGS)]


def read_params(params_json: str, seed: bytes, data: bytes) -> HashTask:
    """The task of a trial run; refuses what the prover would refuse."""
    if data:
        raise InvalidRecord("compute.invalid_workload", field="input", value=f"{len(data)} bytes where none are wanted")
    return gpu_hash.read_task(params_json, seed)


async def run_prover(prover: ProverClient, task: HashTask, context: bytes) -> tuple[Output, HashResult]:
    """The prover's output, checked; raises `RefusedError` where it is wrong, as where it is refused."""
    got = await prover.run_hash(
        int(task.algorithm), task.seed, task.start, task.count, context, deadline_s=TASK_SECONDS_MAX
    )
    try:
        output = Output(got.root, tuple(codec.decode(HashOpening, opening) for opening in got.openings))
    except ProtocolError as refused:
        raise RefusedError("compute.proof_invalid", str(refused), {}) from refused
    require_right(task, context, output)
    return output, got


def require_right(task: HashTask, context: bytes, output: Output) -> None:
    """What the chain will ask of an output, asked first."""
    if not gpu_hash.verify_output(task, context, output.root, output.openings):
        raise RefusedError("compute.proof_invalid", "the prover computes wrongly", {})


async def run_twin(task: HashTask, context: bytes) -> AsyncGenerator[Progress | Output, None]:
    """How far the twin is, and last its output; raises `TwinFailed` and `TimeoutError`. To be closed by the caller."""
    ends = asyncio.get_running_loop().time() + TASK_SECONDS_MAX
    async with _process(sys.executable, "-m", __name__) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(codec.encode(Order(task, context)))
            process.stdin.close()
            while line := await _read_line(process.stdout, ends):
                word, _, value = line.decode().strip().partition(" ")
                if word == "done":
                    yield codec.decode(Output, bytes.fromhex(value))
                    return
                yield Progress(word, int(value))
        except TimeoutError:
            raise  # It is an OSError too, and means something else.
        except (OSError, ValueError, ProtocolError) as failed:
            raise TwinFailed(f"the twin's answer cannot be read: {failed}") from failed
        raise TwinFailed(f"the twin ended with {await process.wait()}")


async def _read_line(stream: asyncio.StreamReader, ends: float) -> bytes:
    async with asyncio.timeout_at(ends):
        return await stream.readline()


@asynccontextmanager
async def _process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that never outlives the block."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX
        )
    except OSError as failed:
        raise TwinFailed(f"the twin does not start: {failed}") from failed
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


# The twin's own process.


def _work(order: Order, out: BinaryIO) -> None:
    digests = bytearray()
    for first in range(0, order.task.count, STEP):
        _say(out, "hash", str(first * DONE // order.task.count))
        for index in range(first, min(first + STEP, order.task.count)):
            digests += gpu_hash.compute_digest(order.task, index)
    _say(out, "tree", str(DONE))
    root, openings = gpu_hash.open_levels(order.context, gpu_hash.build_levels(bytes(digests)))
    _say(out, "done", codec.encode(Output(root, openings)).hex())


def _say(out: BinaryIO, word: str, value: str) -> None:
    out.write(f"{word} {value}\n".encode())
    out.flush()


if __name__ == "__main__":
    _work(codec.decode(Order, sys.stdin.buffer.read(LINE_BYTES_MAX)), sys.stdout.buffer)
