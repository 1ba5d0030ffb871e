"""Prover processes on a socket, as a pod runs them beside a compute node, and a market for them to work in."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.loopback import subnet
from theblock_node.client.errors import UnavailableError
from theblock_node.client.prover import Capabilities, ProverClient
from theblock_node.sim.dev_chain import DevChain

START_S = 30


class Prover:
    """One prover: its files, and the process while it runs."""

    def __init__(self, folder: Path, *, backend: str = "python", cache_bytes: int = 0) -> None:
        self.socket = str(folder / "prover.sock")
        self._config, self._log = folder / "prover.json", folder / "prover.log"
        config = {"socket": self.socket, "backend": backend, "self_check": True, "metrics": 0}
        self._config.write_text(json.dumps({**config, "host": f"{subnet(42)}.9", "cache_bytes": cache_bytes}))
        self.running: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        command = [sys.executable, "-m", "theblock_gpu", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self.running = subprocess.Popen(command, stdout=log, stderr=log)

    async def start(self) -> Capabilities:
        """Start it; returns once it answers."""
        self.spawn()
        assert self.running is not None
        async with asyncio.timeout(START_S):
            while True:
                assert self.running.poll() is None, self._log.read_text()
                client = ProverClient(self.socket)
                try:
                    return await client.capabilities()
                except UnavailableError:
                    await asyncio.sleep(0.1)
                finally:
                    await client.close()

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait(10)
            self.running = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.running is not None
        self.running.terminate()
        code = self.running.wait(20)
        self.running = None
        return code


async def open_market(dev: DevChain, provider: str = "forge-0", *, units: int = 1000) -> None:
    """Register ``provider``, which ``alice`` owns, and offer what it computes to everybody."""
    client, alice = dev.client(), dev.wallet("alice")
    key = dev.wallet(provider).public_key.hex()
    await client.call(
        alice, "compute.register_provider", {"provider_id": provider, "member_key": key, "bond": str(10**9)}
    )
    await post_offer(dev, provider, units=units)


async def post_offer(dev: DevChain, provider: str, *, units: int = 1000) -> None:
    offer = {"provider_id": provider, "lane": "CONSUMER", "price_per_unit": "10", "bond_per_unit": "0"}
    await dev.client().call(dev.wallet("alice"), "compute.post_offer", {**offer, "units_per_epoch": str(units)})


async def post_job(
    dev: DevChain, *, slices: int = 1, digests: int = 40, algorithm: str = "BLAKE3", deadline_blocks: int = 1000
) -> bytes:
    """A job of ``bob``; returns its id."""
    work = {"algorithm": algorithm, "seed": "5a" * 32, "slice_count": slices, "digests_per_slice": digests}
    command = {
        "lane": "CONSUMER",
        "work": {"type": "HashWork", **work},
        "max_price_per_unit": "20",
        "deadline_blocks": deadline_blocks,
    }
    await dev.client().call(dev.wallet("bob"), "compute.post_job", command, final=True)
    jobs = (await dev.client().query("compute.jobs", {"limit": 100}))["jobs"]
    # The youngest of one buyer has the highest place; ties of one height are told apart by the id.
    return bytes.fromhex(jobs[0]["job_id"])


async def job_of(dev: DevChain, job_id: bytes) -> dict[str, Any]:
    """The job and its slices, as the chain has them."""
    return await dev.client().query("compute.job", {"job_id": job_id.hex()})


async def states_of(dev: DevChain, job_id: bytes) -> list[str]:
    return [str(piece["status"]) for piece in (await job_of(dev, job_id))["slices"]]
