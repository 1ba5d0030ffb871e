"""The service `Compute`: the queue of a compute provider, and trial runs; translates, decides nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from theblock_node.pb.theblock.v1 import compute_pb2, compute_pb2_grpc
from theblock_node.rpc.errors import refusal
from theblock_node.rpc.server import Service
from theblock_node.services.compute.runner import TrialNews
from theblock_node.services.compute.slices import Entry, Key

INDEX_MAX = 255


class Compute(Protocol):
    """What the compute service does for callers."""

    def queue(self) -> Sequence[Entry]: ...

    def progress(self, key: Key) -> AsyncGenerator[Entry, None]: ...

    def cancel(self, key: Key) -> None: ...

    def try_out(self, workload: str, params_json: str, seed: bytes, data: bytes) -> AsyncGenerator[TrialNews, None]: ...


class ComputeServicer(compute_pb2_grpc.ComputeServicer):
    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    async def GetQueue(self, request: compute_pb2.GetQueueRequest, context: Any) -> compute_pb2.GetQueueResponse:
        return compute_pb2.GetQueueResponse(slices=[_slice(entry) for entry in self._compute.queue()])

    async def Run(self, request: compute_pb2.RunRequest, context: Any) -> AsyncIterator[compute_pb2.RunResponse]:
        asked = request.workload, request.params_json, request.seed, request.input
        async with aclosing(self._compute.try_out(*asked)) as told:
            async for news in told:
                yield compute_pb2.RunResponse(
                    stage=news.stage, done_ppm=news.done_ppm, digest=news.digest, backend=news.backend
                )

    async def Progress(
        self, request: compute_pb2.ProgressRequest, context: Any
    ) -> AsyncIterator[compute_pb2.ProgressResponse]:
        async with aclosing(self._compute.progress(_key(request.job_id, request.index))) as entries:
            async for entry in entries:
                yield compute_pb2.ProgressResponse(slice=_slice(entry))

    async def Cancel(self, request: compute_pb2.CancelRequest, context: Any) -> compute_pb2.CancelResponse:
        self._compute.cancel(_key(request.job_id, request.index))
        return compute_pb2.CancelResponse()

    def service(self) -> Service:
        return Service(
            "theblock.v1.Compute", lambda server: compute_pb2_grpc.add_ComputeServicer_to_server(self, server)
        )


def _key(job_id: bytes, index: int) -> Key:
    if len(job_id) != 32:
        raise refusal("job_id", f"{len(job_id)} bytes where 32 are wanted")
    if index > INDEX_MAX:
        raise refusal("index", f"{index} is above {INDEX_MAX}")
    return bytes(job_id), index


def _slice(entry: Entry) -> compute_pb2.QueuedSlice:
    return compute_pb2.QueuedSlice(
        job_id=entry.job_id, index=entry.index, state=entry.state.value, attempts=entry.attempts
    )
