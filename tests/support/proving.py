"""A prover in this process, on a socket, which proves on the CPU."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from theblock_gpu.backends import Backends
from theblock_gpu.hash import PythonEngine
from theblock_gpu.metrics import Metrics
from theblock_gpu.proving import Proving
from theblock_gpu.snark import SnarkBackends
from theblock_gpu.worker import Prover, serve
from theblock_node.client.prover import ProverClient


@asynccontextmanager
async def serving(
    folder: Path, *, cache_bytes: int = 2**26, checked: bool = True, **changes: Any
) -> AsyncIterator[tuple[ProverClient, Metrics]]:
    """(client, metrics) of a prover that proves on the CPU."""
    metrics = Metrics()
    snark = SnarkBackends(metrics, lambda: 0, gpu_min_domain=4096, **changes)
    backends = Backends(PythonEngine(), (), "", lambda: 0, snark)
    server = Prover(backends, metrics, Proving(backends, metrics, cache_bytes=cache_bytes, now_ms=lambda: 0))
    if checked:
        await server.self_check()
    socket = str(folder / "prover.sock")
    async with serve(server, socket, closing_s=0):
        client = ProverClient(socket)
        try:
            yield client, metrics
        finally:
            await client.close()
