"""An energy oracle: reads meters, signs what they say, submits it, and lets meters push."""

from __future__ import annotations

import asyncio

import structlog

from theblock_node.client.chain import Committed
from theblock_node.clock import SystemClock
from theblock_node.config import BadConfig, Config, EnergySettings
from theblock_node.roles.follower import Follower, open_follower
from theblock_node.roles.member import Member, watch_file
from theblock_node.rpc.node import Drained, Facts
from theblock_node.rpc.oracle import OracleServicer
from theblock_node.services.energy.keys import KeyRing, parse_key
from theblock_node.services.energy.meters import open_meter
from theblock_node.services.energy.service import EnergyService
from theblock_node.services.energy.spool import open_spool

log = structlog.get_logger("energy_oracle")


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run an oracle until ``stop``."""
    settings = config.settings
    assert isinstance(settings, EnergySettings)
    clock = SystemClock()
    ring = _load_ring(config)
    spool = open_spool(config.paths.data / "spool.sqlite", entries_max=settings.spool_entries)
    try:
        async with open_follower(config) as follower:
            service = EnergyService(
                settings=settings,
                oracle_id=config.member,
                chain_id=follower.chain_id,
                chain=follower.client,
                wallet=follower.wallet,
                ring=ring,
                spool=spool,
                meters={
                    meter.name: open_meter(meter, clock, origin_seconds=follower.origin_seconds)
                    for meter in settings.meters
                },
                clock=clock,
            )
            log.info("oracle starts", member=config.member, account=follower.wallet.address)
            await _serve(config, follower, service, stop)
    finally:
        spool.close()


async def _serve(config: Config, follower: Follower, service: EnergyService, stop: asyncio.Event) -> None:
    async def handle(committed: Committed) -> None:
        service.take(committed)

    async def drain(is_on: bool) -> None:
        service.is_draining = is_on

    async def handover() -> None:
        # What is in the spool is on disk; the pod's next run goes on with it.
        service.is_draining = True

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            assert config.paths.signing is not None
            tasks.create_task(watch_file(config.paths.signing, service.reload_key))
            tasks.create_task(service.run())

    def facts() -> Facts:
        left = service.spool_depth
        drained = Drained(service.is_draining, service.is_draining and not left, left)
        return follower.facts(ready=True, reason="", drained=drained, details=service.details())

    member = Member(config, services=[OracleServicer(service).service()], facts=facts, drain=drain, handover=handover)
    await member.run(follower.beside(work, handle), stop)


def _load_ring(config: Config) -> KeyRing:
    if config.paths.signing is None:
        raise BadConfig("paths.signing is missing: an oracle signs readings")
    try:
        return KeyRing(parse_key(config.paths.signing.read_bytes()))
    except (OSError, ValueError) as failed:
        raise BadConfig(f"{config.paths.signing}: {failed}") from failed
