"""What every role does around its own work: serve gRPC, health and metrics, follow the chain, stop well.

    member = Member(config, services=[...], facts=..., drain=..., handover=...)
    await member.run(work, stop)

`facts` is asked every two seconds; its `ready` is the readiness probe. On SIGTERM (`stop` set): not ready, hand
over, let calls finish, cancel the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.config import Config
from theblock_node.roles.measures import describe_member
from theblock_node.rpc.node import Facts, NodeServicer
from theblock_node.rpc.server import RpcServer, Service, TlsFiles
from theblock_node.telemetry.exporter import serve_metrics
from theblock_node.telemetry.registry import Metrics

FACTS_PERIOD_S = 2.0
PEERS_PERIOD_S = 5.0
IN_SYNC_AGE_MS = 30_000
"""A follower whose last final block is older than this is behind, or the chain stands still."""
CONTROL_SOCKET = "control.sock"

log = structlog.get_logger("member")


class Member:
    def __init__(
        self,
        config: Config,
        *,
        services: Sequence[Service],
        facts: Callable[[], Facts],
        drain: Callable[[bool], Awaitable[None]],
        handover: Callable[[], Awaitable[None]],
    ) -> None:
        self._config = config
        self._facts = facts
        self._handover = handover
        self.metrics = Metrics()
        self.metrics.on_scrape(lambda: self.metrics.show_member(describe_member(config, facts())))
        tls = TlsFiles(config.paths.tls, config.paths.ca)
        node = NodeServicer(
            role=config.role, member=config.member, facts=facts, drain=drain, handover=handover, tls=tls
        )
        self.server = RpcServer(
            network=config.network,
            host=config.listen.host,
            port=config.listen.grpc,
            health_port=config.listen.health,
            tls=tls,
            services=[node.service(), *services],
            observe=self.metrics.count_call,
        )

    async def run(self, work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """Serve and work until ``stop``; an error in the work ends it all and is raised."""
        await self.server.start()
        await self.server.health.tell("startup", True)
        await self.server.health.tell("liveness", True)
        try:
            async with (
                _control_socket(self._config.paths.run, self._handover),
                serve_metrics(self._config.listen.host, self._config.listen.metrics, self.metrics.render),
            ):
                working = asyncio.ensure_future(work())
                telling = asyncio.create_task(self._tell_readiness())
                stopping = asyncio.create_task(stop.wait())
                done, _ = await asyncio.wait({working, telling, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stopping in done:
                    log.info("stopping", member=self._config.member)
                    await self._handover()
                for task in (telling, stopping):
                    task.cancel()
                await self.server.health.tell("readiness", False)
                if working not in done:
                    await self.server.stop()
                    working.cancel()
                await asyncio.gather(telling, stopping, return_exceptions=True)
                with contextlib.suppress(asyncio.CancelledError):
                    await working
        finally:
            await self.server.stop()

    async def _tell_readiness(self) -> None:
        while True:
            is_ready = self._facts().ready
            await self.server.health.tell("readiness", is_ready)
            await self.server.health.tell("", is_ready)
            await asyncio.sleep(FACTS_PERIOD_S)


@contextlib.asynccontextmanager
async def _control_socket(folder: Path, handover: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """A socket in the pod by which its own preStop hook asks for the hand-over; who may open it owns the pod."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (await reader.readline()).strip() == b"handover":
                await handover()
                writer.write(b"done\n")
                await writer.drain()
        finally:
            writer.close()

    path = _free_socket(folder)
    server = await asyncio.start_unix_server(answer, path)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _free_socket(folder: Path) -> Path:
    """Where the socket will stand; one that a killed process left is taken away."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONTROL_SOCKET
    path.unlink(missing_ok=True)
    return path


async def ask_handover(config: Config, *, timeout_s: float = 50.0) -> bool:
    """What preStop runs: ask the process in this pod to hand over; whether it did."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(config.paths.run / CONTROL_SOCKET)
            writer.write(b"handover\n")
            answer = await reader.readline()
            writer.close()
            return answer == b"done\n"
    except (OSError, TimeoutError) as failed:
        log.warning("no hand-over", reason=str(failed))
        return False


async def watch_file(path: Path, changed: Callable[[bytes], None], *, period_s: float = PEERS_PERIOD_S) -> None:
    """Hand over the file's content now and whenever it differs; a file that is away or bad changes nothing."""
    seen: bytes | None = None
    while True:
        try:
            data = await asyncio.to_thread(path.read_bytes)
            if data != seen:
                changed(data)
                seen = data
        except (OSError, ValueError, KeyError, TypeError) as failed:
            log.warning("file not taken", path=str(path), reason=str(failed))
        await asyncio.sleep(period_s)


def parse_endpoints(data: bytes) -> list[Endpoint]:
    """The validators of ``peers.json`` as gRPC endpoints."""
    peers = json.loads(data)["peers"]
    return [Endpoint(str(peer["host"]), int(peer["grpc"])) for peer in peers if peer["role"] == "validator"]


def open_chain_client(config: Config) -> ChainClient:
    """A client of the validators that ``peers.json`` names now, with the member's certificate."""
    tls = ClientTls(config.paths.ca, config.paths.tls / "tls.crt", config.paths.tls / "tls.key")
    return ChainClient(parse_endpoints(config.paths.peers.read_bytes()), tls)


class Cursor:
    """The height up to which a reader has acted, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.height = self._read()

    def save(self, height: int) -> None:
        """Keep the height; it is on disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temp = self._path.with_suffix(".new")
        with temp.open("w") as file:
            file.write(str(height))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, self._path)
        self.height = height

    def _read(self) -> int:
        try:
            return int(self._path.read_text())
        except FileNotFoundError:
            return 0


class ChainFollower:
    """Final blocks, one after the other, each acted on before the cursor passes it.

    A block may be handed over again after a crash: what ``handle`` does must bear that.
    """

    def __init__(
        self,
        client: ChainClient,
        cursor: Cursor,
        handle: Callable[[Committed], Awaitable[None]],
        *,
        keep_every: int = 1,
    ) -> None:
        """``keep_every``: save the cursor only every so many blocks that told nothing."""
        self._client = client
        self._cursor = cursor
        self._handle = handle
        self._keep_every = keep_every
        self._last_ms = 0
        self.height = cursor.height

    @property
    def in_sync(self) -> bool:
        return time.time() * 1000 - self._last_ms < IN_SYNC_AGE_MS

    async def run(self) -> None:
        async for news in self._client.events(self._cursor.height, final=True):
            if not isinstance(news, Committed):
                continue  # Final blocks are never reverted.
            await self._handle(news)
            self.height, self._last_ms = news.height, news.timestamp_ms
            if news.txs or news.height - self._cursor.height >= self._keep_every:
                self._cursor.save(news.height)
