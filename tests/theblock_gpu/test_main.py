"""The prover as a process: its file, its metrics, its end."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support.devices import FakeCupy, host_engine
from support.provers import Prover
from theblock_gpu import __main__ as main
from theblock_gpu import config
from theblock_gpu.backends import Backends, Seat
from theblock_gpu.config import EXIT_BAD_CONFIG, EXIT_LOST, BadConfig, Config
from theblock_gpu.device import Device
from theblock_gpu.hash import CudaEngine
from theblock_node.client.prover import ProverClient

GOOD = {"socket": "/run/theblock/prover.sock", "backend": "native", "self_check": True, "cache_bytes": 1024,
        "metrics": 9899, "host": "0.0.0.0"}  # fmt: skip


def test_file_of_the_operator_is_read():
    assert config.parse(json.dumps(GOOD).encode()) == Config(**GOOD)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"backend": "opencl"}, "$.backend", id="backend"),
        pytest.param({"sokcet": "x"}, "sokcet", id="misspelt"),
        pytest.param({"socket": ""}, "$.socket", id="no-socket"),
        pytest.param({"socket": "/" * 108}, "$.socket", id="socket-too-long-for-the-kernel"),
        pytest.param({"metrics": 65_536}, "$.metrics", id="port"),
    ],
)
def test_bad_file_is_refused_with_the_key(change, told):
    with pytest.raises(BadConfig) as refused:
        config.parse(json.dumps({**GOOD, **change}).encode())
    assert told in str(refused.value)


def test_process_ends_for_good_with_a_bad_file(tmp_path: Path):
    command = [sys.executable, "-m", "theblock_gpu", "--config", str(tmp_path / "nothing.json")]
    ended = subprocess.run(command, capture_output=True, timeout=60)
    assert (ended.returncode, b"bad config" in ended.stderr) == (EXIT_BAD_CONFIG, True)


async def test_process_serves_and_stops_well(tmp_path):
    prover = Prover(tmp_path, backend="auto")
    try:
        known = await prover.start()
        assert known.workloads == ("gpuHash", "snark")
        assert known.backend in ("cuda", "native") or known.fallback_reason
        assert resource.prlimit(prover.running.pid, resource.RLIMIT_CORE) == (0, 0)
        assert prover.stop() == 0
        assert not (tmp_path / "prover.sock").exists()
    finally:
        prover.kill()


class Ended(BaseException):
    """The process would be gone."""


async def test_process_ends_once_a_device_is_lost_and_its_task_is_done(tmp_path, monkeypatch):
    cupy = FakeCupy()
    seat = Seat(CudaEngine(cupy, Device(0, "Fake", 1)))
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Ended

    monkeypatch.setattr(main, "open_backends", lambda config, counts: Backends(host_engine(), [seat], "", lambda: 0))
    monkeypatch.setattr(main.os, "_exit", leave)
    serving = asyncio.create_task(main.run(Config(socket=str(tmp_path / "prover.sock"), metrics=0)))
    client = ProverClient(str(tmp_path / "prover.sock"))
    async with asyncio.timeout(30):
        while not (tmp_path / "prover.sock").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await client.run_hash(1, bytes(32), 0, 100, b"")).backend == "cuda"
        cupy.broken.add(0)
        assert (await client.run_hash(1, bytes(32), 0, 100, b"")).backend == "native"
        with pytest.raises(Ended):
            await serving
    assert codes == [EXIT_LOST]
    await client.close()
