"""What a provider owes the objects that it holds: that they are whole, and stay somewhere.

A pass looks at every object of which the chain says that we hold slots: what is missing on our disk is rebuilt from
others, slots that the chain counts lost are placed anew, and when the member leaves, its own are handed over. Then
what nobody wants any more is forgotten.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog

from theblock_node.clock import Clock
from theblock_node.config import StorageSettings
from theblock_node.core import codec
from theblock_node.core.domains.storage.records import (
    MoveReplica,
    Provider,
    Replica,
    ReplicaOffer,
    ReplicaStatus,
)
from theblock_node.services.storage import manifest as manifests
from theblock_node.services.storage import placement, repair
from theblock_node.services.storage.files import Kept, ShardFiles
from theblock_node.services.storage.getting import Getter, chain_holders, current_holders
from theblock_node.services.storage.holder import keep
from theblock_node.services.storage.manifest import Manifest
from theblock_node.services.storage.market import Held, Market
from theblock_node.services.storage.placement import Offer
from theblock_node.services.storage.repair import Job, Reclaim
from theblock_node.services.storage.shards import FAILURES, Shards

UNANCHORED_MS = 3600 * 1000
"""Shards of an object that was not anchored in this time are forgotten."""
GRACE_BLOCKS = 1024
"""For so long shards are kept after the chain no longer wants them here: somebody may still be reading."""

log = structlog.get_logger("storage")


@dataclass(slots=True)
class Standing:
    """What the last pass found."""

    slots: int = 0
    """That the chain says we hold."""
    missed: int = 0
    """Replicas of ours whose last challenge was not answered."""
    repairing: int = 0
    """Shards missing here, and moves planned."""
    lost: int = 0
    """Slots of objects of ours that nobody holds."""
    unrecoverable: int = 0
    is_known: bool = False
    """Whether a whole pass was made since the drain was asked for, or at all."""


@dataclass(slots=True)
class _Trouble:
    """An object that needs something done, and how that went."""

    rounds: int = 0
    failures: int = 0
    not_before_height: int = 0


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is the same for every object in one pass."""

    me: Provider
    offers: list[Offer]
    collateral_bps: int
    height: int
    is_leaving: bool


