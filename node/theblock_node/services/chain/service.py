"""The chain service: the only writer of the chain. It makes blocks, takes them, votes, catches up, and tells.

What RPC and the other services may use of it, all of it cheap and none of it blocking:

    submit(envelope) -> tx_id             admit to the pool and pass on; InvalidTx
    submit_many(envelopes)                the id or the InvalidTx of each
    status(tx_id) -> TxStatus             unknown, pending, in a block (succeeded or failed), and whether final
    tip() -> Tip                          head and final block, next base fee
    header_at(height), block_at(height)   of the chain as it stands; None where it is not kept
    reading(strength) -> Reading          state for queries, at the head or at the last final block
    prove(table, key, strength)           a row and its path to a header's state root
    events(after, strength)               Committed and, for HEAD, Reverted, from any kept height on, for ever
    pending_nonce(address)                last nonce in use, waiting transactions included
    facts() -> Facts                      for health, status and metrics

Readers of `events` pull from the store at their own speed, so nothing is queued for them and a slow one costs
nobody anything; each goes on from its own height after a restart.

`take_block`, `take_vote` and `take_evidence` are for gossip; `Net` is what the service needs of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import structlog

from theblock_node.clock import Clock
from theblock_node.core import codec, merkle, schedule
from theblock_node.core import header as headers
from theblock_node.core.block import Attestation, Block, Evidence, Header, SignedHeader, TxEvent, decode_block
from theblock_node.core.domain import Reading
from theblock_node.core.domains import supply, validators
from theblock_node.core.errors import InvalidBlock, InvalidRecord, InvalidTx
from theblock_node.core.state import Table
from theblock_node.core.transition import get_gas_limit, propose_block
from theblock_node.core.tx import CheckedTx
from theblock_node.services.chain import producer, snapshots, sync
from theblock_node.services.chain.importer import Chain, Move, Standing
from theblock_node.services.chain.producer import Turn
from theblock_node.services.chain.signer import Signer, SignerRefused, SignerState
from theblock_node.services.chain.sync import PeerTip
from theblock_node.services.chain.votes import VotePool, make_vote

SYNC_GRACE_MS = 250
"""How long a block that was announced has to arrive by itself before it is asked for."""
BODY_SLACK_BYTES = 2**20

log = structlog.get_logger("chain")


class Strength(Enum):
    HEAD = "head"
    """As soon as it stands in the chain; may be reverted."""
    FINAL = "final"


class TxState(Enum):
    UNKNOWN = "unknown"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TxStatus:
    state: TxState
    height: int = 0
    index: int = 0
    error_code: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Tip:
    height: int
    block_id: bytes
    timestamp_ms: int
    finalized_height: int
    finalized_id: bytes
    justified_height: int
    genesis_hash: bytes
    chain_id: int
    base_fee: int
    """Of the next block, in nBLOCK per gas."""


@dataclass(frozen=True, slots=True)
class TxOutcome:
    tx_id: bytes
    index: int
    call: str
    sender: str
    status: int
    """0 succeeded, 1 failed."""
    error_code: str
    events: tuple[TxEvent, ...]
    """Name and Borsh bytes; `Registry.event_types` names the record."""


@dataclass(frozen=True, slots=True)
class Committed:
    height: int
    block_id: bytes
    timestamp_ms: int
    outcomes: tuple[TxOutcome, ...]
    block_events: tuple[TxEvent, ...]


@dataclass(frozen=True, slots=True)
class Reverted:
    height: int
    """The block at this height, the last that was told, does not stand any more."""


@dataclass(frozen=True, slots=True)
class StateProof:
    height: int
    state_root: bytes
    value: bytes | None
    proof: merkle.Proof


@dataclass(frozen=True, slots=True)
class Facts:
    height: int
    finalized_height: int
    justified_height: int
    timestamp_ms: int
    in_sync: bool
    peers: int
    pool: int
    signer: SignerState
    sign_floor: int
    """Slot at or below which no block is signed any more."""
    vote_floor: int
    fencing_epoch: int
    is_member: bool
    """Whether our key is in the current validator set."""
    last_vote_height: int
    """Highest checkpoint for which our vote stands in the chain."""
    blocks_made: int
    turns_missed: int


class HistoryPruned(Exception):
    """Events were asked for from below the lowest kept block, ``base_height``."""

    def __init__(self, base_height: int) -> None:
        super().__init__(base_height)
        self.base_height = base_height


class Pool(Protocol):
    def __len__(self) -> int: ...

    def __contains__(self, tx_id: object) -> bool: ...

    def submit(self, data: bytes) -> bytes: ...

    def submit_many(self, batch: Iterable[bytes]) -> list[bytes | InvalidTx]: ...

    def pending_nonce(self, address: str) -> int: ...

    def select(self, *, bytes_max: int, count_max: int) -> list[CheckedTx]: ...

    def drop(self, tx_id: bytes) -> None: ...

    def head_moved(self, *, undone: Iterable[bytes], senders: Iterable[str]) -> None: ...


class FetchFailed(Exception):
    """A peer gave no usable answer."""


class Net(Protocol):
    def publish_block(self, data: bytes, block_id: bytes, height: int) -> None: ...

    def publish_votes(self, votes: list[Attestation]) -> None: ...

    def publish_evidence(self, evidence: list[Evidence]) -> None: ...

    def tips(self) -> list[PeerTip]: ...

    def settle_tip(self, key: bytes, height: int, block_id: bytes) -> None:
        """A peer's claim led nowhere: think of it as being at our own head until it says something new."""
        ...

    async def fetch_blocks(self, key: bytes, locator: list[bytes], limit: int) -> list[bytes]:
        """Encoded blocks that follow the locator in a peer's chain; `FetchFailed`."""
        ...

    async def fetch_snapshot(self, key: bytes) -> bytes:
        """The file of a peer's newest snapshot; `FetchFailed`."""
        ...

    def punish(self, key: bytes, reason: str, points: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Where snapshots are kept, how often one is made, and how far behind one is asked for."""

    files: snapshots.Files
    interval: int
    behind: int
    aside: Callable[[Callable[[], None]], Awaitable[None]]
    """Runs what writes the file; in a pod, on a thread."""


class ChainService:
    def __init__(
        self,
        chain: Chain,
        *,
        pool: Pool,
        votes: VotePool,
        signer: Signer | None,
        net: Net,
        clock: Clock,
        genesis_hash: bytes,
        allow_solo: bool,
        snapshots: Snapshots | None,
    ) -> None:
        """``signer`` is None for a node that only follows. Set `moved` of ``chain`` to our `head_moved`."""
        self.chain = chain
        self.genesis_hash = genesis_hash
        self._pool = pool
        self._votes = votes
        self._signer = signer
        self._net = net
        self._clock = clock
        self._allow_solo = allow_solo
        self._snapshots = snapshots
        self._snapshot_height = max(snapshots.files.heights(), default=0) if snapshots else 0
        self._changed = asyncio.Event()
        self._sync_wanted = asyncio.Event()
        self._tried_slot = 0
        self._is_draining = False
        self._blocks_made = 0
        self._turns_missed = 0

    # What others ask.

    def submit(self, envelope: bytes) -> bytes:
        return self._pool.submit(envelope)

    def submit_many(self, envelopes: Iterable[bytes]) -> list[bytes | InvalidTx]:
        return self._pool.submit_many(envelopes)

    def pending_nonce(self, address: str) -> int:
        return self._pool.pending_nonce(address)

    def status(self, tx_id: bytes) -> TxStatus:
        place = self.chain.store.find_tx(tx_id)
        if place is None:
            return TxStatus(TxState.PENDING if tx_id in self._pool else TxState.UNKNOWN)
        outcomes = self.chain.store.outcomes(place.height)
        assert outcomes is not None
        receipt = outcomes.receipts[place.index]
        state = TxState.FAILED if receipt.status else TxState.SUCCEEDED
        final = place.height <= self.chain.final.height
        return TxStatus(state, place.height, place.index, receipt.error_code, final)

    def tip(self) -> Tip:
        head, params = self.chain.head, self.chain.chain
        return Tip(
            height=head.height,
            block_id=self.chain.head_id,
            timestamp_ms=head.timestamp_ms,
            finalized_height=self.chain.final.height,
            finalized_id=self.chain.final_id,
            justified_height=validators.get_consensus(self.chain.state).justified.height,
            genesis_hash=self.genesis_hash,
            chain_id=params.chain_id,
            base_fee=supply.get_base_fee(self.chain.state, params.initial_base_fee),
        )

    def block_at(self, height: int) -> bytes | None:
        """The encoded block."""
        return self.chain.store.block_bytes(height)

    def header_at(self, height: int) -> Header | None:
        return self.chain.store.block(height).header if self.chain.store.block_bytes(height) is not None else None

    def height_of(self, block_id: bytes) -> int | None:
        return self.chain.store.height_of(block_id)

    def reading(self, strength: Strength = Strength.HEAD) -> Reading:
        return self.chain.reading() if strength is Strength.HEAD else self.chain.final_reading()

    def prove(self, table: str, key: bytes, strength: Strength = Strength.HEAD) -> StateProof:
        """A row, or its absence; InvalidRecord for an unknown table or a key that is not one of its."""
        found: Table[Any, Any] | None = self.chain.registry.tables.get(table)
        if found is None:
            raise InvalidRecord("state.unknown_table", table=table)
        path = found.path(found.decode_key(key), key)
        header = self.chain.head if strength is Strength.HEAD else self.chain.final
        tree = self.chain.tree_at(header.height)
        assert tree is not None
        view = self.chain.state if strength is Strength.HEAD else self.chain.final_view()
        return StateProof(header.height, tree.root, view.row(table, key), tree.prove(path))

    async def events(self, after: int, strength: Strength) -> AsyncIterator[Committed | Reverted]:
        """Every block above ``after`` in order, and what comes, until the reader stops; `HistoryPruned`."""
        told: list[tuple[int, bytes]] = []
        """What was told of heights that may still change."""
        height = after
        while True:
            changed, base = self._changed, self.chain.store.base_height()
            if base and height < base:
                raise HistoryPruned(base)
            while told and not self._stands(*told[-1]):
                height = told.pop()[0] - 1
                yield Reverted(height + 1)
            limit = self.chain.head.height if strength is Strength.HEAD else self.chain.final.height
            if height >= limit:
                await changed.wait()
                continue
            committed = self.committed(height + 1)
            height += 1
            told = [each for each in told if each[0] > self.chain.final.height] + [(height, committed.block_id)]
            yield committed

    def committed(self, height: int) -> Committed:
        """What the block at a kept height told."""
        store = self.chain.store
        outcomes, block = store.outcomes(height), store.block(height)
        assert outcomes is not None
        told = tuple(
            TxOutcome(
                tx_id=receipt.tx_id,
                index=receipt.index,
                call=envelope.payload.call,
                sender=envelope.payload.from_,
                status=receipt.status,
                error_code=receipt.error_code,
                events=receipt.events,
            )
            for envelope, receipt in zip(block.body.transactions, outcomes.receipts, strict=True)
        )
        return Committed(height, outcomes.block_id, outcomes.timestamp_ms, told, outcomes.events)

    def facts(self) -> Facts:
        signer, memory = self._signer, self._signer.memory if self._signer else None
        state, params = self.chain.state, self.chain.chain
        members = validators.get_set(state, (self.chain.head.height + 1) // params.epoch_blocks).members
        own = signer.public_key if signer else b""
        voted = [
            height
            for height, record in state.items(validators.CHECKPOINTS)
            if any(own in link.voters for link in record.links)
        ]
        return Facts(
            height=self.chain.head.height,
            finalized_height=self.chain.final.height,
            justified_height=validators.get_consensus(state).justified.height,
            timestamp_ms=self.chain.head.timestamp_ms,
            in_sync=self.is_in_sync(),
            peers=len(self._net.tips()),
            pool=len(self._pool),
            signer=signer.state if signer else SignerState.OFF,
            sign_floor=memory.slot if memory else 0,
            vote_floor=memory.target_height if memory else 0,
            fencing_epoch=memory.fencing_epoch if memory else 0,
            is_member=any(member.id == own for member in members),
            last_vote_height=max(voted, default=0),
            blocks_made=self._blocks_made,
            turns_missed=self._turns_missed,
        )

    def is_in_sync(self) -> bool:
        """Whether nobody that we hear is ahead; hearing nobody counts only where one may be alone."""
        tips = self._net.tips()
        if not tips:
            return self._may_be_alone()
        return sync.is_in_sync(self.chain.head.height, tips)

    # What gossip brings.

    def take_block(self, data: bytes) -> tuple[Block, Standing]:
        """Offer a block from a peer, and say what became of it; `InvalidBlock` if it breaks a rule."""
        block = decode_block(data, size_max=self.chain.chain.block_bytes_max + BODY_SLACK_BYTES)
        standing = self.chain.add(block, now_ms=self._clock.now_ms())
        if standing in (Standing.HEAD, Standing.SIDE, Standing.ORPHAN):
            self._note_proposal(block)
        return block, standing

    def take_vote(self, vote: Attestation) -> bool:
        """Keep a vote from a peer; whether it was new."""
        if self._signer is not None and self._signer.state is SignerState.WAITING:
            self._watch_vote(vote)
        return self._votes.add_vote(vote, self.chain.state, self.chain.head.height)

    def take_evidence(self, evidence: Evidence) -> bool:
        return self._votes.add_evidence(evidence)

    def heard_tip(self) -> None:
        """A peer has come or has a new head: see whether we lack it."""
        if sync.choose_peer(self._net.tips(), self.chain.has, above=self.chain.final.height):
            self._sync_wanted.set()

    def pending(self) -> tuple[list[Attestation], list[Evidence]]:
        """Votes and evidence that a peer who just came should hear of."""
        return self._votes.votes_for_block(self.chain.state), self._votes.all_evidence()

    def head_moved(self, move: Move) -> None:
        """Told by the chain after each change."""
        undone = [codec.encode(tx) for node in reversed(move.undone) for tx in node.block.body.transactions]
        touched = (*move.undone, *move.added)
        senders = sorted({tx.payload.from_ for node in touched for tx in node.block.body.transactions})
        self._pool.head_moved(undone=undone, senders=senders)
        self._votes.prune(self.chain.state)
        if move.undone:
            log.info("switched branch", depth=len(move.undone), height=self.chain.head.height)
        self._vote()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # What it does by itself.

    async def run(self) -> None:
        """Make blocks and catch up until cancelled; a failing disk ends it with `StoreError`."""
        async with asyncio.TaskGroup() as tasks:
            if self._signer is not None:
                tasks.create_task(self._take_turns(self._signer))
            tasks.create_task(self._catch_up())
            if self._snapshots is not None:
                tasks.create_task(self._make_snapshots(self._snapshots))

    @property
    def is_draining(self) -> bool:
        return self._is_draining

    async def drain(self) -> None:
        """Let a turn that has begun end, then sign nothing more."""
        self._is_draining = True
        await asyncio.sleep(0)
        if self._signer is not None:
            self._signer.close()

    async def _take_turns(self, signer: Signer) -> None:
        while not self._is_draining:
            now_ms, changed = self._clock.now_ms(), self._changed
            signer.tick(headers.compute_slot(self.chain.origin_ms, now_ms, self.chain.chain))
            turn = self._plan(signer, now_ms)
            if turn is None or turn.at_ms > now_ms:
                look_ms = producer.compute_next_look_ms(self.chain.state, self.chain.chain, now_ms)
                await self._wait(changed, turn.at_ms if turn else look_ms)
                continue
            self._tried_slot = turn.slot
            if now_ms >= turn.until_ms:
                self._turns_missed += 1
                continue
            if self.is_in_sync() and signer.state is SignerState.READY:
                self._produce(signer, turn)
            await asyncio.sleep(0)

    def _plan(self, signer: Signer, now_ms: int) -> Turn | None:
        after = max(self._tried_slot, signer.memory.slot)
        return producer.plan_turn(
            self.chain.state, self.chain.chain, self.chain.head, signer.public_key, now_ms=now_ms, after_slot=after
        )

    async def _wait(self, changed: asyncio.Event, until_ms: int) -> None:
        """Until the head changes or the time has come."""
        left_s = max(0.001, (until_ms - self._clock.now_ms()) / 1000)
        try:
            async with asyncio.timeout(left_s):
                await changed.wait()
        except TimeoutError:
            return

    def _produce(self, signer: Signer, turn: Turn) -> None:
        """Build, sign, keep and publish the block of ``turn``."""
        chain, params, head = self.chain, self.chain.chain, self.chain.head
        offered = self._pool.select(bytes_max=params.block_bytes_max // 2, count_max=params.block_txs_max)
        proposal = propose_block(
            chain.state,
            head,
            schedule.order(offered),
            timestamp_ms=max(self._clock.now_ms(), head.timestamp_ms + 1),
            proposer=signer.public_key,
            attestations=self._votes.votes_for_block(chain.state),
            evidence=self._votes.evidence_for_block(chain.state),
            chain=params,
            registry=chain.registry,
            check_proof=chain.check_proof,
        )
        block_id = Block(proposal.header, proposal.body, None).id
        try:
            signature = signer.sign_block(turn.slot, block_id)
        except SignerRefused as refused:
            log.warning("block not signed", slot=turn.slot, code=refused.code, **refused.facts)
            return
        block = Block(proposal.header, proposal.body, signature)
        chain.add_own(block, proposal.applied)
        self._blocks_made += 1
        self._note_proposal(block)
        self._net.publish_block(codec.encode(block), block_id, block.header.height)
        for tx, reason in proposal.left_out:
            if reason.code != "tx.gas_limit":
                self._pool.drop(tx.id)

    def _vote(self) -> None:
        """Vote for the newest checkpoint, once, while in sync."""
        signer, params = self._signer, self.chain.chain
        if signer is None or self._is_draining or signer.state is not SignerState.READY or not self.is_in_sync():
            return
        target = self.chain.head.height // params.macro_interval * params.macro_interval
        justified = validators.get_consensus(self.chain.state).justified
        if target <= max(signer.memory.target_height, justified.height):
            return
        held = validators.get_set(self.chain.state, target // params.epoch_blocks)
        if all(member.id != signer.public_key for member in held.members):
            return
        try:
            vote = make_vote(
                self.chain.state,
                params,
                validator=signer.public_key,
                target_height=target,
                target_id=self.chain.id_at(target),
                sign=lambda source, height, digest: signer.sign_vote(
                    source_height=source, target_height=height, digest=digest
                ),
            )
        except SignerRefused as refused:
            log.warning("vote not signed", target=target, code=refused.code, **refused.facts)
            return
        self._votes.add_vote(vote, self.chain.state, self.chain.head.height)
        self._net.publish_votes([vote])

    def _note_proposal(self, block: Block) -> None:
        header = block.header
        if self._signer is not None:
            self._signer.saw_block(header.proposer, header.slot)
        assert block.leader_sig is not None
        known = len(self._votes.all_evidence())
        self._votes.add_proposal(SignedHeader(header, block.leader_sig))
        for vote in block.body.attestations:
            self._watch_vote(vote)
        found = self._votes.all_evidence()[known:]
        if found:
            log.warning("equivocation", proposer=header.proposer.hex(), slot=header.slot)
            self._net.publish_evidence(found)

    def _watch_vote(self, vote: Attestation) -> None:
        """During the vigil: is it ours, and for a block younger than our start?"""
        signer = self._signer
        if signer is None or vote.validator != signer.public_key:
            return
        target = self.chain.store.height_of(vote.target_hash)
        slot = 0 if target is None else self.chain.store.block(target).header.slot
        signer.saw_vote(
            vote.validator, source_height=vote.source_height, target_height=vote.target_height, target_slot=slot
        )

    def _may_be_alone(self) -> bool:
        signer, params = self._signer, self.chain.chain
        if self._allow_solo:
            return True
        held = validators.get_set(self.chain.state, (self.chain.head.height + 1) // params.epoch_blocks)
        return signer is not None and [member.id for member in held.members] == [signer.public_key]

    async def _make_snapshots(self, kept: Snapshots) -> None:
        while True:
            changed = self._changed
            if snapshots.is_due(self.chain.final.height, self._snapshot_height, kept.interval):
                await self._make_snapshot(kept)
            await changed.wait()

    async def _make_snapshot(self, kept: Snapshots) -> None:
        """Write one down; its rows are in memory for that long and no longer."""
        made = snapshots.make_snapshot(self.chain)
        self._snapshot_height = made.block.header.height
        await kept.aside(lambda: kept.files.write(made, self.chain.registry))
        log.info("snapshot", height=self._snapshot_height)

    async def _leap(self, peer: PeerTip, kept: Snapshots) -> None:
        """Start over from a peer's snapshot if it is to be believed; else blocks will do."""
        try:
            snapshots.adopt(self.chain, await self._net.fetch_snapshot(peer.key))
        except (FetchFailed, snapshots.SnapshotRefused) as failed:
            log.info("no snapshot", peer=peer.key.hex()[:12], reason=str(failed))
            return
        log.info("began at a snapshot", height=self.chain.head.height)
        self._snapshot_height = self.chain.head.height
        self.head_moved(Move((), ()))

    async def _catch_up(self) -> None:
        while True:
            await self._sync_wanted.wait()
            await asyncio.sleep(SYNC_GRACE_MS / 1000)
            self._sync_wanted.clear()
            asked: set[bytes] = set()
            """Whose snapshot was asked for in this round."""
            while True:
                peer = sync.choose_peer(self._net.tips(), self.chain.has, above=self.chain.final.height)
                if peer is None:
                    break
                kept = self._snapshots
                if kept is not None and peer.height - self.chain.head.height > kept.behind and peer.key not in asked:
                    asked.add(peer.key)
                    await self._leap(peer, kept)
                if not await self._fetch(peer):
                    self._net.settle_tip(peer.key, self.chain.head.height, self.chain.head_id)

    async def _fetch(self, peer: PeerTip) -> bool:
        """Take the next blocks from a peer; whether there was anything new."""
        chain = self.chain
        locator = sync.make_locator(chain.head.height, chain.store.base_height(), chain.id_at)
        try:
            blocks = await self._net.fetch_blocks(peer.key, locator, sync.BLOCKS_MAX)
        except FetchFailed as failed:
            log.info("sync failed", peer=peer.key.hex()[:12], reason=str(failed))
            return False
        found = False
        for data in blocks:
            try:
                _, standing = self.take_block(data)
            except InvalidBlock as refused:
                log.warning("peer sent a bad block", peer=peer.key.hex()[:12], code=refused.code, **refused.facts)
                self._net.punish(peer.key, refused.code, 20 if refused.code == "block.timestamp" else 100)
                return False
            found = found or standing in (Standing.HEAD, Standing.SIDE)
            await asyncio.sleep(0)
        return found

    def _stands(self, height: int, block_id: bytes) -> bool:
        return height <= self.chain.head.height and self.chain.id_at(height) == block_id


def compute_gas_max(chain: Chain) -> int:
    return get_gas_limit(chain.state, chain.chain)
