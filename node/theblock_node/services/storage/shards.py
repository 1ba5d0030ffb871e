"""Shards wherever they are: here on disk, or at a neighbour.

What comes from elsewhere is checked against its id, so a provider that answers wrongly is one that does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.storage import Seal
from theblock_node.core.errors import InvalidRecord, ProtocolError
from theblock_node.core.proofs import retrieval
from theblock_node.services.storage import pipeline
from theblock_node.services.storage.holder import Holder
from theblock_node.services.storage.manifest import ChunkRow
from theblock_node.services.storage.neighbours import Neighbours
from theblock_node.store.engine import StoreError

HEDGE_S = 2.0
"""After so long without an answer one more holder is asked."""
SHARD_S = 20.0
"""How long one holder may take over one shard."""
FAILURES = (UnavailableError, RefusedError, ProtocolError, StoreError, TimeoutError)
"""Ways in which one holder fails us; another is tried."""

log = structlog.get_logger("storage")


class Shards:
    def __init__(self, holder: Holder, neighbours: Neighbours) -> None:
        self.holder = holder
        self.neighbours = neighbours

    async def get(self, name: str, shard_id: bytes, slot: int) -> bytes:
        """One shard from one holder."""
        if name == self.holder.provider_id:
            return await self.holder.get_shard(shard_id)
        data = await self.neighbours.ask(name, lambda client: client.get_shard(shard_id), within_s=SHARD_S)
        if await asyncio.to_thread(retrieval.shard_id, slot, data) != shard_id:
            raise InvalidRecord("storage.shard_mismatch", provider_id=name, slot=slot)
        return data

    async def put(self, name: str, upload_id: bytes, chunk: int, slot: int, shard_id: bytes, data: bytes) -> None:
        if name == self.holder.provider_id:
            await self.holder.put_shard(upload_id, chunk, slot, shard_id, data)
        else:
            await self.neighbours.ask(name, lambda client: client.put_shard(upload_id, chunk, slot, shard_id, data))

    async def seal(self, name: str, upload_id: bytes, manifest: bytes, slots: Sequence[int]) -> Seal:
        if name == self.holder.provider_id:
            return await self.holder.seal(upload_id, manifest, slots)
        return await self.neighbours.ask(name, lambda client: client.seal_replica(upload_id, manifest, slots))

    async def drop(self, name: str, upload_id: bytes, shard_id: bytes) -> None:
        if name == self.holder.provider_id:
            await asyncio.to_thread(self.holder.files.drop, upload_id, shard_id)
        else:
            await self.neighbours.ask(name, lambda client: client.drop_shard(upload_id, shard_id))

    async def gather(self, row: ChunkRow, holders: Mapping[int, str], count: int) -> dict[int, bytes]:
        """Any ``count`` shards of a chunk, the nearest first; refuses where there are not so many."""
        waiting = self._rank(holders)
        running: dict[asyncio.Task[bytes], int] = {}
        found: dict[int, bytes] = {}
        try:
            while len(found) < count:
                while waiting and len(running) < count - len(found):
                    self._begin(row, holders, waiting.pop(0), running)
                if not running:
                    raise InvalidRecord("storage.unrecoverable", shards=len(found), needed=count)
                done, _ = await asyncio.wait(running, timeout=HEDGE_S, return_when=asyncio.FIRST_COMPLETED)
                if not done and waiting:
                    self._begin(row, holders, waiting.pop(0), running)
                for task in done:
                    slot = running.pop(task)
                    try:
                        found[slot] = task.result()
                    except FAILURES as failed:
                        log.info("shard not got", provider=holders[slot], slot=slot, reason=str(failed))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return found

    async def rebuild(
        self, row: ChunkRow, holders: Mapping[int, str], wanted: Sequence[int], *, data: int, parity: int
    ) -> dict[int, bytes]:
        """The ``wanted`` shards of a chunk from those of others; they are what the manifest says, or it refuses."""
        others = {slot: name for slot, name in holders.items() if slot not in wanted}
        present = await self.gather(row, others, data)
        made = await asyncio.to_thread(pipeline.rebuild_shards, present, wanted, data=data, parity=parity)
        for slot, shard in made.items():
            if retrieval.shard_id(slot, shard) != row.shard_ids[slot]:
                raise InvalidRecord("storage.integrity", slot=slot, reason="a rebuilt shard has another id")
        return made

    def _rank(self, holders: Mapping[int, str]) -> list[int]:
        """Own shards first, silent neighbours last, data before parity, which needs no decoding."""
        me = self.holder.provider_id
        return sorted(
            holders, key=lambda slot: (holders[slot] != me and 1 + self.neighbours.is_silent(holders[slot]), slot)
        )

    def _begin(
        self, row: ChunkRow, holders: Mapping[int, str], slot: int, running: dict[asyncio.Task[bytes], int]
    ) -> None:
        running[asyncio.create_task(self.get(holders[slot], row.shard_ids[slot], slot))] = slot