class Duties:
    def __init__(
        self, *, settings: StorageSettings, resource: str, market: Market, shards: Shards, getter: Getter, clock: Clock
    ) -> None:
        self._settings = settings
        self._resource = resource
        self._market = market
        self._shards = shards
        self._getter = getter
        self._clock = clock
        self._trouble: dict[bytes, _Trouble] = {}
        self.standing = Standing()

    @property
    def _files(self) -> ShardFiles:
        return self._shards.holder.files

    @property
    def _name(self) -> str:
        return self._shards.holder.provider_id

    async def look_after(self, *, is_draining: bool) -> None:
        """Make one pass."""
        me = await self._market.provider(self._name)
        if me is None:
            self.standing = Standing(is_known=True)
            return
        near = self._resource if self._settings.placement == "Resource" else None
        there = [*self._shards.neighbours.names(near), self._name]
        offers = placement.make_offers(await self._market.providers(), there)
        silent = self._shards.neighbours.is_silent
        offers = [offer for offer in offers if offer.provider_id == self._name or not silent(offer.provider_id)]
        turn = _Pass(
            me,
            offers,
            await self._market.collateral_bps(),
            await self._market.height(),
            is_draining and me.maintenance,
        )
        standing = Standing()
        wanted: dict[bytes, set[int]] = {}
        seen: set[bytes] = set()
        for contract in await self._market.contracts_of(self._name, final=True):
            seen.add(contract.core_id)
            held = await self._market.object(contract.contract_id, final=True)
            replica = held.replica_of(self._name) if held else None
            if held is not None and replica is not None and replica.status is ReplicaStatus.HELD:
                wanted.setdefault(contract.shards_root, set()).update(replica.slots)
                await self._look_at(turn, held, replica, standing)
        for kept in await asyncio.to_thread(self._files.manifests):
            if kept.core_id not in seen:
                await self._look_at_former(turn, kept, wanted, standing)
        self._trouble = {key: row for key, row in self._trouble.items() if row.rounds}
        await asyncio.to_thread(self._forget_unwanted, wanted)
        standing.is_known = True
        self.standing = standing

    async def _look_at(self, turn: _Pass, held: Held, replica: Replica, standing: Standing) -> None:
        """One object of which we hold slots."""
        health = repair.judge_health(held.contract, held.replicas)
        standing.slots += len(replica.slots)
        standing.missed += replica.misses_in_row > 0
        standing.lost += health.n - health.held
        standing.unrecoverable += health.is_unrecoverable
        try:
            manifest = await self._getter.manifest_of(held.contract.manifest_id, held)
            await self._remember(manifest, held)
            standing.repairing += await self._heal(manifest, held, replica)
            await self._repair(turn, held, manifest, has_own=False, standing=standing)
        except FAILURES as failed:
            standing.repairing += 1
            log.warning("object needs attention", contract_id=held.contract.contract_id.hex(), reason=str(failed))

    async def _look_at_former(self, turn: _Pass, kept: Kept, wanted: dict[bytes, set[int]], standing: Standing) -> None:
        """An object whose manifest we keep, though the chain does not say that we hold slots of it."""
        held = await self._market.object(kept.contract_id or kept.manifest_id, final=True)
        replica = held.replica_of(self._name) if held else None
        if held is None or replica is None or not held.is_active or replica.status is not ReplicaStatus.LOST:
            await self._let_go(turn, kept, wanted)
            return
        wanted.setdefault(kept.upload_id, set()).update(replica.slots)
        standing.missed += 1
        standing.lost += len(replica.slots)
        manifest = await asyncio.to_thread(manifests.read_manifest, kept.data)
        missing = await asyncio.to_thread(self._files.missing, kept.upload_id, manifest.shards(replica.slots))
        await self._repair(turn, held, manifest, has_own=not missing, standing=standing)

    async def _let_go(self, turn: _Pass, kept: Kept, wanted: dict[bytes, set[int]]) -> None:
        """Keep what the chain once wanted here for a while longer."""
        if kept.contract_id is None:
            return
        ended_height = turn.height if kept.ended_height is None else kept.ended_height
        if kept.ended_height is None:
            await asyncio.to_thread(self._files.keep_manifest, replace(kept, ended_height=ended_height))
        if turn.height - ended_height < GRACE_BLOCKS:
            wanted.setdefault(kept.upload_id, set()).update(self._files.slots_of(kept.upload_id))

    async def _remember(self, manifest: Manifest, held: Held) -> None:
        """Keep the manifest beside its contract, if it is not yet."""
        kept = self._files.manifest(manifest.core_id)
        if kept is None or kept.contract_id != held.contract.contract_id or kept.ended_height is not None:
            await asyncio.to_thread(self._files.keep_manifest, keep(manifest, held.contract.contract_id))

    async def _heal(self, manifest: Manifest, held: Held, replica: Replica) -> int:
        """Rebuild what the chain says we hold and the disk has not; returns how many shards still are missing."""
        root = manifest.shards_root
        missing = await asyncio.to_thread(self._files.missing, root, manifest.shards(replica.slots))
        if not missing:
            return 0
        log.warning("shards missing here", contract_id=held.contract.contract_id.hex(), count=len(missing))
        slots_by_chunk: dict[int, list[int]] = {}
        for chunk, slot, _, _ in missing:
            slots_by_chunk.setdefault(chunk, []).append(slot)
        holders = chain_holders(held)
        for chunk, slots in slots_by_chunk.items():
            row = manifest.chunks[chunk]
            made = await self._shards.rebuild(row, holders, slots, data=manifest.data, parity=manifest.parity)
            now_ms = self._clock.now_ms()
            for slot, data in made.items():
                await asyncio.to_thread(self._files.add, root, chunk, slot, row.shard_ids[slot], data, now_ms=now_ms)
        return 0

    # Repair.

    async def _repair(self, turn: _Pass, held: Held, manifest: Manifest, *, has_own: bool, standing: Standing) -> None:
        """Do the next job that the object asks of us, if there is one and its last failure is long enough ago."""
        contract = held.contract
        trouble = self._trouble.setdefault(contract.contract_id, _Trouble())
        is_whole = repair.judge_health(contract, held.replicas).is_whole
        trouble.rounds = 0 if is_whole and not turn.is_leaving else trouble.rounds + 1
        job = repair.plan_repair(
            contract,
            held.replicas,
            turn.offers,
            me=self._name,
            has_own=has_own and not turn.me.maintenance and not turn.me.retired,
            is_leaving=turn.is_leaving,
            policy=self._settings.policy,
            collateral_bps=turn.collateral_bps,
            rounds=trouble.rounds,
        )
        if job is None:
            return
        standing.repairing += 1
        if turn.height < trouble.not_before_height:
            return
        try:
            await self._do(job, held, manifest)
            trouble.failures = 0
        except FAILURES as failed:
            trouble.failures += 1
            trouble.not_before_height = turn.height + repair.compute_back_off_blocks(trouble.failures)
            log.warning("repair failed", contract_id=contract.contract_id.hex(), reason=str(failed))

    async def _do(self, job: Job, held: Held, manifest: Manifest) -> None:
        """Bring the shards to their new holder, have it sign, and tell the chain."""
        source, target = (self._name, self._name) if isinstance(job, Reclaim) else (job.source, job.target)
        names = {**current_holders(manifest, held), **dict.fromkeys(job.slots, target)}
        moved = manifests.with_holders(manifest, names)
        if not isinstance(job, Reclaim):
            await self._carry(held, manifest, job.slots, target)
        root = manifest.shards_root
        seal = await self._shards.seal(target, root, codec.encode(moved), job.slots)
        offer = ReplicaOffer(target, job.slots, seal.size, seal.signature)
        await self._market.move(MoveReplica(held.contract.contract_id, source, moved.manifest_id, offer))
        await asyncio.to_thread(self._files.keep_manifest, keep(moved, held.contract.contract_id))
        log.info("slots moved", contract_id=held.contract.contract_id.hex(), source=source, target=target)

    async def _carry(self, held: Held, manifest: Manifest, slots: tuple[int, ...], target: str) -> None:
        """Put the shards of some slots at ``target``: from our disk where they are here, else rebuilt."""
        root, holders = manifest.shards_root, chain_holders(held)
        here = await asyncio.to_thread(self._files.missing, root, manifest.shards(slots)) == []
        for chunk, row in enumerate(manifest.chunks):
            if here:
                made = {slot: await self._shards.holder.get_shard(row.shard_ids[slot]) for slot in slots}
            else:
                made = await self._shards.rebuild(row, holders, slots, data=manifest.data, parity=manifest.parity)
            for slot, data in made.items():
                await self._shards.put(target, root, chunk, slot, row.shard_ids[slot], data)

    def _forget_unwanted(self, wanted: dict[bytes, set[int]]) -> None:
        """Forget shards that were left behind by uploads, moves and ended contracts."""
        for upload_id in self._files.stale_uploads(before_ms=self._clock.now_ms() - UNANCHORED_MS):
            kept_slots = wanted.get(upload_id, set())
            if self._files.slots_of(upload_id) - kept_slots:
                self._files.drop_upload(upload_id, kept_slots=sorted(kept_slots))
                log.info("shards forgotten", upload_id=upload_id.hex())
            if not kept_slots:
                for kept in self._files.sealed(upload_id):
                    self._files.drop_manifest(kept.core_id)
