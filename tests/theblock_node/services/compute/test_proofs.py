"""Proofs on a chain: from a job to the payment, over a prover that is killed again and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from support import market, provers
from theblock_node.client.chain import Committed
from theblock_node.client.prover import ProverClient
from theblock_node.clock import SystemClock
from theblock_node.services.compute import runner as runners
from theblock_node.services.compute import service as services
from theblock_node.services.compute.courier import open_courier
from theblock_node.services.compute.objects import ObjectFolder
from theblock_node.services.compute.runner import Runner
from theblock_node.services.compute.service import ComputeService
from theblock_node.services.compute.workloads.snark import SnarkWorker
from theblock_node.sim.dev_chain import DevChain, dev_chain

JOBS, KILLS = int(os.environ.get("THEBLOCK_JOBS", "9")), int(os.environ.get("THEBLOCK_KILLS", "3"))
"""The whole of it, 200 jobs and 50 kills, takes minutes."""
CACHE_BYTES = 2**26
PRICE = 10
WAIT_S = 60


@asynccontextmanager
async def opened() -> AsyncIterator[DevChain]:
    """A chain with a provider's offer, and the circuit."""
    async with dev_chain(funded=("alice", "bob", "forge-0"), instant=True) as dev:
        await provers.open_market(dev, units=10**6)
        await market.register_cube(dev)
        yield dev


@asynccontextmanager
async def running(dev: DevChain, folder: Path, *, shelf: market.Shelf | None = None) -> AsyncIterator[ComputeService]:
    client, clock, wallet = dev.client(), SystemClock(), dev.wallet("forge-0")
    prover = ProverClient(str(folder / "prover.sock"))
    objects = ObjectFolder(folder / "circuits", shelf or market.Shelf(), bytes_max=2**24)
    proofs = SnarkWorker(prover=prover, chain=client, objects=objects, wallet=wallet, clock=clock)
    courier = open_courier(folder / "courier", entries_max=1000)
    service = ComputeService(
        provider_id="forge-0",
        chain=client,
        wallet=wallet,
        courier=courier,
        runner=Runner(prover, clock, self_check=True, proofs=proofs),
        clock=clock,
        chance=Random(1),
    )

    async def follow() -> None:
        async for news in client.events(0, final=True):
            if isinstance(news, Committed):
                service.take(news)

    tasks = [asyncio.create_task(service.run()), asyncio.create_task(follow())]
    try:
        yield service
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await prover.close()
        courier.close()


async def until(is_so: Callable[[], Any], limit_s: float = WAIT_S) -> None:
    async with asyncio.timeout(limit_s):
        # What is waited for is another's progress on the chain: there is no event to wait on.
        while not (value := is_so()) or (asyncio.iscoroutine(value) and not await value):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def settled(dev: DevChain) -> int:
    row = (await dev.client().query("compute.providers", {"after": "", "limit": 0}))["providers"][0]
    assert row["violated"] == "0"
    return int(row["settled"])


async def deliveries(dev: DevChain) -> list[str]:
    """The outcome of every delivery that stands in a block; empty text is success."""
    told = []
    async with asyncio.timeout(WAIT_S):
        async for news in dev.client().events(0, final=True):
            if isinstance(news, Committed):
                told += [tx.error_code for tx in news.txs if tx.call == "compute.submit_slice"]
            if news.height >= dev.final_height:
                return told
    raise AssertionError("the stream ended")


async def balance(dev: DevChain) -> int:
    return int((await dev.client().account(dev.wallet("alice").address)).balance)


