"""An object on its way in: cut and code it, spread it over providers, and anchor it on the chain.

The coded chunks wait on disk until all are there, since the root over their shards names the upload.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from blake3 import blake3

from theblock_node.client.errors import RefusedError
from theblock_node.client.storage import Seal, Stored
from theblock_node.config import StorageSettings
from theblock_node.core import codec, coding, crypto
from theblock_node.core.domains.storage.records import SLOTS_MAX, AnchorManifest, Provider, ReplicaOffer
from theblock_node.core.domains.storage.rules import ack_message
from theblock_node.core.errors import InvalidRecord
from theblock_node.services.storage import manifest as manifests
from theblock_node.services.storage import pipeline, placement
from theblock_node.services.storage.files import disk_may_fail
from theblock_node.services.storage.manifest import Manifest
from theblock_node.services.storage.market import Market
from theblock_node.services.storage.pipeline import Layout
from theblock_node.services.storage.placement import Need
from theblock_node.services.storage.shards import FAILURES, Shards

UPLOADS_MAX = 4
"""Objects that are put through one member at once."""
ROUNDS_MAX = 4
"""How often slots are placed anew when providers fail."""
RETENTION_BLOCKS = 100_000
DROP_S = 5.0
"""How long each provider is asked to forget what it was sent for nothing."""
RESOURCE = "Resource"
"""Placement on members of the own resource only."""

log = structlog.get_logger("storage")


@dataclass(frozen=True, slots=True)
class Asked:
    """How an object is to be stored; zeros are the provider's own settings."""

    size: int
    data: int = 0
    parity: int = 0
    retention_blocks: int = 0


@dataclass(frozen=True, slots=True)
class _Spread:
    """An object whose shards lie at providers that have signed for them."""

    manifest: Manifest
    seals: dict[str, Seal]


