"""A compute provider: delivers the slices that the chain assigns it; hashes with the prover beside it or without."""

from __future__ import annotations

import asyncio
from random import Random

import structlog

from theblock_node.client.chain import Committed
from theblock_node.client.channel import ClientTls
from theblock_node.client.prover import ProverClient
from theblock_node.clock import SystemClock
from theblock_node.config import BadConfig, ComputeSettings, Config
from theblock_node.roles.follower import Follower, open_follower
from theblock_node.roles.member import Member, watch_file
from theblock_node.rpc.compute import ComputeServicer
from theblock_node.rpc.node import Drained, Facts
from theblock_node.services.compute.courier import Courier, open_courier
from theblock_node.services.compute.objects import ObjectFolder, StorageSource
from theblock_node.services.compute.runner import Runner
from theblock_node.services.compute.service import ComputeService
from theblock_node.services.compute.workloads import gpu_hash, snark
from theblock_node.services.compute.workloads.snark import SnarkWorker
from theblock_node.services.storage.neighbours import parse_neighbours

CIRCUIT_BYTES_MAX = 3 * 2**29
"""Of the member's disk for files of circuits."""
WORKLOADS = (gpu_hash.NAME, snark.NAME)
COURIER_ENTRIES_MAX = 1024
"""More slices than that are left with the chain until there is room."""

log = structlog.get_logger("compute_provider")


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run a compute provider until ``stop``."""
    settings = config.settings
    assert isinstance(settings, ComputeSettings)
    check_settings(settings)
    courier = open_courier(config.paths.data / "courier.sqlite", entries_max=COURIER_ENTRIES_MAX)
    prover = ProverClient(settings.prover.socket)
    source = StorageSource(ClientTls(config.paths.ca, config.paths.tls / "tls.crt", config.paths.tls / "tls.key"))
    try:
        async with open_follower(config) as follower:
            service = _open_service(config, settings, follower, courier, prover, source)
            log.info("compute provider starts", member=config.member, account=follower.wallet.address)
            await _serve(config, follower, service, source, stop)
    finally:
        await source.close()
        await prover.close()
        courier.close()


def check_settings(settings: ComputeSettings) -> None:
    """Refuse workloads that nothing here goes by, before anything is offered under their names."""
    for workload in settings.workloads:
        if workload not in WORKLOADS:
            raise BadConfig(f"{workload!r} is none of {', '.join(WORKLOADS)} - at `$.settings.workloads`")


def _open_service(
    config: Config,
    settings: ComputeSettings,
    follower: Follower,
    courier: Courier,
    prover: ProverClient,
    source: StorageSource,
) -> ComputeService:
    clock = SystemClock()
    objects = ObjectFolder(config.paths.data / "circuits", source, bytes_max=CIRCUIT_BYTES_MAX)
    proofs = SnarkWorker(prover=prover, chain=follower.client, objects=objects, wallet=follower.wallet, clock=clock)
    self_check, workloads = settings.prover.self_check, settings.workloads
    return ComputeService(
        provider_id=config.member,
        chain=follower.client,
        wallet=follower.wallet,
        courier=courier,
        runner=Runner(prover, clock, self_check=self_check, proofs=proofs, workloads=workloads),
        clock=clock,
        chance=Random(follower.wallet.public_key),
    )


async def _serve(
    config: Config, follower: Follower, service: ComputeService, source: StorageSource, stop: asyncio.Event
) -> None:
    async def handle(committed: Committed) -> None:
        service.take(committed)

    async def drain(is_on: bool) -> None:
        service.drain(on=is_on)

    async def handover() -> None:
        # What is queued, computed and signed is on disk; the pod's next run goes on with it.
        service.drain(on=True)

    def know(peers: bytes) -> None:
        source.set_endpoints([neighbour.endpoint for neighbour in parse_neighbours(peers)])

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_file(config.paths.peers, know))
            tasks.create_task(service.run())

    def facts() -> Facts:
        left = service.left
        drained = Drained(service.is_draining, service.is_draining and not left, left)
        return follower.facts(ready=True, reason="", drained=drained, details=service.details())

    member = Member(config, services=[ComputeServicer(service).service()], facts=facts, drain=drain, handover=handover)
    await member.run(follower.beside(work, handle), stop)
