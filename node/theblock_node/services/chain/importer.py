"""The chain in memory and on disk: its head, its unfinished branches, and how a block joins.

The one owner of the state. Everything is plain and synchronous: a call ends with the state, the store and the
readers' view at one block or at another, never between. A branch that would undo a final block is refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from theblock_node.core import codec, crypto, merkle
from theblock_node.core import header as headers
from theblock_node.core.block import Attestation, Block, Header, TxEvent
from theblock_node.core.consensus import leader
from theblock_node.core.consensus.fork_choice import TipMeta
from theblock_node.core.domain import CheckProof, Event, Reading, Registry
from theblock_node.core.domains import supply, validators
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.params import ChainParams
from theblock_node.core.proofs import bundle
from theblock_node.core.state import Changes, State, Table
from theblock_node.core.transition import Applied, apply_block
from theblock_node.core.tx import CheckedTx
from theblock_node.store.chain import ChainStore, Outcomes, Step
from theblock_node.store.engine import StoreError

K = TypeVar("K")
V = TypeVar("V")
SIDE_MAX = 1024
ORPHANS_MAX = 32
INVALID_MAX = 1024
UNDO_KEPT = 64
"""Undo records kept below the final block, for a look at what was."""


class Standing(Enum):
    """What became of a block that was offered."""

    KNOWN = "known"
    ORPHAN = "orphan"
    """Its parent is missing; it waits."""
    SIDE = "side"
    """On a branch that does not win."""
    HEAD = "head"
    """The head is now this block or one that builds on it."""
    STALE = "stale"
    """Below what is final."""


@dataclass(frozen=True, slots=True)
class Node:
    """A block above the final one."""

    block: Block
    id: bytes
    weight: int
    """Of its branch, counted from where this process began."""
    changes: Changes | None
    """None on a side branch."""

    @property
    def header(self) -> Header:
        return self.block.header

    def tip(self) -> TipMeta:
        return TipMeta(self.header.height, self.weight, self.id, self.header.checkpoint_height)


@dataclass(frozen=True, slots=True)
class Move:
    """How the head moved: blocks taken back, newest first, and blocks added, oldest first."""

    undone: tuple[Node, ...]
    added: tuple[Node, ...]


class OlderView:
    """The state as it was before some blocks: their undo records laid over the head's state."""

    def __init__(self, state: State, undone: Iterable[Changes]) -> None:
        """``undone`` newest first."""
        self._state = state
        self._before: dict[str, dict[bytes, bytes | None]] = {}
        for changes in undone:
            for row in changes.rows:
                self._before.setdefault(row.table, {})[row.key] = row.before

    def get(self, table: Table[K, V], key: K) -> V | None:
        encoded = table.encode_key(key)
        rows = self._before.get(table.name, {})
        if encoded not in rows:
            return self._state.get(table, key)
        return _decode(table, rows[encoded])

    def items(self, table: Table[K, V]) -> list[tuple[K, V]]:
        rows: dict[Any, V] = dict(self._state.items(table))
        for encoded, data in self._before.get(table.name, {}).items():
            key = table.decode_key(encoded)
            value = _decode(table, data)
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return sorted(rows.items(), key=lambda row: row[0])

    def row(self, table: str, key: bytes) -> bytes | None:
        rows = self._before.get(table, {})
        return rows[key] if key in rows else self._state.row(table, key)

    def rows(self) -> Iterable[tuple[str, bytes, bytes]]:
        """Every row by table and key."""
        joined = {(table, key): value for table, key, value in self._state.rows()}
        for table, rows in self._before.items():
            for key, value in rows.items():
                if value is None:
                    joined.pop((table, key), None)
                else:
                    joined[table, key] = value
        return [(table, key, value) for (table, key), value in sorted(joined.items())]


def _decode(table: Table[Any, V], data: bytes | None) -> V | None:
    return None if data is None else codec.decode(table.value_type, data)


