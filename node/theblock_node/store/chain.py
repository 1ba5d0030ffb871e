"""The chain on disk: blocks, outcomes, indexes, undo records and the state's rows.

Each step of the chain (one block more, or a switch to another branch) is one atomic write, the head included, so
after any crash the store is at one block or at the next, never between. The state's tree is not stored: it is
rebuilt from the rows at the start, and its root must be the one in the head's header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from theblock_node.core import codec
from theblock_node.core.block import Block, TxEvent, TxReceipt
from theblock_node.core.numeric import U8, U64, Bytes32, MaxLen
from theblock_node.core.state import Changes, State
from theblock_node.store.engine import Batch, Engine, StoreError

FAMILIES = ("meta", "blocks", "ids", "txs", "outcomes", "undo", "state")
SCHEMA = b"1"
PATH_BYTES = 40


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a block did that is told to readers."""

    version: U8
    block_id: Bytes32
    timestamp_ms: U64
    receipts: Annotated[tuple[TxReceipt, ...], MaxLen(65_536)]
    events: Annotated[tuple[TxEvent, ...], MaxLen(65_536)]
    """Of the block's own hooks."""


@dataclass(frozen=True, slots=True)
class Step:
    """A block that joins the chain."""

    block: Block
    block_id: bytes
    tx_ids: tuple[bytes, ...]
    changes: Changes
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transaction stands."""

    height: int
    index: int


class ChainStore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        self._engine.close()

    def head(self) -> tuple[int, bytes] | None:
        """(height, block id); None in a store that was never begun."""
        data = self._engine.get("meta", b"head")
        if data is None:
            return None
        if self._engine.get("meta", b"schema") != SCHEMA:
            raise StoreError("store.schema", wanted=SCHEMA.decode())
        return struct.unpack(">Q", data[:8])[0], data[8:]

    def base_height(self) -> int:
        """The lowest height from which on every block is kept: 0, or that of the snapshot it began with."""
        data = self._engine.get("meta", b"base")
        return 0 if data is None else int(struct.unpack(">Q", data)[0])

    def genesis_id(self) -> bytes | None:
        return self._engine.get("meta", b"genesis")

    def begin(self, genesis: Step, *, base: Step | None, rows: Iterable[tuple[str, bytes, bytes, bytes]]) -> None:
        """Start anew at the genesis or at a later block, with the (table, key, path, value) rows after it."""
        first = base or genesis
        batch = Batch()
        batch.put("meta", b"schema", SCHEMA)
        batch.put("meta", b"genesis", genesis.block_id)
        batch.put("meta", b"base", _number(first.block.header.height))
        for family in ("state", "blocks", "ids", "txs", "outcomes", "undo"):
            for key, _ in self._engine.iterate(family):
                batch.delete(family, key)
        for table, key, path, value in rows:
            batch.put("state", _row_key(table, key), path + value)
        self._add(batch, genesis)
        if base is not None:
            self._add(batch, base)
        self._set_head(batch, first)
        self._engine.write(batch)

    def load_state(self) -> State:
        """The rows of the head as a state; refuses rows whose root is not the head's."""
        state = State()
        state.load(self._rows())
        head = self.head()
        assert head is not None
        wanted = self.block(head[0]).header.state_root
        if state.root != wanted:
            raise StoreError("store.corrupt", state_root=state.root.hex(), wanted=wanted.hex(), height=head[0])
        return state

    def advance(self, undone: Iterable[tuple[int, Changes]], steps: list[Step]) -> None:
        """Take back ``undone`` (newest first) and add ``steps``, all in one write."""
        batch = Batch()
        for height, changes in undone:
            self._take_back(batch, height, changes)
        for step in steps:
            self._add(batch, step)
            for row in step.changes.rows:
                key = _row_key(row.table, row.key)
                if row.after is None:
                    batch.delete("state", key)
                else:
                    batch.put("state", key, row.path + row.after)
        self._set_head(batch, steps[-1])
        self._engine.write(batch)

    def forget_undo(self, below: int) -> None:
        """Drop undo records of blocks that can no longer be undone."""
        batch = Batch()
        for key, _ in self._engine.iterate("undo", stop=_number(below)):
            batch.delete("undo", key)
        if batch.rows:
            self._engine.write(batch)

    def undo(self, height: int) -> Changes | None:
        data = self._engine.get("undo", _number(height))
        return None if data is None else codec.decode(Changes, data, profile=codec.BLOCK)

    def block_bytes(self, height: int) -> bytes | None:
        return self._engine.get("blocks", _number(height))

    def block(self, height: int) -> Block:
        """The block at a height that is known to be kept."""
        data = self.block_bytes(height)
        if data is None:
            raise StoreError("store.corrupt", reason="missing block", height=height)
        return codec.decode(Block, data, profile=codec.BLOCK)

    def height_of(self, block_id: bytes) -> int | None:
        data = self._engine.get("ids", block_id)
        return None if data is None else int(struct.unpack(">Q", data)[0])

    def outcomes(self, height: int) -> Outcomes | None:
        data = self._engine.get("outcomes", _number(height))
        return None if data is None else codec.decode(Outcomes, data, profile=codec.BLOCK)

    def find_tx(self, tx_id: bytes) -> Place | None:
        data = self._engine.get("txs", tx_id)
        return None if data is None else Place(*struct.unpack(">QI", data))

    def _rows(self) -> Iterator[tuple[str, bytes, bytes, bytes]]:
        for joined, value in self._engine.iterate("state"):
            table, _, key = joined.partition(b"\0")
            yield table.decode(), key, value[:PATH_BYTES], value[PATH_BYTES:]

    def _add(self, batch: Batch, step: Step) -> None:
        height = _number(step.block.header.height)
        batch.put("blocks", height, codec.encode(step.block))
        batch.put("ids", step.block_id, height)
        batch.put("outcomes", height, codec.encode(step.outcomes))
        batch.put("undo", height, codec.encode(step.changes))
        for index, tx_id in enumerate(step.tx_ids):
            batch.put("txs", tx_id, height + struct.pack(">I", index))

    def _take_back(self, batch: Batch, height: int, changes: Changes) -> None:
        outcomes, number = self.outcomes(height), _number(height)
        assert outcomes is not None
        batch.delete("ids", outcomes.block_id)
        for receipt in outcomes.receipts:
            batch.delete("txs", receipt.tx_id)
        for family in ("blocks", "outcomes", "undo"):
            batch.delete(family, number)
        for row in changes.rows:
            key = _row_key(row.table, row.key)
            if row.before is None:
                batch.delete("state", key)
            else:
                batch.put("state", key, row.path + row.before)

    def _set_head(self, batch: Batch, step: Step) -> None:
        batch.put("meta", b"head", _number(step.block.header.height) + step.block_id)


def _number(height: int) -> bytes:
    return struct.pack(">Q", height)


def _row_key(table: str, key: bytes) -> bytes:
    return table.encode() + b"\0" + key