class Putter:
    def __init__(
        self,
        *,
        settings: StorageSettings,
        resource: str,
        chain_id: int,
        market: Market,
        shards: Shards,
        folder: Path,
        entropy: Callable[[int], bytes],
    ) -> None:
        """``folder`` is for what is under way; whatever a former process left there goes."""
        self._settings = settings
        self._resource = resource
        self._chain_id = chain_id
        self._market = market
        self._shards = shards
        self._folder = folder
        self._entropy = entropy
        self._running = 0
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def running(self) -> int:
        return self._running

    async def put(self, asked: Asked, pieces: AsyncIterator[bytes]) -> Stored:
        """Store an object; it is anchored and final when this returns."""
        layout = choose_layout(asked, self._settings)
        if self._shards.holder.is_closed:
            raise InvalidRecord("storage.provider_closed", provider_id=self._shards.holder.provider_id)
        if self._running >= UPLOADS_MAX:
            raise InvalidRecord("storage.too_many_uploads", max=UPLOADS_MAX, retry_after_ms=1000)
        self._running += 1
        folder = self._folder / self._entropy(8).hex()
        try:
            self._check_room(asked, layout)
            key = self._entropy(32) if layout.encryption == pipeline.SEALED else pipeline.NO_KEY
            coded = await self._code(asked, layout, pieces, folder, key)
            retention = asked.retention_blocks or RETENTION_BLOCKS
            spread = await self._spread(coded, folder, retention)
            contract_id = await self._anchor(spread, retention)
        finally:
            self._running -= 1
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        log.info("object stored", manifest_id=spread.manifest.manifest_id.hex(), providers=sorted(spread.seals))
        return Stored(spread.manifest.manifest_id.hex(), contract_id.hex(), key, tuple(sorted(spread.seals)))

    def _check_room(self, asked: Asked, layout: Layout) -> None:
        needed = asked.size * layout.n // layout.data
        with disk_may_fail():
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        if free < 2 * needed:
            raise InvalidRecord("storage.capacity_exhausted", needed=needed)

    async def _code(
        self, asked: Asked, layout: Layout, pieces: AsyncIterator[bytes], folder: Path, key: bytes
    ) -> Manifest:
        """Cut, seal and code what comes, chunk by chunk; the manifest names no providers yet."""
        salt = self._entropy(16)
        mac = blake3(key=key)
        rows: list[manifests.ChunkRow] = []

        def work(plain: bytes, index: int) -> manifests.ChunkRow:
            mac.update(plain)
            coded = pipeline.encode_chunk(plain, index, layout, key=key, salt=salt)
            with disk_may_fail():
                folder.mkdir(exist_ok=True)
                (folder / str(index)).write_bytes(b"".join(coded.shards))
            return manifests.to_row(coded)

        async for plain in cut(pieces, asked.size, layout.chunk_bytes):
            rows.append(await asyncio.to_thread(work, plain, len(rows)))
        return Manifest(
            Manifest.VERSION,
            salt,
            asked.size,
            mac.digest(),
            layout.compression,
            layout.encryption,
            pipeline.ERASURE,
            layout.data,
            layout.parity,
            coding.RS_MATRIX,
            layout.chunk_bytes,
            tuple(rows),
            (),
        )

    async def _spread(self, coded: Manifest, folder: Path, retention: int) -> _Spread:
        """Place every slot, send its shards, and have each provider sign; who fails is replaced."""
        collateral_bps = await self._market.collateral_bps()
        need = Need(coded.data, coded.parity, coded.size_of([0]), retention, collateral_bps)
        placed: dict[str, tuple[int, ...]] = {}
        failed: set[str] = set()
        try:
            for _ in range(ROUNDS_MAX):
                rows = await self._market.providers()
                plan = await self._plan(rows, need, coded.shards_root, placed, failed)
                new = {
                    name: tuple(slot for slot in slots if slot not in placed.get(name, ()))
                    for name, slots in plan.items()
                }
                placed = {**placed, **plan}
                lost = await self._try_all(new, lambda name, slots: self._send(name, slots, coded, folder))
                if not lost:
                    spread, lost = await self._seal_all(coded, plan, rows)
                    if not lost:
                        return spread
                failed |= lost
                placed = {name: slots for name, slots in placed.items() if name not in lost}
            raise InvalidRecord("storage.insufficient_providers", failed=sorted(failed))
        except BaseException:
            await self._drop(coded, placed)
            raise

    async def _plan(
        self,
        rows: Sequence[Provider],
        need: Need,
        seed: bytes,
        placed: Mapping[str, tuple[int, ...]],
        failed: set[str],
    ) -> dict[str, tuple[int, ...]]:
        near = self._resource if self._settings.placement == RESOURCE else None
        there = [name for name in self._shards.neighbours.names(near) if not self._shards.neighbours.is_silent(name)]
        there.append(self._shards.holder.provider_id)
        offers = placement.make_offers(rows, there, excluded=failed)
        able = {offer.provider_id for offer in offers}
        stays = {name: slots for name, slots in placed.items() if name in able}
        plan = placement.plan_placement(offers, need, policy=self._settings.policy, seed=seed, placed=stays)
        deposit, balance = placement.compute_deposit(plan, offers, need), await self._market.balance()
        if deposit > balance:
            raise InvalidRecord("storage.escrow_insufficient", deposit=deposit, balance=balance)
        return plan

    async def _try_all(
        self,
        plan: Mapping[str, tuple[int, ...]],
        act: Callable[[str, tuple[int, ...]], Awaitable[None]],
    ) -> set[str]:
        """Act for each provider at once; returns those with whom it failed."""

        async def attempt(name: str, slots: tuple[int, ...]) -> str | None:
            try:
                await act(name, slots)
            except FAILURES as failed:
                log.warning("provider fails", provider=name, reason=str(failed))
                return name
            return None

        async with asyncio.TaskGroup() as tasks:
            tried = [tasks.create_task(attempt(name, slots)) for name, slots in plan.items() if slots]
        return {name for name in (task.result() for task in tried) if name is not None}

    async def _send(self, name: str, slots: tuple[int, ...], coded: Manifest, folder: Path) -> None:
        for chunk, slot, shard_id, size in coded.shards(slots):
            data = await asyncio.to_thread(_read_part, folder / str(chunk), slot * size, size)
            await self._shards.put(name, coded.shards_root, chunk, slot, shard_id, data)

    async def _seal_all(
        self, coded: Manifest, plan: Mapping[str, tuple[int, ...]], rows: Sequence[Provider]
    ) -> tuple[_Spread, set[str]]:
        """The object with the word of its providers, and those who did not give it."""
        whole = replace(coded, providers=_names(plan, coded.n))
        keys = {row.provider_id: row for row in rows}
        seals: dict[str, Seal] = {}
        lost = await self._try_all(plan, lambda name, slots: self._seal(whole, keys[name], slots, seals))
        return _Spread(whole, seals), lost

    async def _seal(self, whole: Manifest, row: Provider, slots: tuple[int, ...], seals: dict[str, Seal]) -> None:
        name = row.provider_id
        seal = await self._shards.seal(name, whole.shards_root, codec.encode(whole), slots)
        message = ack_message(self._chain_id, whole.core_id, whole.shards_root, name, slots)
        if seal.size != whole.size_of(slots) or not crypto.verify(row.member_key, message, seal.signature):
            raise InvalidRecord("storage.bad_ack", provider_id=name)
        seals[name] = seal

    async def _anchor(self, spread: _Spread, retention: int) -> bytes:
        whole = spread.manifest
        held = whole.slots_by_provider()
        command = AnchorManifest(
            whole.manifest_id,
            whole.core_id,
            whole.shards_root,
            len(whole.chunks),
            whole.data,
            whole.parity,
            whole.total_len,
            retention,
            tuple(
                ReplicaOffer(name, slots, spread.seals[name].size, spread.seals[name].signature)
                for name, slots in sorted(held.items())
            ),
        )
        try:
            anchored = await self._market.anchor(command)
        except RefusedError:
            await self._drop(whole, held)
            raise
        return anchored.contract.contract_id

    async def _drop(self, coded: Manifest, placed: Mapping[str, tuple[int, ...]]) -> None:
        """Take back what was sent for nothing, as far as that goes; the rest falls due at its holders."""
        for name, slots in placed.items():
            try:
                async with asyncio.timeout(DROP_S):
                    for _, _, shard_id, _ in coded.shards(slots):
                        await self._shards.drop(name, coded.shards_root, shard_id)
            except FAILURES as failed:
                log.info("shards left behind", provider=name, reason=str(failed))


