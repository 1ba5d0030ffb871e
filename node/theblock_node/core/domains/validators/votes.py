"""Votes for checkpoints, counted in the state: what is justified and final on this chain.

A checkpoint is a block whose height is a multiple of the macro interval; its child notes it. A vote counts if its
source is justified here, its target is a later checkpoint of this chain that is not below the final one, its
validator is in the set of the target's epoch and has not voted for that target before. The votes of a link that
reach the threshold justify the target; if it is the next checkpoint, they are the certificate of the source.
"""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core import block as blocks
from theblock_node.core import crypto
from theblock_node.core.block import Attestation
from theblock_node.core.consensus import finality
from theblock_node.core.domain import Context
from theblock_node.core.domains.validators import records as r
from theblock_node.core.domains.validators.records import Checkpoint, CheckpointRecord, Consensus, Link
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.params import ChainParams
from theblock_node.core.state import Draft


def note_checkpoint(draft: Draft, chain: ChainParams, parent_height: int, parent: bytes) -> None:
    """Remember the parent as something to vote for, where it is a checkpoint; the genesis is justified and final."""
    if parent_height % chain.macro_interval == 0:
        draft.put(r.CHECKPOINTS, parent_height, CheckpointRecord(1, parent, parent_height == 0, ()))
    if parent_height == 0:
        genesis = Checkpoint(0, parent)
        draft.put(r.CONSENSUS, None, Consensus(1, genesis, genesis))


def count_attestation(ctx: Context, vote: Attestation) -> None:
    """Take a vote into the state; refuses one that does not stand on this chain."""
    source = ctx.draft.get(r.CHECKPOINTS, vote.source_height)
    target = ctx.draft.get(r.CHECKPOINTS, vote.target_height)
    if source is None or source.hash != vote.source_hash or not source.justified:
        raise InvalidBlock("block.attestation", reason="source is not justified here", height=vote.source_height)
    if target is None or target.hash != vote.target_hash or vote.target_height <= vote.source_height:
        raise InvalidBlock("block.attestation", reason="target is not on this chain", height=vote.target_height)
    weights = dict(r.get_set(ctx.draft, vote.target_height // ctx.chain.epoch_blocks).weights())
    if vote.validator not in weights:
        raise InvalidBlock("block.attestation", reason="not in the set", validator=vote.validator.hex())
    if any(vote.validator in link.voters for link in target.links):
        raise InvalidBlock("block.attestation", reason="counted before", validator=vote.validator.hex())
    if not crypto.verify(vote.validator, blocks.attestation_digest(ctx.chain.chain_id, vote), vote.signature):
        raise InvalidBlock("block.attestation", reason="bad signature", validator=vote.validator.hex())

    voters, links = _with_voter(target.links, vote)
    decided = finality.is_decided(voters, weights)
    justified = target.justified or decided
    ctx.draft.put(r.CHECKPOINTS, vote.target_height, replace(target, links=links, justified=justified))
    if decided and not target.justified:
        _justify(ctx, Checkpoint(vote.target_height, vote.target_hash))
    if decided and vote.target_height == vote.source_height + ctx.chain.macro_interval:
        _finalize(ctx, Checkpoint(vote.source_height, vote.source_hash))


def _with_voter(links: tuple[Link, ...], vote: Attestation) -> tuple[tuple[bytes, ...], tuple[Link, ...]]:
    """(voters of the vote's link, all links) with the vote."""
    at = next((at for at, link in enumerate(links) if link.source_height == vote.source_height), len(links))
    before = links[at].voters if at < len(links) else ()
    voters = (*before, vote.validator)
    return voters, (*links[:at], Link(vote.source_height, voters), *links[at + 1 :])


def _justify(ctx: Context, target: Checkpoint) -> None:
    ctx.emit(r.Justified(target.height, target.hash))
    consensus = r.get_consensus(ctx.draft)
    if target.height > consensus.justified.height:
        ctx.draft.put(r.CONSENSUS, None, replace(consensus, justified=target))


def _finalize(ctx: Context, source: Checkpoint) -> None:
    consensus = r.get_consensus(ctx.draft)
    if source.height <= consensus.finalized.height:
        return
    ctx.draft.put(r.CONSENSUS, None, replace(consensus, finalized=source))
    ctx.emit(r.Finalized(source.height, source.hash))
    for height, _ in ctx.draft.items(r.CHECKPOINTS):
        if height < source.height:
            ctx.draft.delete(r.CHECKPOINTS, height)
