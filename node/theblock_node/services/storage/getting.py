"""An object on its way out: find its manifest and who holds it now, fetch, check, decode, open."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import structlog
from blake3 import blake3

from theblock_node.client.errors import RefusedError
from theblock_node.core.domains.storage.records import ReplicaStatus
from theblock_node.core.errors import InvalidRecord
from theblock_node.services.storage import pipeline
from theblock_node.services.storage.manifest import Manifest, read_manifest
from theblock_node.services.storage.market import Held, Market
from theblock_node.services.storage.shards import FAILURES, Shards

AHEAD = 2
"""Chunks that are fetched while another is on its way out."""
PIECE_BYTES = 2**20
MANIFESTS_KEPT = 16
HOLDERS_ASKED_MAX = 64

log = structlog.get_logger("storage")


@dataclass(frozen=True, slots=True)
class Found:
    """An object, and who holds each slot of it as far as is known."""

    manifest: Manifest
    holders: dict[int, str]


class Getter:
    def __init__(self, *, market: Market, shards: Shards) -> None:
        self._market = market
        self._shards = shards
        self._parsed: OrderedDict[bytes, Manifest] = OrderedDict()

    async def get(self, manifest_id: bytes, key: bytes) -> AsyncGenerator[bytes, None]:
        """The bytes of an object, in order and checked; what came stays good if a later chunk is refused."""
        found = await self.find(manifest_id)
        manifest = found.manifest
        if manifest.encryption == pipeline.PLAIN:
            key = pipeline.NO_KEY
        if len(key) != len(pipeline.NO_KEY):
            raise InvalidRecord("storage.bad_key", size=len(key))
        mac = blake3(key=key)
        waiting: deque[asyncio.Task[bytes]] = deque()
        try:
            for index in range(len(manifest.chunks) + AHEAD):
                if index < len(manifest.chunks):
                    waiting.append(asyncio.create_task(self._chunk(found, index, key)))
                if index < AHEAD:
                    continue
                plain = await waiting.popleft()
                await asyncio.to_thread(mac.update, plain)
                for at in range(0, len(plain), PIECE_BYTES):
                    yield plain[at : at + PIECE_BYTES]
            if mac.digest() != manifest.content_mac:
                raise InvalidRecord("storage.integrity", manifest_id=manifest_id.hex(), reason="content")
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def find(self, manifest_id: bytes) -> Found:
        """An object by the name of its manifest, whatever moved since that name was given."""
        kept = self._shards.holder.files.named(manifest_id)
        held = await self._market.object(kept.contract_id if kept and kept.contract_id else manifest_id)
        manifest = await self.manifest_of(manifest_id, held)
        if held is None:
            held = await self._search(manifest)
        return Found(manifest, current_holders(manifest, held))

    async def manifest_of(self, manifest_id: bytes, held: Held | None) -> Manifest:
        """A manifest of this name, or of the same object, from the disk or from those who hold it."""
        files = self._shards.holder.files
        kept = files.named(manifest_id) or (files.manifest(held.contract.core_id) if held else None)
        if kept is not None:
            return await self._parse(kept.manifest_id, kept.data)
        named = list(held.contract.providers) if held else self._shards.neighbours.names()
        for name in sorted(named, key=self._shards.neighbours.is_silent)[:HOLDERS_ASKED_MAX]:
            if name == self._shards.holder.provider_id:
                continue
            try:
                data = await self._shards.neighbours.ask(name, lambda client: client.manifest(manifest_id))
                manifest = await self._parse(manifest_id, data)
            except FAILURES as failed:
                log.info("manifest not got", provider=name, reason=str(failed))
                continue
            if manifest_id == manifest.manifest_id or (held and held.contract.core_id == manifest.core_id):
                return manifest
        raise InvalidRecord("storage.unknown_manifest", manifest_id=manifest_id.hex())

    async def _chunk(self, found: Found, index: int, key: bytes) -> bytes:
        manifest, row = found.manifest, found.manifest.chunks[index]
        shards = await self._shards.gather(row, found.holders, manifest.data)

        def work() -> bytes:
            return pipeline.decode_chunk(
                shards,
                index,
                manifest.layout,
                plain_len=row.plain_len,
                packed_len=row.packed_len,
                cipher_len=row.cipher_len,
                key=key,
                salt=manifest.object_salt,
            )

        return await asyncio.to_thread(work)

    async def _search(self, manifest: Manifest) -> Held | None:
        """The contract of an object whose manifest has since had another name."""
        for name in dict.fromkeys(manifest.providers):
            try:
                contracts = await self._market.contracts_of(name)
            except RefusedError:
                continue
            for contract in contracts:
                if contract.core_id == manifest.core_id:
                    return await self._market.object(contract.contract_id)
        return None

    async def _parse(self, manifest_id: bytes, data: bytes) -> Manifest:
        known = self._parsed.pop(manifest_id, None)
        if known is None:
            known = await asyncio.to_thread(read_manifest, data)
        self._parsed[manifest_id] = known
        if len(self._parsed) > MANIFESTS_KEPT:
            self._parsed.popitem(last=False)
        return known


def current_holders(manifest: Manifest, held: Held | None) -> dict[int, str]:
    """Who holds each slot: what the chain says, before what the manifest said when it was made."""
    holders = dict(enumerate(manifest.providers))
    if held is not None:
        holders |= chain_holders(held)
    return holders


def chain_holders(held: Held) -> Mapping[int, str]:
    """Who holds each slot by the chain; slots that nobody holds are not in it."""
    return {slot: row.provider_id for row in held.replicas if row.status is ReplicaStatus.HELD for slot in row.slots}