def choose_layout(asked: Asked, settings: StorageSettings) -> Layout:
    """How to cut what was asked; refuses what cannot be."""
    data, parity = asked.data or settings.data_shards, asked.parity or settings.parity_shards
    if asked.size < 1:
        raise InvalidRecord("storage.bad_size", size=asked.size)
    if data + parity > SLOTS_MAX:
        raise InvalidRecord("storage.layout_forbidden", data=data, parity=parity, max=SLOTS_MAX)
    chunk_bytes = pipeline.choose_chunk_bytes(asked.size, data, chunks_max=manifests.chunks_max(data + parity))
    return Layout(data, parity, chunk_bytes, settings.compression, settings.encryption)


async def cut(pieces: AsyncIterator[bytes], size: int, chunk_bytes: int) -> AsyncIterator[bytes]:
    """The pieces as chunks of ``chunk_bytes``, the last one shorter; refuses more or less than ``size`` in all."""
    kept, total = bytearray(), 0
    async for piece in pieces:
        total += len(piece)
        if total > size:
            raise InvalidRecord("storage.bad_size", announced=size, came=total)
        kept += piece
        while len(kept) >= chunk_bytes:
            yield bytes(kept[:chunk_bytes])
            del kept[:chunk_bytes]
    if total != size:
        raise InvalidRecord("storage.bad_size", announced=size, came=total)
    if kept:
        yield bytes(kept)


def _names(plan: Mapping[str, tuple[int, ...]], n: int) -> tuple[str, ...]:
    """Who holds each slot."""
    by_slot = {slot: name for name, slots in plan.items() for slot in slots}
    return tuple(by_slot[slot] for slot in range(n))


def _read_part(path: Path, start: int, size: int) -> bytes:
    with disk_may_fail(), path.open("rb") as file:
        file.seek(start)
        return file.read(size)