async def test_proof_is_made_and_paid(tmp_path):
    prover = provers.Prover(tmp_path, backend="auto", cache_bytes=CACHE_BYTES)
    shelf = market.Shelf()
    try:
        await prover.start()
        async with opened() as dev, running(dev, tmp_path, shelf=shelf) as service:
            before = await balance(dev)
            await market.post_proofs(dev, 3, 4)
            await until(lambda: _equals(settled(dev), 2))

            assert await balance(dev) == before + 2 * PRICE
            assert await deliveries(dev) == ["", ""]
            history = (await dev.client().query("compute.sla_history", {"limit": 25, "before": "0"}))["entries"]
            outputs = {
                int.from_bytes(bytes.fromhex(entry["bundle"]["public_inputs"][0]), "little") for entry in history
            }
            assert outputs == {27, 64}
            told = service.details()
            assert told["last_proof"]["circuit"] == market.CIRCUIT_HASH.hex()
            assert told["last_proof"]["backend"] == told["proof_backend"] in ("native", "python")
            assert shelf.calls == ["0a", "0b"]
    finally:
        prover.kill()


async def test_without_a_prover_a_proof_waits_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(runners, "LOOK_PERIOD_MS", 100)
    monkeypatch.setattr(services, "PROVER_WAIT_MS", 50)
    prover = provers.Prover(tmp_path, cache_bytes=CACHE_BYTES)
    try:
        async with opened() as dev, running(dev, tmp_path) as service:
            await market.post_proofs(dev, 3)
            await until(lambda: service.details()["last_error"])
            assert service.details()["last_error"] == "the prover does not answer"
            assert not service.details()["no_endpoint"]
            # Waits that double each time would take minutes to come so far.
            await until(lambda: service.queue()[0].attempts >= 12)
            await prover.start()
            await until(lambda: _equals(settled(dev), 1))
    finally:
        prover.kill()


async def test_slice_that_nobody_can_prove_is_given_back_for_nothing(tmp_path):
    prover = provers.Prover(tmp_path, cache_bytes=CACHE_BYTES)
    try:
        await prover.start()
        async with opened() as dev, running(dev, tmp_path) as service:
            await until(lambda: service.details()["self_check"] == "passed")
            await market.post_proofs(dev, 2**64, 5)
            await until(lambda: _equals(settled(dev), 1))
            await until(lambda: not service.queue())

            entries = (await dev.client().query("compute.sla_history", {"limit": 0, "before": "0"}))["entries"]
            told = {entry["index"]: (entry["outcome"], entry["reason"], entry["burned"]) for entry in entries}
            assert told == {0: ("CANCELLED", "DECLINED", "0"), 1: ("COMPLETED", "NONE", "0")}
            assert await deliveries(dev) == [""]
            assert service.details()["courier_dead"] == 0
    finally:
        prover.kill()


async def test_every_job_is_paid_once_however_often_the_prover_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(runners, "LOOK_PERIOD_MS", 200)
    # The twin proves slowly enough to be killed in the middle.
    prover, chance = provers.Prover(tmp_path, backend="python", cache_bytes=CACHE_BYTES), Random(7)
    hit = 0
    try:
        await prover.start()
        async with opened() as dev, running(dev, tmp_path) as service:
            before = await balance(dev)

            async def kill_again_and_again() -> None:
                nonlocal hit
                for round_ in range(1, KILLS + 1):
                    # The jobs are spread over the kills, so that there is always work to be killed at.
                    for at in range(JOBS * (round_ - 1) // KILLS, JOBS * round_ // KILLS):
                        await market.post_proofs(dev, at)
                    await until(lambda: service.details()["running"])
                    if round_ % 2 == 0:
                        # Anywhere; the others meet a proof for sure.
                        await asyncio.sleep(chance.random() * 0.2)
                    hit += service.details()["running"]
                    prover.kill()
                    await prover.start()

            await kill_again_and_again()
            await until(lambda: _equals(settled(dev), JOBS), 30 + JOBS)
            await until(lambda: not service.queue())

            assert await deliveries(dev) == [""] * JOBS
            assert await balance(dev) == before + JOBS * PRICE
            assert hit >= KILLS // 2, "most kills met nothing at work"
    finally:
        prover.kill()


async def _equals(asked: Any, wanted: int) -> bool:
    return bool(await asked == wanted)
