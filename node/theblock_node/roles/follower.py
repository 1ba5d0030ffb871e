"""What members beside the validators share: a client of the chain, the member's own account, the final blocks.

    async with open_follower(config) as follower:
        await member.run(follower.beside(service.run, handle), stop)

A member that finds the chain to be another than its genesis document says ends at once, and for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.errors import RefusedError
from theblock_node.client.wallet import Wallet
from theblock_node.config import BadConfig, Config
from theblock_node.core.domains import supply
from theblock_node.keys import load_seed
from theblock_node.roles.assembly import Genesis, GenesisMismatch, read_genesis
from theblock_node.roles.member import ChainFollower, Cursor, open_chain_client, parse_endpoints, watch_file
from theblock_node.rpc.node import Drained, Facts

HISTORY_PRUNED = "chain.history_pruned"
CURSOR_EVERY_BLOCKS = 50
"""The cursor of a quiet chain is saved only so often."""

log = structlog.get_logger("follower")
Handle = Callable[[Committed], Awaitable[None]]


class Follower:
    """The chain as a member knows it, and the account with which it acts there."""

    def __init__(self, config: Config, genesis: Genesis, client: ChainClient) -> None:
        self._config = config
        self._genesis = genesis
        self._cursor = Cursor(config.paths.data / "cursor")
        self._blocks: ChainFollower | None = None
        self.client = client
        self.wallet = Wallet(load_seed(config.paths.key))
        self.chain_id = genesis.chain.chain_id
        self.origin_seconds = supply.get_origin_ms(genesis.state) // 1000

    def beside(self, work: Callable[[], Awaitable[None]], handle: Handle) -> Callable[[], Awaitable[None]]:
        """``work`` together with following the chain and its validators' addresses.

        ``handle`` is awaited for each final block, at least once. A new member begins with what is final now.
        """

        async def run() -> None:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(watch_file(self._config.paths.peers, self._take_peers))
                    tasks.create_task(self._follow(handle))
                    tasks.create_task(_as_coroutine(work))
            except BaseExceptionGroup as failed:
                raise _find_mismatch(failed) or failed from None

        return run

    def facts(self, *, ready: bool, reason: str, drained: Drained, details: dict[str, Any]) -> Facts:
        """What the member says of itself; it is never ready while it does not see the chain."""
        in_sync = self._blocks is not None and self._blocks.in_sync
        height = self._blocks.height if self._blocks else self._cursor.height
        return Facts(
            genesis_hash=self._genesis.step_hash.hex(),
            height=height,
            finalized_height=height,
            in_sync=in_sync,
            ready=in_sync and ready,
            reason=reason if in_sync else "NotInSync",
            drained=drained,
            details=details,
        )

    async def _follow(self, handle: Handle) -> None:
        while True:
            try:
                tip = await self.client.tip()
                break
            except ConnectionError:
                await asyncio.sleep(1)
        if tip.genesis_hash != self._genesis.step_hash.hex():
            raise GenesisMismatch(f"the chain began with {tip.genesis_hash}, ours is {self._genesis.step_hash.hex()}")
        if self._cursor.height == 0:
            self._cursor.save(tip.finalized_height)
        while True:
            self._blocks = ChainFollower(self.client, self._cursor, handle, keep_every=CURSOR_EVERY_BLOCKS)
            try:
                await self._blocks.run()
            except RefusedError as refused:
                if refused.code != HISTORY_PRUNED:
                    raise
                # It was away for so long that nobody keeps what happened since; it goes on from now.
                now = (await self.client.tip()).finalized_height
                log.warning("final blocks were missed", after=self._cursor.height, until=now)
                self._cursor.save(now)

    def _take_peers(self, data: bytes) -> None:
        self.client.channels.set_endpoints(parse_endpoints(data))


@asynccontextmanager
async def open_follower(config: Config) -> AsyncIterator[Follower]:
    """A follower of the chain that ``config`` names."""
    try:
        document = config.chain.genesis.read_bytes()
        pinned = None if config.chain.genesis_hash is None else bytes.fromhex(config.chain.genesis_hash)
    except (OSError, ValueError) as failed:
        raise BadConfig(f"chain: {failed}") from failed
    client = open_chain_client(config)
    try:
        yield Follower(config, read_genesis(document, pinned=pinned), client)
    finally:
        await client.close()


async def _as_coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _find_mismatch(failed: BaseException) -> GenesisMismatch | None:
    """The reason for which a restart would not help, wherever it stands in a group."""
    if isinstance(failed, BaseExceptionGroup):
        return next(filter(None, map(_find_mismatch, failed.exceptions)), None)
    return failed if isinstance(failed, GenesisMismatch) else None
