"""A bridge's relayer: shows the chain the headers of another one."""

from __future__ import annotations

import asyncio

import structlog

from theblock_node.client.chain import Committed
from theblock_node.clock import SystemClock
from theblock_node.config import BridgeSettings, Config
from theblock_node.roles.follower import Follower, open_follower
from theblock_node.roles.member import Member, watch_file
from theblock_node.rpc.node import Drained, Facts
from theblock_node.services.bridge.headers import open_source
from theblock_node.services.bridge.service import BridgeService
from theblock_node.services.energy.keys import parse_key

log = structlog.get_logger("bridge")


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run a relayer until ``stop``."""
    settings = config.settings
    assert isinstance(settings, BridgeSettings)
    source = open_source(settings.source)
    async with open_follower(config) as follower:
        service = BridgeService(
            settings=settings,
            ordinal=config.ordinal,
            chain=follower.client,
            wallet=follower.wallet,
            source=source,
            clock=SystemClock(),
        )
        log.info("relayer starts", member=config.member, account=follower.wallet.address)
        await _serve(config, follower, service, stop)


async def _serve(config: Config, follower: Follower, service: BridgeService, stop: asyncio.Event) -> None:
    key_state = "absent"

    def take_key(data: bytes) -> None:
        """Look at the signing key; nothing is signed with it before there are signer sets."""
        nonlocal key_state
        try:
            parse_key(data)
            key_state = "active"
        except ValueError:
            key_state = "invalid"
            raise

    async def handle(committed: Committed) -> None:
        service.take(committed)

    async def drain(is_on: bool) -> None:
        service.is_draining = is_on

    async def handover() -> None:
        service.is_draining = True

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            if config.paths.signing is not None:
                tasks.create_task(watch_file(config.paths.signing, take_key))
            tasks.create_task(service.run())

    def facts() -> Facts:
        left = service.pending
        drained = Drained(service.is_draining, service.is_draining and not left, left)
        details = {**service.details(), "key_state": key_state}
        return follower.facts(ready=True, reason="", drained=drained, details=details)

    member = Member(config, services=[], facts=facts, drain=drain, handover=handover)
    await member.run(follower.beside(work, handle), stop)
