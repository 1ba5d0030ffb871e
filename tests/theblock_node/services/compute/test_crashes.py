"""A provider that dies between any two steps loses nothing and delivers nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support import provers
from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.prover import ProverClient
from theblock_node.clock import SystemClock
from theblock_node.services.compute import courier as couriers
from theblock_node.services.compute.courier import Courier
from theblock_node.services.compute.runner import Runner
from theblock_node.services.compute.service import ComputeService
from theblock_node.services.compute.slices import State
from theblock_node.sim.dev_chain import DevChain, dev_chain

STEPS = ("take", "save_result", "save_envelope", "submit", "end")
WAIT_S = 30


class Died(BaseException):
    """The process is gone."""


class Mortal:
    """Stands before a courier or a client, and dies at one of its calls, once."""

    def __init__(self, inner: Any, step: str, *, after: bool) -> None:
        self._inner, self._step, self._after = inner, step, after
        self.has_died = False

    def __getattr__(self, name: str) -> Any:
        whole = getattr(self._inner, name)
        if name != self._step or self.has_died:
            return whole
        return self._slow(whole) if asyncio.iscoroutinefunction(whole) else self._quick(whole)

    def _quick(self, whole: Any) -> Any:
        def act(*arguments: Any, **named: Any) -> None:
            if self._after:
                whole(*arguments, **named)
            self.has_died = True
            raise Died

        return act

    def _slow(self, whole: Any) -> Any:
        async def act(*arguments: Any, **named: Any) -> None:
            if self._after:
                await whole(*arguments, **named)
            self.has_died = True
            raise Died

        return act


async def live(dev: DevChain, folder: Path, client: ChainClient | Any, courier: Courier | Any) -> None:
    """One life of the provider: until it dies, or has nothing left to do."""
    clock, prover = SystemClock(), ProverClient(str(folder / "prover.sock"))
    service = ComputeService(
        provider_id="forge-0",
        chain=client,
        wallet=dev.wallet("forge-0"),
        courier=courier,
        runner=Runner(prover, clock, self_check=True),
        clock=clock,
        chance=Random(1),
    )

    async def follow() -> None:
        async for news in client.events(0, final=True):
            if isinstance(news, Committed):
                service.take(news)

    async def finish() -> None:
        while not courier.counts()[State.DELIVERED]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    tasks = [asyncio.ensure_future(work) for work in (service.run(), follow(), finish())]
    try:
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await prover.close()
    wrong = [one for one in ended if isinstance(one, BaseException) and not is_death(one)]
    assert not wrong, wrong


def is_death(failed: BaseException) -> bool:
    if isinstance(failed, BaseExceptionGroup):
        return all(map(is_death, failed.exceptions))
    return isinstance(failed, Died | asyncio.CancelledError)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_slice_is_delivered_once_whenever_the_provider_dies(tmp_path, step, after):
    async with dev_chain(funded=("alice", "bob", "forge-0"), instant=True) as dev:
        await provers.open_market(dev)
        job_id = await provers.post_job(dev)
        first = couriers.open_courier(tmp_path / "courier", entries_max=10)
        courier, client = Mortal(first, step, after=after), Mortal(dev.client(), step, after=after)

        await live(dev, tmp_path, client, courier)
        assert courier.has_died or client.has_died
        # The database is left as it lies, like after a kill.
        second = couriers.open_courier(tmp_path / "courier", entries_max=10)
        await live(dev, tmp_path, dev.client(), second)

        assert await provers.states_of(dev, job_id) == ["SETTLED"]
        told = []
        async for news in dev.client().events(0, final=True):
            if isinstance(news, Committed):
                told += [tx.error_code for tx in news.txs if tx.call == "compute.submit_slice"]
            if news.height >= dev.final_height:
                break
        assert told == [""]
        first.close()
        second.close()
