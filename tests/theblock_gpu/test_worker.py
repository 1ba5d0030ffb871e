"""The Prover service over its socket: tasks, progress, refusals, callers who go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import generate_latest
from support.devices import FakeCupy, host_engine
from theblock_gpu import tasks, worker
from theblock_gpu.backends import Backends, Seat
from theblock_gpu.device import Device
from theblock_gpu.hash import CudaEngine, Engine, PythonEngine
from theblock_gpu.metrics import Metrics
from theblock_gpu.proving import Proving
from theblock_gpu.snark import SnarkBackends
from theblock_gpu.worker import Prover, serve
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.prover import Progress, ProverClient, TaskResult
from theblock_node.core import codec
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashOpening, HashTask

SEED = b"\x05" * 32
CONTEXT = b"\x09" * 33
TASK = HashTask(HashAlgorithm.SHA256, SEED, 9, 1001)


@asynccontextmanager
async def proving(folder: Path, cpu: Engine, *seats: Seat, checked: bool = True) -> AsyncIterator[tuple[Any, Metrics]]:
    """(client, metrics) of a prover that serves."""
    metrics = Metrics()
    backends = Backends(cpu, seats, "", lambda: 0, SnarkBackends(metrics, lambda: 0, gpu_min_domain=4096))
    prover = Prover(backends, metrics, Proving(backends, metrics, cache_bytes=2**24))
    if checked:
        await prover.self_check()
    socket = str(folder / "prover.sock")
    async with serve(prover, socket, closing_s=0):
        client = ProverClient(socket)
        try:
            yield client, metrics
        finally:
            await client.close()


def count(metrics: Metrics, line: str) -> float:
    told = generate_latest(metrics.registry).decode().splitlines()
    return next((float(row.rpartition(" ")[2]) for row in told if row.startswith(line)), 0.0)


async def test_hash_is_that_of_the_twin(tmp_path):
    async with proving(tmp_path, host_engine()) as (client, metrics):
        got = await client.run_hash(1, SEED, 9, 1001, CONTEXT)

        root, openings = gpu_hash.open_output(CONTEXT, gpu_hash.compute_digests(TASK))
        assert (got.root, got.backend) == (root, "native")
        assert tuple(codec.decode(HashOpening, opening) for opening in got.openings) == openings
        assert count(metrics, 'prover_digests_total{backend="native"}') == 1001


async def test_task_tells_how_far_it_is_and_proves(tmp_path):
    async with proving(tmp_path, PythonEngine()) as (client, _):
        params = '{"algorithm": "SHA256", "count": 40000, "start": "18446744073709551615"}'
        news = [told async for told in client.run_task("gpuHash", params, SEED, b"", CONTEXT)]

        done = news.pop()
        assert isinstance(done, TaskResult)
        assert news
        assert all(isinstance(told, Progress) for told in news)
        ppm = [told.done_ppm for told in news]
        assert ppm == sorted(ppm)
        openings = codec.decode_as(tasks.Openings, done.proof)
        task = HashTask(HashAlgorithm.SHA256, SEED, 2**64 - 1, 40_000)
        assert gpu_hash.verify_output(task, CONTEXT, done.digest, openings)


async def test_capabilities_and_self_check_are_told(tmp_path):
    seat = Seat(CudaEngine(FakeCupy(), Device(0, "Fake 0", 1024)))
    async with proving(tmp_path, host_engine(), seat) as (client, metrics):
        known = await client.capabilities()
        checked = await client.self_check()

        assert (known.workloads, known.backend, known.fallback_reason) == (("gpuHash", "snark"), "cuda", "")
        assert [(one.model, one.memory_mib, one.health) for one in known.devices] == [("Fake 0", 1024, "Healthy")]
        assert checked.passed
        assert checked.digest == checked.expected
        assert count(metrics, 'prover_self_checks_total{outcome="passed"}') == 2
        assert count(metrics, 'prover_devices{health="Healthy"}') == 1


async def test_device_that_fails_is_told_of_and_the_task_is_done_all_the_same(tmp_path):
    cupy = FakeCupy()
    async with proving(tmp_path, host_engine(), Seat(CudaEngine(cupy, Device(0, "Fake", 1)))) as (client, metrics):
        cupy.broken.add(0)
        for _ in range(3):
            assert (await client.run_hash(1, SEED, 9, 1001, CONTEXT)).backend == "native"
        known = await client.capabilities()
        assert known.backend == "native"
        assert known.fallback_reason.startswith("DeviceUnhealthy: CudaError")
        assert [(one.health, one.reason) for one in known.devices] == [("Quarantined", "DeviceUnhealthy")]
        assert count(metrics, "prover_fallbacks_total") == 3
        assert count(metrics, 'prover_devices{health="Quarantined"}') == 1


async def test_unchecked_prover_offers_nothing(tmp_path):
    async with proving(tmp_path, PythonEngine(), checked=False) as (client, _):
        assert (await client.capabilities()).workloads == ()
        with pytest.raises(UnavailableError, match="self_check"):
            await client.run_hash(1, SEED, 9, 10, CONTEXT)
        assert (await client.self_check()).passed
        assert (await client.run_hash(1, SEED, 9, 10, CONTEXT)).root


@pytest.mark.parametrize(
    ("algorithm", "seed", "count", "context"),
    [
        pytest.param(2, SEED, 1, b"", id="algorithm"),
        pytest.param(0, SEED[1:], 1, b"", id="short-seed"),
        pytest.param(0, SEED, 0, b"", id="nothing"),
        pytest.param(0, SEED, gpu_hash.COUNT_MAX + 1, b"", id="too-much"),
        pytest.param(0, SEED, 1, bytes(257), id="long-context"),
    ],
)
async def test_hash_is_refused(tmp_path, algorithm, seed, count, context):
    async with proving(tmp_path, PythonEngine()) as (client, _):
        with pytest.raises(RefusedError) as refused:
            await client.run_hash(algorithm, seed, 0, count, context)
        assert refused.value.code == "compute.invalid_workload"


@pytest.mark.parametrize(
    ("workload", "params", "data", "code"),
    [
        pytest.param("snark", "{}", b"", "compute.unsupported_workload", id="not-built"),
        pytest.param("gpuHash", "{", b"", "compute.invalid_workload", id="no-json"),
        pytest.param("gpuHash", '{"count":1}', b"", "compute.invalid_workload", id="no-algorithm"),
        pytest.param("gpuHash", '{"algorithm":"blake3","count":1,"x":1}', b"", "compute.invalid_workload", id="extra"),
        pytest.param("gpuHash", '{"algorithm":"md5","count":1}', b"", "compute.invalid_workload", id="md5"),
        pytest.param("gpuHash", '{"algorithm":"blake3","count":1}', b"x", "compute.invalid_workload", id="input"),
        pytest.param("gpuHash", '{"algorithm":"blake3","count":1,"start":"18446744073709551616"}', b"",
                     "compute.invalid_workload", id="start-beyond-64-bits"),
    ],
)  # fmt: skip
async def test_task_is_refused(tmp_path, workload, params, data, code):
    async with proving(tmp_path, PythonEngine()) as (client, _):
        with pytest.raises(RefusedError) as refused:
            await anext(client.run_task(workload, params, SEED, data, CONTEXT))
        assert refused.value.code == code


class Slow(PythonEngine):
    """Goes on until it is told that nobody waits."""

    def __init__(self) -> None:
        self.wants_work = False
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def build(self, task, tell):
        if not self.wants_work:
            return super().build(task, tell)
        self._loop.call_soon_threadsafe(self.begun.set)
        try:
            while True:
                tell("hash", 0)
        finally:
            self._loop.call_soon_threadsafe(self.ended.set)


async def test_task_ends_with_its_caller(tmp_path):
    engine = Slow()
    async with proving(tmp_path, engine) as (client, metrics):
        engine.wants_work = True
        calling = asyncio.create_task(client.run_hash(1, SEED, 9, 1001, CONTEXT))
        async with asyncio.timeout(10):
            await engine.begun.wait()
            calling.cancel()
            await engine.ended.wait()
        engine.wants_work = False
        assert (await client.run_hash(1, SEED, 9, 10, CONTEXT)).root
        assert count(metrics, 'prover_tasks_total{backend="python",outcome="stopped"') == 1


async def test_task_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "TASKS_MAX", 1)
    engine = Slow()
    async with proving(tmp_path, engine) as (client, _):
        engine.wants_work = True
        calling = asyncio.create_task(client.run_hash(1, SEED, 9, 1001, CONTEXT))
        async with asyncio.timeout(10):
            await engine.begun.wait()
            with pytest.raises(RefusedError) as refused:
                await client.run_hash(1, SEED, 9, 1001, CONTEXT)
            assert refused.value.code == "compute.prover_full"
            calling.cancel()
            await engine.ended.wait()


async def test_health_is_served_and_the_socket_is_cleared(tmp_path):
    (tmp_path / "prover.sock").write_text("left by a process that was killed")
    channel = grpc.aio.insecure_channel(f"unix:{tmp_path / 'prover.sock'}")
    async with proving(tmp_path, PythonEngine()), channel:
        got = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert got.status == health_pb2.HealthCheckResponse.SERVING
    assert not (tmp_path / "prover.sock").exists()
