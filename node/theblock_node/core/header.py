"""Whether a header may stand on its parent, and who may seal the next one.

Reads the validator set, the checkpoints and the fees from the state after the parent, and asks `consensus`.
Cheap checks come first; the signature comes last.
"""

from __future__ import annotations

from theblock_node.core import crypto
from theblock_node.core.block import MAGIC, Header, block_id, check_unused
from theblock_node.core.consensus import leader
from theblock_node.core.domains import supply, validators
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.params import ChainParams
from theblock_node.core.state import View

VERSION = 1


def compute_slot(origin_ms: int, timestamp_ms: int, chain: ChainParams) -> int:
    return (timestamp_ms - origin_ms) // chain.block_time_ms


def slot_start_ms(origin_ms: int, slot: int, chain: ChainParams) -> int:
    return origin_ms + slot * chain.block_time_ms


def get_proposers(view: View, chain: ChainParams, height: int, slot: int) -> tuple[bytes, bytes | None]:
    """(leader, second in line) of a slot for the block at ``height``; ``view`` is the state after its parent."""
    epoch = height // chain.epoch_blocks
    held = validators.get_set(view, epoch)
    weights = held.weights()
    first = leader.draw_leader(held.beacon, epoch, slot, weights)
    return first, leader.draw_second(held.beacon, epoch, slot, weights)


def compute_weight(view: View, chain: ChainParams, header: Header) -> int:
    """What the block adds to its chain: more for the leader's than for the second's."""
    first, _ = get_proposers(view, chain, header.height, header.slot)
    return leader.LEADER_WEIGHT if header.proposer == first else leader.SECOND_WEIGHT


def check_header(
    header: Header, signature: bytes | None, parent: Header, view: View, chain: ChainParams, *, now_ms: int
) -> None:
    """Refuse a header that may not follow ``parent``, whose state is ``view``."""
    if header.magic != MAGIC or header.version != VERSION or header.chain_id != chain.chain_id:
        raise InvalidBlock("block.header", magic=header.magic, version=header.version, chain_id=header.chain_id)
    if header.parent != block_id(parent) or header.height != parent.height + 1:
        raise InvalidBlock("block.prev_hash", height=header.height)
    origin_ms = supply.get_origin_ms(view)
    if header.timestamp_ms > now_ms + chain.future_ms_max:
        raise InvalidBlock("block.timestamp", reason="in the future", timestamp_ms=header.timestamp_ms, now_ms=now_ms)
    if header.timestamp_ms <= parent.timestamp_ms or header.slot <= parent.slot:
        raise InvalidBlock("block.timestamp", reason="not after its parent", timestamp_ms=header.timestamp_ms)
    if header.slot != compute_slot(origin_ms, header.timestamp_ms, chain):
        raise InvalidBlock("block.timestamp", reason="not in its slot", slot=header.slot)
    justified = validators.get_consensus(view).justified
    if (header.checkpoint_height, header.checkpoint_hash) != (justified.height, justified.hash):
        raise InvalidBlock("block.checkpoint", height=header.checkpoint_height, expected=justified.height)
    if header.base_fee != supply.get_base_fee(view, chain.initial_base_fee):
        raise InvalidBlock("block.header", field="base_fee", base_fee=header.base_fee)
    check_unused(header)
    _check_proposer(header, view, chain, origin_ms)
    if signature is None or not crypto.verify(header.proposer, block_id(header), signature):
        raise InvalidBlock("block.leader_sig", proposer=header.proposer.hex())


def _check_proposer(header: Header, view: View, chain: ChainParams, origin_ms: int) -> None:
    first, second = get_proposers(view, chain, header.height, header.slot)
    if header.proposer == first:
        return
    if header.proposer != second:
        raise InvalidBlock("block.leader", proposer=header.proposer.hex(), expected=first.hex())
    into_slot = header.timestamp_ms - slot_start_ms(origin_ms, header.slot, chain)
    if into_slot < chain.leader_timeout_ms:
        raise InvalidBlock("block.leader", reason="the second in line came too early", into_slot_ms=into_slot)
