"""Follow the chain's head and keep the database in step with it.

A stream is begun at the last block that is known to be final, and what comes is compared with what is stored: so
a branch that changed while nobody listened, or another validator that sees another one, is noticed.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from theblock_node.services.explorer.database import UNREACHABLE, Database, Position, Row
from theblock_node.services.explorer.project import (
    BLOCK_COLUMNS,
    CommittedBlock,
    find_final,
    project_block,
    undo_above,
)

BACK_OFF_S = (0.2, 0.5, 1, 2, 5)
STANDBY_S = 1.0
"""How often a replica that does not write looks for news."""
NEWS_MAX = 64
"""News kept for live streams; who is further behind misses some, and sees so by the heights."""

log = structlog.get_logger("explorer")


@dataclass(frozen=True, slots=True)
class Reverted:
    """Blocks above ``height`` no longer stand."""

    height: int


class Source(Protocol):
    """What the explorer needs of the chain. Both raise `ConnectionError` while it does not answer."""

    def follow(self, after: int) -> AsyncIterator[CommittedBlock | Reverted]:
        """Blocks of the head above ``after``, and reverts, in order, from one node, until it is cut."""
        ...

    async def genesis(self) -> str: ...


class Follower:
    """Copies the head into the database; tells whoever waits that something new is there."""

    def __init__(self, source: Source, database: Database) -> None:
        self._source = source
        self._database = database
        self._changed = asyncio.Event()
        self._news: deque[tuple[int, str]] = deque(maxlen=NEWS_MAX)
        self._told = 0
        self.position = Position()
        self.last_ms = 0
        """Time of the last block that came."""
        self.is_serving = False
        """Whether the database answered last."""
        self.is_writer = False

    @property
    def height(self) -> int:
        return self.position.height

    @property
    def told(self) -> int:
        """The number of the last news."""
        return self._told

    async def run(self) -> None:
        """Follow until cancelled; a failing chain or database is tried again with growing waits."""
        failures = 0
        while True:
            before = self._told
            try:
                self.is_writer = await self._database.hold()
                if self.is_writer:
                    await self._copy()
                else:
                    await self._look()
                    await asyncio.sleep(STANDBY_S)
                    continue
            except UNREACHABLE as failed:
                self.is_serving = self.is_writer = False
                log.warning("database does not answer", reason=type(failed).__name__)
            except ConnectionError as failed:
                log.warning("chain does not answer", reason=str(failed))
            failures = 0 if self._told > before else failures + 1
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])

    async def wait_news(self, after: int, timeout_s: float) -> list[tuple[int, str]]:
        """(number, JSON) of the news above number ``after``; empty if none came within ``timeout_s``."""
        if self._told <= after:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return []
        return [news for news in self._news if news[0] > after]

    def tell_proofs(self, count: int) -> None:
        """Tell live streams that so many slices of compute jobs were added."""
        self._tell({"kind": "proofs", "count": count})

    async def _copy(self) -> None:
        """Write what one stream brings until it is cut."""
        position = await self._database.position()
        self.is_serving = True
        genesis = await self._source.genesis()
        position = await self._database.prepare(genesis)
        await self._adopt(position)
        async for news in self._source.follow(min(position.height, position.final)):
            if isinstance(news, Reverted):
                await self._undo(news.height)
            else:
                await self._store(news)

    async def _store(self, block: CommittedBlock) -> None:
        undo = []
        if block.height <= self.height:
            known = await self._database.read("SELECT id FROM block WHERE height = ?", (block.height,))
            if known and known[0][0] == block.id:
                return
            undo = undo_above(block.height - 1)
            log.info("branch switched", height=block.height, before=self.height)
            self._tell({"kind": "reverted", "height": block.height - 1})
        position = Position(block.height, max(self.position.final, find_final(block)))
        await self._database.write([*undo, *project_block(block)], position)
        self._moved(position, _describe(block))

    async def _undo(self, height: int) -> None:
        if height >= self.height:
            return
        position = Position(height, min(self.position.final, height))
        await self._database.write(undo_above(height), position)
        self.position = position
        self._tell({"kind": "reverted", "height": height})

    async def _look(self) -> None:
        """Take over what the replica that writes has stored."""
        position = await self._database.position()
        self.is_serving = True
        if position.height < self.height:
            self.position = position
            self._tell({"kind": "reverted", "height": position.height})
        elif position != self.position:
            await self._adopt(position)

    async def _adopt(self, position: Position) -> None:
        rows = await self._database.read(
            f"SELECT {BLOCK_COLUMNS} FROM block WHERE height > ? ORDER BY height DESC LIMIT 20", (self.height,)
        )
        self.position = position
        for row in reversed(rows):
            self._moved(position, describe_row(row))

    def _moved(self, position: Position, block: dict[str, Any]) -> None:
        self.position, self.last_ms = position, block["timestamp_ms"]
        self._tell({"kind": "block", "final": position.final, **block})

    def _tell(self, news: dict[str, Any]) -> None:
        self._told += 1
        self._news.append((self._told, json.dumps(news)))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def describe_row(row: Row) -> dict[str, Any]:
    """A row of ``block`` by the names of its columns."""
    return dict(zip(BLOCK_COLUMNS.split(", "), row, strict=True))


def _describe(block: CommittedBlock) -> dict[str, Any]:
    events = len(block.block_events) + sum(len(tx.events) for tx in block.txs)
    return {
        "height": block.height,
        "id": block.id,
        "timestamp_ms": block.timestamp_ms,
        "tx_count": len(block.txs),
        "event_count": events,
    }