class Chain:
    def __init__(
        self,
        store: ChainStore,
        state: State,
        *,
        chain: ChainParams,
        registry: Registry,
        is_verified: Callable[[CheckedTx], bool] = lambda _tx: False,
        check_proof: CheckProof = bundle.verify,
        moved: Callable[[Move], None] = lambda _move: None,
    ) -> None:
        self.store = store
        self.check_proof = check_proof
        self.state = state
        self.chain = chain
        self.registry = registry
        self._is_verified = is_verified
        self._moved = moved
        self._links: list[Node] = []
        """Blocks above the final one, oldest first; the last is the head."""
        self._trees: dict[int, merkle.Tree] = {}
        """State tree after the final block and each above."""
        self._side: OrderedDict[bytes, Node] = OrderedDict()
        self._orphans: OrderedDict[bytes, Block] = OrderedDict()
        self._invalid: OrderedDict[bytes, str] = OrderedDict()
        self._final_block = store.block(store.base_height())
        self._load()

    @property
    def head(self) -> Header:
        return self._links[-1].header if self._links else self._final_block.header

    @property
    def head_id(self) -> bytes:
        return self._links[-1].id if self._links else self._final_block.id

    @property
    def final(self) -> Header:
        """The last block that cannot be undone any more."""
        return self._final_block.header

    @property
    def final_id(self) -> bytes:
        return self._final_block.id

    @property
    def origin_ms(self) -> int:
        return supply.get_origin_ms(self.state)

    @property
    def orphans(self) -> list[Block]:
        return list(self._orphans.values())

    def reading(self) -> Reading:
        """The state at the head."""
        return Reading(self.state, self.chain, self.head.height, self.head.timestamp_ms)

    def final_view(self) -> OlderView:
        return OlderView(self.state, [_changes(node) for node in reversed(self._links)])

    def final_reading(self) -> Reading:
        """The state at the last final block."""
        return Reading(self.final_view(), self.chain, self.final.height, self.final.timestamp_ms)

    def tree_at(self, height: int) -> merkle.Tree | None:
        """The state tree after a block that is final or above."""
        return self._trees.get(height)

    def id_at(self, height: int) -> bytes:
        """The id of the chain's own block at a height that is kept."""
        if height == self.head.height:
            return self.head_id
        outcomes = self.store.outcomes(height)
        assert outcomes is not None
        return outcomes.block_id

    def has(self, block_id: bytes) -> bool:
        return block_id in self._side or self.store.height_of(block_id) is not None

    def add(self, block: Block, *, now_ms: int) -> Standing:
        """Take a block from anywhere; `InvalidBlock` if it breaks a rule, `StoreError` if the disk does."""
        block_id = block.id
        if block_id in self._invalid:
            raise InvalidBlock(self._invalid[block_id], block_id=block_id.hex(), reason="known to be invalid")
        if self.has(block_id):
            return Standing.KNOWN
        if block.header.height <= self.final.height:
            return Standing.STALE
        if block.header.parent == self.head_id:
            self._extend(block, block_id, now_ms)
            self._adopt_orphans(block_id, now_ms)
            return Standing.HEAD
        parent = self._find(block.header.parent)
        self._check_seal(block, block_id, now_ms)
        if parent is None:
            self._keep_orphan(block, block_id)
            return Standing.ORPHAN
        if block.header.height != parent.header.height + 1 or block.header.slot <= parent.header.slot:
            raise InvalidBlock("block.header", height=block.header.height, slot=block.header.slot)
        node = Node(block, block_id, parent.weight + self._weigh(block.header), None)
        self._side[block_id] = node
        while len(self._side) > SIDE_MAX:
            self._side.popitem(last=False)
        switched = node.tip().key() > self._head_tip().key() and self._switch(node, now_ms)
        self._adopt_orphans(block_id, now_ms)
        return Standing.HEAD if switched else Standing.SIDE

    def add_own(self, block: Block, applied: Applied) -> None:
        """Take a block that was just built on the head; it is what `propose_block` says it is."""
        assert block.header.parent == self.head_id
        self._commit(block, block.id, applied)

    def restart_at(self, store_head: ChainStore, state: State) -> None:
        """Go on from a store that was begun anew at a snapshot."""
        self.store, self.state = store_head, state
        self._links, self._trees = [], {}
        self._side.clear()
        self._final_block = store_head.block(store_head.base_height())
        self._load()

    def certificate(self, height: int) -> tuple[Attestation, ...]:
        """Votes from kept blocks that finalize the block at ``height``."""
        following = height + self.chain.macro_interval
        votes: list[Attestation] = []
        for above in range(following + 1, self.head.height + 1):
            block = self.store.block(above)
            votes += [
                vote
                for vote in block.body.attestations
                if (vote.source_height, vote.target_height) == (height, following)
            ]
            if above > following + 2 * self.chain.macro_interval:
                break
        return tuple(votes)

    def _load(self) -> None:
        head = self.store.head()
        assert head is not None
        final = max(validators.get_consensus(self.state).finalized.height, self.store.base_height())
        self._final_block = self.store.block(final)
        weight = 0
        for height in range(final + 1, head[0] + 1):
            block, changes = self.store.block(height), self.store.undo(height)
            if changes is None:
                raise StoreError("store.corrupt", reason="missing undo record", height=height)
            weight += self._weigh(block.header)
            self._links.append(Node(block, block.id, weight, changes))
        tree = self.state.tree
        self._trees[head[0]] = tree
        for node in reversed(self._links):
            tree = tree.update({row.path: row.before for row in _changes(node).rows})
            self._trees[node.header.height - 1] = tree

    def _head_tip(self) -> TipMeta:
        if self._links:
            return self._links[-1].tip()
        header = self._final_block.header
        return TipMeta(header.height, 0, self._final_block.id, header.checkpoint_height)

    def _weigh(self, header: Header) -> int:
        """What a block adds to its branch, told from its header alone, so that all nodes weigh all branches alike.

        Only the leader may stamp a block with a time before the timeout, and the set of another branch is unknown.
        """
        into_slot = header.timestamp_ms - headers.slot_start_ms(self.origin_ms, header.slot, self.chain)
        is_timely = into_slot < self.chain.leader_timeout_ms
        return leader.LEADER_WEIGHT if is_timely else leader.SECOND_WEIGHT

    def _extend(self, block: Block, block_id: bytes, now_ms: int) -> None:
        applied = self._judge(block, block_id, self.head, now_ms)
        self._commit(block, block_id, applied)

    def _judge(self, block: Block, block_id: bytes, parent: Header, now_ms: int) -> Applied:
        """What the block does on the state as it is; remembers one that breaks a rule."""
        try:
            headers.check_header(block.header, block.leader_sig, parent, self.state, self.chain, now_ms=now_ms)
            return apply_block(
                self.state,
                parent,
                block,
                chain=self.chain,
                registry=self.registry,
                is_verified=self._is_verified,
                check_proof=self.check_proof,
            )
        except InvalidBlock as refused:
            if refused.code != "block.timestamp":  # A block from the future may be right a little later.
                self._mark_invalid(block_id, refused.code)
            raise

    def _commit(self, block: Block, block_id: bytes, applied: Applied) -> None:
        weight = (self._links[-1].weight if self._links else 0) + self._weigh(block.header)
        node = Node(block, block_id, weight, applied.changes)
        self.store.advance((), [_step(node, applied, self.registry)])
        self.state.commit(applied.changes)
        self._links.append(node)
        self._trees[node.header.height] = self.state.tree
        self._settle()
        self._moved(Move((), (node,)))

    def _check_seal(self, block: Block, block_id: bytes, now_ms: int) -> None:
        """What can be said of a block without the state after its parent; all of it is said again on a switch."""
        header = block.header
        if header.chain_id != self.chain.chain_id:
            raise InvalidBlock("block.header", chain_id=header.chain_id)
        if header.timestamp_ms > now_ms + self.chain.future_ms_max:
            raise InvalidBlock("block.timestamp", reason="in the future", timestamp_ms=header.timestamp_ms)
        if self.state.get(validators.STAKES, header.proposer) is None:
            raise InvalidBlock("block.leader", proposer=header.proposer.hex())
        if block.leader_sig is None or not crypto.verify(header.proposer, block_id, block.leader_sig):
            raise InvalidBlock("block.leader_sig", proposer=header.proposer.hex())

    def _find(self, block_id: bytes) -> Node | None:
        """A block above the final one, or the final one itself."""
        if block_id in self._side:
            return self._side[block_id]
        if block_id == self._final_block.id:
            return Node(self._final_block, block_id, 0, None)
        return next((node for node in self._links if node.id == block_id), None)

    def _switch(self, tip: Node, now_ms: int) -> bool:
        """Make ``tip`` the head; False if its branch turns out invalid, and then nothing has changed."""
        path = [tip]
        while path[-1].header.parent in self._side:
            path.append(self._side[path[-1].header.parent])
        path.reverse()
        ancestor = path[0].header.parent
        at = next((at for at, node in enumerate(self._links) if node.id == ancestor), -1)
        if at < 0 and ancestor != self._final_block.id:
            return False  # It leaves the chain below what is final.
        old = self._links[at + 1 :]
        kept = self._links[: at + 1]
        for node in reversed(old):
            self.state.undo(_changes(node))
        done: list[tuple[Node, Applied]] = []
        parent = kept[-1].header if kept else self._final_block.header
        weight = kept[-1].weight if kept else 0
        try:
            for node in path:
                applied = self._judge(node.block, node.id, parent, now_ms)
                weight += self._weigh(node.header)
                self.state.commit(applied.changes)
                done.append((Node(node.block, node.id, weight, applied.changes), applied))
                parent = node.header
            steps = [_step(node, applied, self.registry) for node, applied in done]
            self.store.advance([(node.header.height, _changes(node)) for node in reversed(old)], steps)
        except (InvalidBlock, StoreError) as failed:
            for _, applied in reversed(done):
                self.state.undo(applied.changes)
            for node in old:
                self.state.commit(_changes(node))
            if isinstance(failed, StoreError):
                raise
            self._drop_branch([node.id for node in path[len(done) :]])
            return False
        added = [node for node, _ in done]
        self._links = [*kept, *added]
        for node in added:
            self._side.pop(node.id, None)
        for node in old:
            self._side[node.id] = Node(node.block, node.id, node.weight, None)
        self._rebuild_trees()
        self._settle()
        self._moved(Move(tuple(reversed(old)), tuple(added)))
        return True

    def _rebuild_trees(self) -> None:
        tree = self.state.tree
        self._trees = {self.head.height: tree}
        for node in reversed(self._links):
            tree = tree.update({row.path: row.before for row in _changes(node).rows})
            self._trees[node.header.height - 1] = tree

    def _settle(self) -> None:
        """Take note of what the new head made final."""
        final = validators.get_consensus(self.state).finalized.height
        before = self.final.height
        if final <= before:
            return
        passed = [node for node in self._links if node.header.height <= final]
        self._links = self._links[len(passed) :]
        self._final_block = passed[-1].block
        self._trees = {height: tree for height, tree in self._trees.items() if height >= final}
        for block_id in [key for key, node in self._side.items() if node.header.height <= final]:
            del self._side[block_id]
        for block_id in [key for key, block in self._orphans.items() if block.header.height <= final]:
            del self._orphans[block_id]
        if final // UNDO_KEPT > before // UNDO_KEPT:
            self.store.forget_undo(max(0, final - UNDO_KEPT))

    def _keep_orphan(self, block: Block, block_id: bytes) -> None:
        self._orphans[block_id] = block
        while len(self._orphans) > ORPHANS_MAX:
            self._orphans.popitem(last=False)

    def _adopt_orphans(self, parent_id: bytes, now_ms: int) -> None:
        """Offer again what waited for a block; what is wrong with a child is no fault of who sent its parent."""
        for block_id, block in list(self._orphans.items()):
            if block.header.parent == parent_id and self._orphans.pop(block_id, None) is not None:
                try:
                    self.add(block, now_ms=now_ms)
                except InvalidBlock:
                    continue

    def _drop_branch(self, doomed: list[bytes]) -> None:
        """Forget the first of ``doomed``, which is invalid, and all that builds on it."""
        gone = set(doomed[:1])
        for block_id, node in list(self._side.items()):
            if block_id in gone or node.header.parent in gone:
                gone.add(block_id)
                del self._side[block_id]
                self._mark_invalid(block_id, "block.prev_hash")

    def _mark_invalid(self, block_id: bytes, code: str) -> None:
        self._invalid.setdefault(block_id, code)
        if len(self._invalid) > INVALID_MAX:
            self._invalid.popitem(last=False)


def _changes(node: Node) -> Changes:
    assert node.changes is not None, "blocks of the chain itself keep their undo record"
    return node.changes


def _step(node: Node, applied: Applied, registry: Registry) -> Step:
    events = tuple(_tell(event) for event in applied.block_events)
    outcomes = Outcomes(1, node.id, node.header.timestamp_ms, applied.receipts, events)
    return Step(node.block, node.id, tuple(tx.id for tx in applied.txs), applied.changes, outcomes)


def _tell(event: Event) -> TxEvent:
    return TxEvent(event.name, codec.encode(event.record))


def genesis_step(block: Block) -> Step:
    return Step(block, block.id, (), Changes(()), Outcomes(1, block.id, block.header.timestamp_ms, (), ()))
