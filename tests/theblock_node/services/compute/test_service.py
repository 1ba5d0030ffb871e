"""The provider on a chain: from an assignment to the payment, over crashes, lost provers, lies and drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from support import provers
from support.loopback import subnet
from theblock_node.client.chain import Committed
from theblock_node.client.channel import Endpoint
from theblock_node.client.compute import ComputeClient
from theblock_node.client.errors import RefusedError
from theblock_node.client.prover import ProverClient
from theblock_node.client.wallet import SignedCall
from theblock_node.clock import SystemClock
from theblock_node.core import codec
from theblock_node.core.domains.compute.records import HashOutput, SubmitSlice
from theblock_node.core.domains.compute.rules import slice_context
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import gpu_hash
from theblock_node.core.proofs.gpu_hash import HashAlgorithm, HashTask
from theblock_node.pb.theblock.v1 import prover_pb2, prover_pb2_grpc
from theblock_node.rpc.compute import ComputeServicer
from theblock_node.rpc.server import RpcServer
from theblock_node.services.compute.courier import open_courier
from theblock_node.services.compute.runner import Runner
from theblock_node.services.compute.service import ComputeService
from theblock_node.services.compute.slices import State
from theblock_node.sim.dev_chain import DevChain, dev_chain

FUNDED = ("alice", "bob", "forge-0")
WAIT_S = 40
HOST = f"{subnet(42)}.1"


@asynccontextmanager
async def market() -> AsyncIterator[DevChain]:
    async with dev_chain(funded=FUNDED, instant=True) as dev:
        await provers.open_market(dev)
        yield dev


@asynccontextmanager
async def running(dev: DevChain, folder: Path, *, entries_max: int = 100) -> AsyncIterator[ComputeService]:
    """The service of ``forge-0``, which follows the chain from its beginning."""
    client, clock = dev.client(), SystemClock()
    prover = ProverClient(str(folder / "prover.sock"))
    courier = open_courier(folder / "courier", entries_max=entries_max)
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


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        # What is waited for is another's progress on the chain: there is no event to wait on.
        while not (value := is_so()) or (asyncio.iscoroutine(value) and not await value):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until_settled(dev: DevChain, job_id: bytes) -> None:
    async def is_so() -> bool:
        return set(await provers.states_of(dev, job_id)) == {"SETTLED"}

    await until(is_so)


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


def expected_root(job_id: bytes, index: int, digests: int, algorithm: HashAlgorithm = HashAlgorithm.BLAKE3) -> str:
    task = HashTask(algorithm, b"\x5a" * 32, index * digests, digests)
    return gpu_hash.open_output(slice_context(job_id, index), gpu_hash.compute_digests(task))[0].hex()


@pytest.mark.parametrize("algorithm", list(HashAlgorithm))
async def test_job_is_computed_by_the_prover_and_paid(tmp_path, algorithm):
    prover = provers.Prover(tmp_path, backend="auto")
    try:
        known = await prover.start()
        async with market() as dev, running(dev, tmp_path) as service:
            await until(lambda: service.details()["self_check"] == "passed")
            before = (await dev.client().account(dev.wallet("alice").address)).balance
            job_id = await provers.post_job(dev, slices=3, digests=1000, algorithm=algorithm.name)
            await until_settled(dev, job_id)

            pieces = (await provers.job_of(dev, job_id))["slices"]
            assert [piece["root"] for piece in pieces] == [
                expected_root(job_id, index, 1000, algorithm) for index in range(3)
            ]
            assert int((await dev.client().account(dev.wallet("alice").address)).balance) == int(before) + 3 * 10
            await until(lambda: not service.queue())
            assert service.details()["backend"] == known.backend
            assert service.details()["courier_dead"] == 0
            assert await deliveries(dev) == ["", "", ""]
    finally:
        prover.kill()


async def test_without_a_prover_the_twin_computes_and_says_so(tmp_path):
    async with market() as dev, running(dev, tmp_path) as service:
        job_id = await provers.post_job(dev)
        await until_settled(dev, job_id)

        assert (await provers.job_of(dev, job_id))["slices"][0]["root"] == expected_root(job_id, 0, 40)
        told = service.details()
        assert (told["backend"], told["self_check"]) == ("python", "running")
        assert told["fallback_reason"] == "the prover does not answer"


@pytest.mark.slow
async def test_prover_killed_at_work_is_replaced_by_the_twin_and_taken_back(tmp_path):
    prover = provers.Prover(tmp_path)
    try:
        await prover.start()
        async with market() as dev, running(dev, tmp_path) as service:
            await until(lambda: service.details()["self_check"] == "passed")
            job_id = await provers.post_job(dev, digests=200_000)
            await until(lambda: service.details()["running"])
            prover.kill()
            await until_settled(dev, job_id)

            assert service.details()["fallback_reason"] == "the prover does not answer"
            await prover.start()
            await until(lambda: service.details()["self_check"] == "passed")
            assert service.details()["fallback_reason"] == ""
            assert await deliveries(dev) == [""]
    finally:
        prover.kill()


class Liar(prover_pb2_grpc.ProverServicer):
    """A prover that passes its own self-check and computes nonsense."""

    async def GetCapabilities(self, request, context):
        return prover_pb2.GetCapabilitiesResponse(workloads=["gpuHash"], backend="cuda")

    async def SelfCheck(self, request, context):
        return prover_pb2.SelfCheckResponse(passed=True)

    async def RunHash(self, request, context):
        return prover_pb2.RunHashResponse(root=bytes(32), openings=[], backend="cuda", elapsed_us=1)


async def test_prover_that_lies_is_found_before_the_chain_finds_it(tmp_path):
    server = grpc.aio.server()
    prover_pb2_grpc.add_ProverServicer_to_server(Liar(), server)
    server.add_insecure_port(f"unix:{tmp_path / 'prover.sock'}")
    await server.start()
    try:
        async with market() as dev, running(dev, tmp_path) as service:
            await until(lambda: service.details()["backend"] == "cuda")
            job_id = await provers.post_job(dev, slices=2)
            await until_settled(dev, job_id)

            assert await deliveries(dev) == ["", ""]
            told = service.details()
            assert (told["backend"], told["self_check"]) == ("python", "failed")
            assert told["fallback_reason"] == "the prover is not used: it computed wrongly"
    finally:
        await server.stop(0)


async def test_what_was_assigned_while_nobody_looked_is_taken(tmp_path):
    async with market() as dev:
        job_id = await provers.post_job(dev, slices=4)
        async with running(dev, tmp_path, entries_max=2) as service:
            # There is room for two: the others are taken when those are done.
            await until(lambda: len(service.queue()) == 2)
            await until_settled(dev, job_id)
            assert await deliveries(dev) == [""] * 4


async def test_drain_finishes_what_is_locked_and_holds_the_rest(tmp_path):
    async with market() as dev, running(dev, tmp_path) as service:
        first = await provers.post_job(dev, slices=2)
        await until(lambda: len(service.queue()) > 0)
        service.drain(on=True)
        await until_settled(dev, first)
        await until(lambda: service.details()["drained"])

        second = await provers.post_job(dev)
        await until(lambda: [entry.state for entry in service.queue()] == [State.ASSIGNED])
        assert service.details()["drained"]
        assert (service.left, await provers.states_of(dev, second)) == (0, ["ASSIGNED"])

        # Leaving for good is another thing: the chain lets nobody go who still owes a slice.
        await dev.client().call(dev.wallet("alice"), "compute.withdraw_offer", {"provider_id": "forge-0"}, final=True)
        await until_settled(dev, second)
        await until(lambda: service.details()["drained"])


async def test_held_slice_goes_on_when_the_drain_is_called_off(tmp_path):
    async with market() as dev, running(dev, tmp_path) as service:
        service.drain(on=True)
        job_id = await provers.post_job(dev)
        await until(lambda: service.queue())
        service.drain(on=False)
        await until_settled(dev, job_id)


async def test_cancelled_slice_stays_out_of_the_queue(tmp_path):
    async with market() as dev, running(dev, tmp_path) as service:
        job_id = await provers.post_job(dev, digests=400_000)
        await until(lambda: service.details()["running"])
        service.cancel((job_id, 0))
        await until(lambda: not service.details()["running"])

        service.drain(on=True)  # Compares the queue with the chain at once.
        await until(lambda: service.details()["drained"])
        assert (service.queue(), await provers.states_of(dev, job_id)) == ([], ["ASSIGNED"])
        with pytest.raises(InvalidRecord, match="slice_unknown"):
            service.cancel((job_id, 0))


async def deliver(dev: DevChain, folder: Path, command: SubmitSlice) -> SignedCall:
    """Leave a computed slice in the courier, as a run before would have; returns a transaction around it."""
    client, wallet = dev.client(), dev.wallet("forge-0")
    tip, account = await asyncio.gather(client.tip(), client.account(wallet.address))
    courier = open_courier(folder / "courier", entries_max=10)
    courier.take((command.job_id, command.index), 0)
    courier.save_result((command.job_id, command.index), codec.encode(command), "cuda", 0)
    courier.close()
    return wallet.sign_call(
        "compute.submit_slice",
        command,
        chain_id=tip.chain_id,
        nonce=account.next_nonce,
        base_fee=tip.base_fee,
    )


async def test_result_that_the_chain_refuses_is_computed_again(tmp_path):
    async with market() as dev:
        job_id = await provers.post_job(dev)
        await deliver(dev, tmp_path, SubmitSlice(job_id, 0, HashOutput(bytes(32), ())))
        async with running(dev, tmp_path) as service:
            await until_settled(dev, job_id)
            await until(lambda: not service.queue())
            assert await deliveries(dev) == ["compute.proof_invalid", ""]


async def test_transaction_whose_nonce_is_gone_is_signed_again(tmp_path):
    async with market() as dev:
        job_id = await provers.post_job(dev)
        task = HashTask(HashAlgorithm.BLAKE3, b"\x5a" * 32, 0, 40)
        output = HashOutput(*gpu_hash.open_output(slice_context(job_id, 0), gpu_hash.compute_digests(task)))
        signed = await deliver(dev, tmp_path, SubmitSlice(job_id, 0, output))
        courier = open_courier(tmp_path / "courier", entries_max=10)
        courier.save_envelope((job_id, 0), signed.envelope, signed.tx_id.hex(), ask_ms=0, now_ms=0)
        courier.close()
        # Somebody with the same key was quicker: the nonce of what was signed is used.
        transfer = {"to": dev.wallet("bob").address, "amount_consumer": "1", "amount_industrial": "0"}
        await dev.client().call(dev.wallet("forge-0"), "accounts.transfer", transfer, final=True)

        async with running(dev, tmp_path) as service:
            await until_settled(dev, job_id)
            await until(lambda: not service.queue())
            assert await deliveries(dev) == [""]


async def test_slice_that_the_chain_gave_up_is_given_up(tmp_path):
    async with market() as dev, running(dev, tmp_path) as service:
        service.drain(on=True)
        await provers.post_job(dev, deadline_blocks=1)
        await until(lambda: service.queue())
        dev.produce_until(dev.height + 5)
        await until(lambda: service.details()["courier_dead"] == 1)
        assert (service.queue(), await deliveries(dev)) == ([], [])


async def test_queue_is_served(tmp_path):
    async with market() as dev, running(dev, tmp_path) as service:
        server = RpcServer(
            network="dev", host=HOST, port=0, mutual_port=0, health_port=None, tls=None,
            services=[ComputeServicer(service).service()],
        )  # fmt: skip
        client = ComputeClient(Endpoint(HOST, await server.start()), None)
        try:
            job_id = await provers.post_job(dev, digests=30_000)
            await until(lambda: service.queue())
            assert [(row.job_id, row.index) for row in await client.queue()] == [(job_id.hex(), 0)]
            seen = [row.state async for row in client.progress(job_id.hex(), 0, deadline_s=WAIT_S)]
            assert seen[-1] == "delivered"
            assert seen == sorted(seen, key=["assigned", "computed", "submitted", "delivered"].index)
            for ask in (lambda: client.cancel(job_id.hex(), 0), lambda: anext(client.run("gpuHash", "{}", bytes(32)))):
                with pytest.raises(RefusedError) as refused:
                    await ask()
                assert refused.value.code == "rpc.admin_only"
            with pytest.raises(RefusedError) as refused:
                await anext(client.progress("00" * 32, 7))
            assert refused.value.code == "compute.slice_unknown"
            with pytest.raises(RefusedError) as refused:
                await anext(client.progress("00", 7))
            assert refused.value.code == "codec.value"
        finally:
            await client.close()
            await server.stop(0)


@pytest.mark.parametrize("has_prover", [True, False], ids=["prover", "twin"])
async def test_trial_tells_how_far_it_is(tmp_path, has_prover):
    prover = provers.Prover(tmp_path)
    try:
        if has_prover:
            await prover.start()
        async with market() as dev, running(dev, tmp_path) as service:
            await until(lambda: service.details()["self_check"] == ("passed" if has_prover else "running"))
            params = '{"algorithm": "sha256", "count": 50000, "start": "7"}'
            news = [told async for told in service.try_out("gpuHash", params, bytes(32), b"")]

            task = HashTask(HashAlgorithm.SHA256, bytes(32), 7, 50_000)
            assert news[-1].digest == gpu_hash.open_levels(b"", gpu_hash.build_levels(
                b"".join(gpu_hash.compute_digests(task))
            ))[0]  # fmt: skip
            assert news[-1].backend == "python"
            assert [told.digest for told in news[:-1]] == [b""] * (len(news) - 1) != []
    finally:
        prover.kill()


@pytest.mark.parametrize(
    ("workload", "params", "seed", "code"),
    [
        pytest.param("snark", "{}", bytes(32), "compute.unsupported_workload", id="not-built"),
        pytest.param("gpuHash", "{", bytes(32), "compute.invalid_workload", id="no-json"),
        pytest.param("gpuHash", '{"algorithm":"md5","count":1}', bytes(32), "compute.invalid_workload", id="md5"),
        pytest.param("gpuHash", '{"algorithm":"blake3","count":0}', bytes(32), "compute.invalid_workload", id="none"),
        pytest.param("gpuHash", '{"algorithm":"blake3","count":1}', b"", "compute.invalid_workload", id="no-seed"),
    ],
)
async def test_trial_is_refused(tmp_path, workload, params, seed, code):
    async with market() as dev, running(dev, tmp_path) as service:
        with pytest.raises(InvalidRecord) as refused:
            await anext(service.try_out(workload, params, seed, b""))
        assert refused.value.code == code
