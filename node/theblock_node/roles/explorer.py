"""The explorer: follows the chain's head, keeps what people look for in SQL, shows it over HTTP.

It is ready while its database answers and it serves; it has no account and signs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import structlog
import uvicorn

from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.errors import RefusedError
from theblock_node.config import BadConfig, Config, ExplorerSettings
from theblock_node.roles.assembly import GenesisMismatch, read_genesis
from theblock_node.roles.follower import HISTORY_PRUNED
from theblock_node.roles.member import IN_SYNC_AGE_MS, Member, open_chain_client, parse_endpoints, watch_file
from theblock_node.rpc.node import Drained, Facts
from theblock_node.services.explorer.api import make_app
from theblock_node.services.explorer.database import BadConnectionString, Database, open_database
from theblock_node.services.explorer.project import CommittedBlock, TxRow
from theblock_node.services.explorer.proofs import Keeper
from theblock_node.services.explorer.service import Follower, Reverted

CONNECTIONS_MAX = 512
KEEP_ALIVE_SECONDS = 15
STOP_SECONDS = 3
HEAD_BYTES_MAX = 16_384
REPLIES_MAX = 256
REPLY_SECONDS = 2.0
"""How long an answer of the chain is shown again to others who ask the same."""

log = structlog.get_logger("explorer")


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run an explorer until ``stop``."""
    settings = config.settings
    assert isinstance(settings, ExplorerSettings)
    genesis_hash = _read_genesis_hash(config)
    database = _open_database(config, settings)
    client = open_chain_client(config)
    source = ChainSource(client, genesis_hash)
    follower = Follower(source, database)
    is_draining = False
    http = _make_server(config, make_app(database, follower, RecentReplies(client), config.network))
    keeper = Keeper(FinalReplies(client), database, follower)

    async def follow() -> None:
        await follower.run()

    async def serve() -> None:
        try:
            await http.serve()
        finally:
            http.should_exit = True

    async def work() -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch_file(config.paths.peers, take_peers))
                tasks.create_task(follow())
                tasks.create_task(keeper.run())
                tasks.create_task(serve())
        except* GenesisMismatch as failed:
            raise failed.exceptions[0] from None

    async def drain(is_on: bool) -> None:
        nonlocal is_draining
        is_draining = is_on  # Nothing here is anybody's duty, so it is done at once.

    async def handover() -> None:
        http.should_exit = True

    def take_peers(data: bytes) -> None:
        client.channels.set_endpoints(parse_endpoints(data))

    def facts() -> Facts:
        is_ready = follower.is_serving and http.started and not http.should_exit
        return Facts(
            genesis_hash=genesis_hash,
            height=follower.height,
            finalized_height=follower.position.final,
            in_sync=time.time() * 1000 - follower.last_ms < IN_SYNC_AGE_MS,
            ready=is_ready,
            reason="" if is_ready else "Starting" if follower.is_serving else "DatabaseUnreachable",
            drained=Drained(is_draining, is_draining),
            details={
                "database": "reachable" if follower.is_serving else "unreachable",
                "is_writer": follower.is_writer,
                "news": follower.told,
            },
        )

    log.info("explorer starts", member=config.member, database=type(database).__name__)
    member = Member(config, services=[], facts=facts, drain=drain, handover=handover)
    try:
        await member.run(work, stop)
    finally:
        await client.close()
        await database.close()


class ChainSource:
    """The chain as the explorer follows it."""

    def __init__(self, client: ChainClient, genesis_hash: str) -> None:
        self._client = client
        self._genesis_hash = genesis_hash

    async def genesis(self) -> str:
        tip = await self._client.tip()
        if tip.genesis_hash != self._genesis_hash:
            raise GenesisMismatch(f"the chain began with {tip.genesis_hash}, ours is {self._genesis_hash}")
        return tip.genesis_hash

    async def follow(self, after: int) -> AsyncIterator[CommittedBlock | Reverted]:
        try:
            async for news in self._client.events_until_cut(after, final=False):
                yield _translate(news) if isinstance(news, Committed) else Reverted(news.height)
        except RefusedError as refused:
            if refused.code != HISTORY_PRUNED:
                raise ConnectionError(refused.code) from refused
            # Nobody keeps the blocks in between; what is known of them stays as it is, and it goes on above them.
            base = int(refused.facts["base_height"])
            log.warning("blocks were missed", after=after, until=base)
            async for news in self._client.events_until_cut(base, final=False):
                yield _translate(news) if isinstance(news, Committed) else Reverted(news.height)


class RecentReplies:
    """Queries of the chain, answered from memory for a moment, so that many readers cost the validators little."""

    def __init__(self, client: ChainClient) -> None:
        self._client = client
        self._replies: OrderedDict[bytes, tuple[float, dict[str, Any]]] = OrderedDict()

    async def query(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        key = name.encode() + orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
        kept = self._replies.get(key)
        if kept is not None and time.monotonic() - kept[0] < REPLY_SECONDS:
            return kept[1]
        reply = await self._client.query(name, request)
        self._replies[key] = (time.monotonic(), reply)
        self._replies.move_to_end(key)
        if len(self._replies) > REPLIES_MAX:
            self._replies.popitem(last=False)
        return reply


class FinalReplies:
    """Queries of the chain as it is final."""

    def __init__(self, client: ChainClient) -> None:
        self._client = client

    async def query(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._client.query(name, request, final=True)
        except RefusedError as refused:
            # A validator that does not know the query yet, as in a rolling update.
            raise ConnectionError(refused.code) from refused


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _make_server(config: Config, app: Any) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app,
            host=config.listen.host,
            port=config.listen.http,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            ws="none",
        )
    )


def _translate(news: Committed) -> CommittedBlock:
    return CommittedBlock(
        news.height,
        news.block_id,
        news.timestamp_ms,
        tuple(
            TxRow(
                tx.tx_id, tx.index, tx.call, tx.sender, tx.error_code,
                tuple((event.name, event.json) for event in tx.events),
            )
            for tx in news.txs
        ),
        tuple((event.name, event.json) for event in news.events),
    )  # fmt: skip


def _read_genesis_hash(config: Config) -> str:
    try:
        pinned = None if config.chain.genesis_hash is None else bytes.fromhex(config.chain.genesis_hash)
        return read_genesis(config.chain.genesis.read_bytes(), pinned=pinned).step_hash.hex()
    except (OSError, ValueError) as failed:
        raise BadConfig(f"chain: {failed}") from failed


def _open_database(config: Config, settings: ExplorerSettings) -> Database:
    file = settings.database.dsn_file
    try:
        return open_database(config.paths.data, None if file is None else file.read_text().strip())
    except (OSError, BadConnectionString) as failed:
        raise BadConfig(f"settings.database: {failed}") from failed
