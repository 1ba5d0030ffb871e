"""Making snapshots of final states, handing them out in parts, and starting over from one that a peer sent.

A peer's snapshot is believed for its certificate alone: votes of two thirds of the validator set that this node
already knows make its block final, the block's header names the state's root, and the rows have that root.
"""

from __future__ import annotations

from typing import Protocol

from theblock_node.core.block import Attestation, Block
from theblock_node.core.domain import Registry
from theblock_node.core.domains import validators
from theblock_node.core.state import Changes
from theblock_node.services.chain.importer import Chain, genesis_step
from theblock_node.services.chain.votes import is_certificate
from theblock_node.store import snapshots
from theblock_node.store.chain import Outcomes, Step
from theblock_node.store.engine import StoreError
from theblock_node.store.snapshots import Row, Snapshot

PART_BYTES = 1024 * 1024
SIZE_MAX = 512 * 2**20


class Files(Protocol):
    """Where snapshots are kept."""

    def heights(self) -> list[int]: ...

    def read(self, height: int) -> bytes | None: ...

    def write(self, snapshot: Snapshot, registry: Registry) -> None: ...


class SnapshotRefused(Exception):
    """A peer's snapshot is not to be believed; the text says why."""


def make_snapshot(chain: Chain) -> Snapshot:
    """The last final state, with what proves that it is final."""
    rows = tuple(Row(table, key, value) for table, key, value in chain.final_view().rows())
    return Snapshot(chain.store.block(chain.final.height), chain.certificate(chain.final.height), rows)


def is_due(final: int, newest: int, interval: int) -> bool:
    """Whether the final height has passed a multiple of ``interval`` since the newest snapshot."""
    return final // interval > newest // interval


def cut(data: bytes, index: int) -> bytes:
    return data[index * PART_BYTES : (index + 1) * PART_BYTES]


def check_certificate(chain: Chain, block: Block, certificate: tuple[Attestation, ...]) -> None:
    """Refuse a block that two thirds of a validator set known here did not make final."""
    sets = [held for _, held in chain.state.items(validators.SETS)]
    height = block.header.height
    for held in sets:
        weights = dict(held.weights())
        if is_certificate(certificate, height=height, block_id=block.id, chain=chain.chain, weights=weights):
            return
    raise SnapshotRefused("its certificate is not of a validator set that is known here")


def adopt(chain: Chain, data: bytes) -> None:
    """Begin the store anew at the snapshot in ``data``; nothing is changed if it is refused."""
    try:
        snapshot = snapshots.decode(data)
        check_certificate(chain, snapshot.block, snapshot.certificate)
        state, rows = snapshots.restore(snapshot, chain.registry)
    except StoreError as refused:
        raise SnapshotRefused(refused.code) from refused
    if snapshot.block.header.height <= chain.head.height:
        raise SnapshotRefused("it is older than our head")
    block = snapshot.block
    outcomes = Outcomes(1, block.id, block.header.timestamp_ms, (), ())
    base = Step(block, block.id, (), Changes(()), outcomes)
    chain.store.begin(genesis_step(chain.store.block(0)), base=base, rows=rows)
    chain.restart_at(chain.store, state)
