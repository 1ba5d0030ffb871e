"""A storage provider at work: it takes and gives objects and shards, and does its duties on each final block.

Decisions are in `placement`, `repair` and `manifest`; `putting`, `getting`, `challenges` and `duties` act on them.
This module is what the role and the servicer see.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from theblock_node.client.chain import ChainClient, Committed, Event
from theblock_node.client.storage import Seal, Stored, Usage
from theblock_node.client.wallet import Wallet
from theblock_node.clock import Clock
from theblock_node.config import StorageSettings
from theblock_node.core import codec
from theblock_node.core.errors import InvalidRecord
from theblock_node.services.storage.challenges import Challenges
from theblock_node.services.storage.duties import Duties
from theblock_node.services.storage.files import ShardFiles
from theblock_node.services.storage.getting import Getter
from theblock_node.services.storage.holder import Holder, check_id
from theblock_node.services.storage.market import Market
from theblock_node.services.storage.neighbours import Neighbours
from theblock_node.services.storage.putting import Asked, Putter
from theblock_node.services.storage.shards import FAILURES, Shards

CALLS_FOR_A_LOOK = frozenset({"storage.shard_lost", "storage.replica_moved", "storage.maintenance_set"})
"""Events after which a pass is made at once."""
DISK_FULL_PPM = 10_000

log = structlog.get_logger("storage")


class StorageService:
    def __init__(
        self,
        *,
        settings: StorageSettings,
        provider_id: str,
        resource: str,
        chain_id: int,
        chain: ChainClient,
        wallet: Wallet,
        files: ShardFiles,
        neighbours: Neighbours,
        folder: Path,
        clock: Clock,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """``wallet`` signs acknowledgements, and pays for what it submits; ``folder`` is for uploads under way."""
        self._settings = settings
        self._files = files
        self._market = Market(chain, wallet)
        self._holder = Holder(files=files, wallet=wallet, provider_id=provider_id, chain_id=chain_id, clock=clock)
        self._shards = Shards(self._holder, neighbours)
        self._getter = Getter(market=self._market, shards=self._shards)
        self._putter = Putter(
            settings=settings,
            resource=resource,
            chain_id=chain_id,
            market=self._market,
            shards=self._shards,
            folder=folder,
            entropy=entropy,
        )
        self._challenges = Challenges(market=self._market, holder=self._holder, getter=self._getter)
        self._duties = Duties(
            settings=settings,
            resource=resource,
            market=self._market,
            shards=self._shards,
            getter=self._getter,
            clock=clock,
        )
        self._answer_wake, self._look_wake = asyncio.Event(), asyncio.Event()
        self._answer_wake.set()
        self._look_wake.set()
        self._blocks = 0
        self.is_draining = False

    async def run(self) -> None:
        """Answer challenges and look after what is held, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer())
            tasks.create_task(self._look_after())

    def take(self, committed: Committed) -> None:
        """Go on with a final block."""
        self._blocks += 1
        self._answer_wake.set()
        is_time = self._blocks >= self._settings.repair_interval_seconds  # A block comes about every second.
        if is_time or self.is_draining or any(map(self._is_for_us, committed.all_events())):
            self._look_wake.set()

    # What others may ask.

    async def put(self, asked: Asked, pieces: AsyncIterator[bytes]) -> Stored:
        return await self._putter.put(asked, pieces)

    def get(self, manifest_id: bytes, key: bytes) -> AsyncGenerator[bytes, None]:
        check_id("manifest_id", manifest_id)
        return self._getter.get(manifest_id, key)

    async def put_shard(self, upload_id: bytes, chunk: int, slot: int, shard_id: bytes, data: bytes) -> None:
        await self._holder.put_shard(upload_id, chunk, slot, shard_id, data)

    async def seal_replica(self, upload_id: bytes, manifest: bytes, slots: Sequence[int]) -> Seal:
        if self._holder.is_closed:
            raise InvalidRecord("storage.provider_closed", provider_id=self._holder.provider_id)
        return await self._holder.seal(upload_id, manifest, slots)

    async def get_shard(self, shard_id: bytes) -> bytes:
        return await self._holder.get_shard(shard_id)

    async def drop_shard(self, upload_id: bytes, shard_id: bytes) -> None:
        """Forget a shard, unless the chain may count on it."""
        check_id("upload_id", upload_id)
        check_id("shard_id", shard_id)
        for kept in self._files.sealed(upload_id):
            held = await self._market.object(kept.contract_id or kept.manifest_id)
            if held is not None and held.is_active:
                raise InvalidRecord("storage.shard_anchored", contract_id=held.contract.contract_id.hex())
        await asyncio.to_thread(self._files.drop, upload_id, shard_id)

    async def challenge(self, contract_id: bytes, epoch: int) -> bytes:
        """Canonical arguments of the answer to an open challenge."""
        check_id("contract_id", contract_id)
        return codec.encode(await self._challenges.prove(contract_id, epoch))

    async def manifest(self, manifest_id: bytes) -> bytes:
        """Canonical bytes of a manifest that is kept here, by any name that it had."""
        check_id("manifest_id", manifest_id)
        kept = self._files.named(manifest_id)
        if kept is None:
            held = await self._market.object(manifest_id)
            kept = self._files.manifest(held.contract.core_id) if held else None
        if kept is None:
            raise InvalidRecord("storage.unknown_manifest", manifest_id=manifest_id.hex())
        return kept.data

    def usage(self) -> Usage:
        return Usage(self._files.used_bytes, self._files.capacity_bytes, self._files.count)

    # What the operator asks and is told.

    def drain(self, is_on: bool) -> None:
        """Take no new shards, and hand over what is held once the chain knows that we are leaving; or stop that."""
        if is_on != self.is_draining:
            self._duties.standing.is_known = False
        self.is_draining = self._holder.is_closed = is_on
        self._look_wake.set()

    def stop_taking(self) -> None:
        """Take nothing new in the last moments of the process."""
        self._holder.is_closed = True

    @property
    def slots_left(self) -> int | None:
        """Slots that the chain says we hold; None until that is known."""
        return self._duties.standing.slots if self._duties.standing.is_known else None

    @property
    def has_room(self) -> bool:
        """Whether the volume is not as good as full."""
        return self._files.free_ppm() >= DISK_FULL_PPM

    def details(self) -> dict[str, Any]:
        """What the operator reads of the member."""
        standing = self._duties.standing
        return {
            "used_bytes": self._files.used_bytes,
            "disk_free_ppm": self._files.free_ppm(),
            "shards": self._files.count,
            "slots": standing.slots,
            "proofs_missed": standing.missed,
            "proofs_overdue": self._challenges.overdue,
            "repairing": standing.repairing,
            "lost": standing.lost,
            "unrecoverable": standing.unrecoverable,
            "uploads": self._putter.running,
        }

    # Duties.

    def _is_for_us(self, event: Event) -> bool:
        if event.name == "storage.manifest_anchored":
            return self._holder.provider_id in event.record["providers"]
        return event.name in CALLS_FOR_A_LOOK

    async def _answer(self) -> None:
        while True:
            await self._answer_wake.wait()
            self._answer_wake.clear()
            try:
                if not await self._challenges.answer_all():
                    self._look_wake.set()  # Something is missing here; a pass rebuilds it.
            except FAILURES as failed:
                log.info("challenges wait", reason=str(failed))

    async def _look_after(self) -> None:
        while True:
            await self._look_wake.wait()
            self._look_wake.clear()
            self._blocks = 0
            try:
                await self._duties.look_after(is_draining=self.is_draining)
            except FAILURES as failed:
                log.warning("pass given up", reason=str(failed))
