"""What this provider does for those who store with it: take shards, give them back, and sign for them.

Callers come through `rpc/storage.py`, or from this process when it places shards with itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from theblock_node.client.storage import Seal
from theblock_node.client.wallet import Wallet
from theblock_node.clock import Clock
from theblock_node.core import codec
from theblock_node.core.domains.storage.records import CHUNKS_MAX, SLOTS_MAX
from theblock_node.core.domains.storage.rules import ack_message
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import retrieval
from theblock_node.services.storage.files import Kept, ShardFiles
from theblock_node.services.storage.manifest import Manifest, read_manifest

ID_BYTES = 32


class Holder:
    def __init__(self, *, files: ShardFiles, wallet: Wallet, provider_id: str, chain_id: int, clock: Clock) -> None:
        self.files = files
        self.provider_id = provider_id
        self.is_closed = False
        """Whether new shards are refused, since the member is leaving."""
        self._wallet = wallet
        self._chain_id = chain_id
        self._clock = clock

    async def put_shard(self, upload_id: bytes, chunk: int, slot: int, shard_id: bytes, data: bytes) -> None:
        """Keep a shard durably."""
        if self.is_closed:
            raise InvalidRecord("storage.provider_closed", provider_id=self.provider_id)
        check_id("upload_id", upload_id)
        check_id("shard_id", shard_id)
        if not 0 <= chunk < CHUNKS_MAX or not 0 <= slot < SLOTS_MAX:
            raise InvalidRecord("storage.manifest_slots", chunk=chunk, slot=slot)
        if not 1 <= len(data) <= retrieval.SHARD_BYTES_MAX:
            raise InvalidRecord("storage.too_large", size=len(data), max=retrieval.SHARD_BYTES_MAX)
        now_ms = self._clock.now_ms()
        await asyncio.to_thread(self.files.add, upload_id, chunk, slot, shard_id, data, now_ms=now_ms)

    async def get_shard(self, shard_id: bytes) -> bytes:
        check_id("shard_id", shard_id)
        return await asyncio.to_thread(self.files.read, shard_id)

    async def seal(self, upload_id: bytes, data: bytes, slots: Sequence[int]) -> Seal:
        """Sign that all shards of some slots of an object are here, and keep its manifest."""
        check_id("upload_id", upload_id)
        return await asyncio.to_thread(self._seal, upload_id, data, tuple(slots))

    def _seal(self, upload_id: bytes, data: bytes, slots: tuple[int, ...]) -> Seal:
        manifest = read_manifest(data)
        if manifest.shards_root != upload_id:
            raise InvalidRecord("storage.manifest_bad_root", upload_id=upload_id.hex())
        self._check_slots(manifest, slots)
        missing = self.files.missing(upload_id, manifest.shards(slots))
        if missing:
            raise InvalidRecord("storage.missing_shards", count=len(missing), chunk=missing[0][0], slot=missing[0][1])
        self.files.keep_manifest(keep(manifest))
        message = ack_message(self._chain_id, manifest.core_id, upload_id, self.provider_id, slots)
        return Seal(self._wallet.sign(message), manifest.size_of(slots))

    def _check_slots(self, manifest: Manifest, slots: tuple[int, ...]) -> None:
        if not slots or list(slots) != sorted(set(slots)) or slots[-1] >= manifest.n:
            raise InvalidRecord("storage.manifest_slots", slots=slots)
        if any(manifest.providers[slot] != self.provider_id for slot in slots):
            raise InvalidRecord("storage.manifest_slots", reason="a slot is another provider's", slots=slots)


def keep(manifest: Manifest, contract_id: bytes | None = None) -> Kept:
    """A manifest as it is kept."""
    data = codec.encode(manifest)
    return Kept(manifest.core_id, manifest.shards_root, manifest.manifest_id, data, contract_id, None)


def check_id(field: str, value: bytes) -> None:
    if len(value) != ID_BYTES:
        raise InvalidRecord("codec.value", path=field, size=len(value), expected=ID_BYTES)
