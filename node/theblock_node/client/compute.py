"""What a compute provider is doing, and trial runs on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from theblock_node.client.channel import DEADLINE_S, Channels, ClientTls, Endpoint
from theblock_node.pb.theblock.v1 import compute_pb2, compute_pb2_grpc

RUN_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class QueuedSlice:
    job_id: str
    index: int
    state: str
    """Assigned, computed, or submitted."""
    attempts: int


@dataclass(frozen=True, slots=True)
class RunNews:
    """How far a trial run is; the last one has a digest."""

    stage: str
    done_ppm: int
    digest: bytes
    output: bytes
    backend: str


class ComputeClient:
    def __init__(self, endpoint: Endpoint, tls: ClientTls | None, *, name: str | None = None) -> None:
        self.channels = Channels([endpoint], tls, names=lambda _endpoint: name)

    async def close(self) -> None:
        await self.channels.close()

    async def queue(self) -> list[QueuedSlice]:
        """Slices that the provider has still to deliver, oldest first."""
        got = await self._ask("GetQueue", compute_pb2.GetQueueRequest())
        return [_slice(each) for each in got.slices]

    async def progress(
        self, job_id: str, index: int, *, deadline_s: float = RUN_DEADLINE_S
    ) -> AsyncIterator[QueuedSlice]:
        """Follow one slice until it is delivered or gone."""
        request = compute_pb2.ProgressRequest(job_id=bytes.fromhex(job_id), index=index)
        async for got in self.channels.stream(
            lambda channel: compute_pb2_grpc.ComputeStub(channel).Progress(request, timeout=deadline_s)
        ):
            yield _slice(got.slice)

    async def cancel(self, job_id: str, index: int) -> None:
        """Take a slice out of the queue. An administrator's call."""
        await self._ask("Cancel", compute_pb2.CancelRequest(job_id=bytes.fromhex(job_id), index=index))

    async def run(
        self, workload: str, params_json: str, seed: bytes, data: bytes = b"", *, deadline_s: float = RUN_DEADLINE_S
    ) -> AsyncIterator[RunNews]:
        """Compute a task outside the market. An administrator's call."""
        request = compute_pb2.RunRequest(workload=workload, params_json=params_json, seed=seed, input=data)
        async for got in self.channels.stream(
            lambda channel: compute_pb2_grpc.ComputeStub(channel).Run(request, timeout=deadline_s)
        ):
            yield RunNews(got.stage, got.done_ppm, got.digest, got.output, got.backend)

    async def _ask(self, method: str, request: Any) -> Any:
        return await self.channels.call(
            lambda channel, timeout: getattr(compute_pb2_grpc.ComputeStub(channel), method)(request, timeout=timeout),
            deadline_s=DEADLINE_S,
        )


def _slice(got: Any) -> QueuedSlice:
    return QueuedSlice(got.job_id.hex(), got.index, got.state, got.attempts)
