"""A storage provider: keeps shards of others, answers challenges, and puts and gets objects for clients."""

from __future__ import annotations

import asyncio

import structlog

from theblock_node.client.chain import Committed
from theblock_node.client.channel import ClientTls
from theblock_node.clock import SystemClock
from theblock_node.config import BadConfig, Config, StorageSettings
from theblock_node.roles.follower import Follower, open_follower
from theblock_node.roles.member import Member, watch_file
from theblock_node.rpc.node import Drained, Facts
from theblock_node.rpc.storage import StorageServicer
from theblock_node.services.storage import pipeline, placement
from theblock_node.services.storage.files import open_files
from theblock_node.services.storage.neighbours import Neighbours, parse_neighbours
from theblock_node.services.storage.service import StorageService

PLACEMENTS = ("Network", "Resource")
POLICIES = (placement.DEFAULT, placement.RELAXED)

log = structlog.get_logger("storage_provider")


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run a storage provider until ``stop``."""
    settings = config.settings
    assert isinstance(settings, StorageSettings)
    check_settings(settings)
    clock = SystemClock()
    tls = ClientTls(config.paths.ca, config.paths.tls / "tls.crt", config.paths.tls / "tls.key")
    neighbours = Neighbours(tls, clock)
    files = await asyncio.to_thread(open_files, config.paths.data, capacity_bytes=settings.capacity_bytes)
    try:
        async with open_follower(config) as follower:
            service = StorageService(
                settings=settings,
                provider_id=config.member,
                resource=config.resource,
                chain_id=follower.chain_id,
                chain=follower.client,
                wallet=follower.wallet,
                files=files,
                neighbours=neighbours,
                folder=config.paths.data / "uploads",
                clock=clock,
            )
            log.info("provider starts", member=config.member, account=follower.wallet.address, shards=files.count)
            await _serve(config, follower, service, neighbours, stop)
    finally:
        await neighbours.close()
        files.close()


async def _serve(
    config: Config, follower: Follower, service: StorageService, neighbours: Neighbours, stop: asyncio.Event
) -> None:
    async def handle(committed: Committed) -> None:
        service.take(committed)

    async def drain(is_on: bool) -> None:
        service.drain(is_on)

    async def handover() -> None:
        # What is kept is on disk; the pod's next run goes on with it.
        service.stop_taking()

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_file(config.paths.peers, lambda data: neighbours.set(parse_neighbours(data))))
            tasks.create_task(service.run())

    def facts() -> Facts:
        left = service.slots_left
        drained = Drained(service.is_draining, service.is_draining and left == 0, left or 0)
        has_room = service.has_room
        return follower.facts(
            ready=has_room, reason="" if has_room else "DiskFull", drained=drained, details=service.details()
        )

    servicer = StorageServicer(service, config.network)
    member = Member(config, services=[servicer.service()], facts=facts, drain=drain, handover=handover)
    await member.run(follower.beside(work, handle), stop)


def check_settings(settings: StorageSettings) -> None:
    """Refuse names that nothing here goes by, before anything is stored under them."""
    for field, value, known in (
        ("placement", settings.placement, PLACEMENTS),
        ("policy", settings.policy, POLICIES),
        ("compression", settings.compression, pipeline.COMPRESSIONS),
        ("encryption", settings.encryption, pipeline.ENCRYPTIONS),
    ):
        if value not in known:
            raise BadConfig(f"{value!r} is none of {', '.join(known)} - at `$.settings.{field}`")
