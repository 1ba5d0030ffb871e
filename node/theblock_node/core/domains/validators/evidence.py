"""Evidence of contradiction: two votes or two proposals of one validator that no honest one would both sign.

It rides in blocks, is kept, and costs the offender a part of its bond and its place for good. One that was
punished, that has nothing to lose, or whose offence is too old is not punished, so nobody can fill blocks with it.
"""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core import block as blocks
from theblock_node.core import crypto
from theblock_node.core.block import Attestation, DoubleProposal, DoubleVote, Evidence
from theblock_node.core.consensus import finality
from theblock_node.core.domain import Context
from theblock_node.core.domains.validators import records as r
from theblock_node.core.domains.validators import stakes
from theblock_node.core.domains.validators.records import EvidenceKind, Role
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.numeric import bps
from theblock_node.core.params import ChainParams
from theblock_node.core.state import View

Offending = tuple[EvidenceKind, bytes, int]
"""(kind, offender, height or slot): what is punished once."""


def punish(ctx: Context, evidence: Evidence, reporter: str) -> None:
    """Check evidence, keep it, and slash and tombstone the offender."""
    offence = check_evidence(ctx.chain, evidence)
    kind, offender, _ = offence
    check_open(ctx.draft, ctx.chain, evidence, ctx.height)
    evidence_id = blocks.evidence_id(evidence)
    ctx.draft.put(r.OFFENCES, offence, r.Offence(1, evidence_id))
    ctx.draft.put(r.EVIDENCE, (kind, offender, evidence_id), r.EvidenceRecord(1, ctx.height, evidence))
    stake = ctx.draft.get(r.STAKES, offender)
    assert stake is not None
    amount = bps(_at_stake(stake), ctx.param(r.SLASH_EQUIVOCATION_BPS))
    slashed = stakes.slash(ctx, offender, Role.VALIDATOR, amount, reporter)
    changed = ctx.draft.get(r.STAKES, offender)
    assert changed is not None
    ctx.draft.put(r.STAKES, offender, replace(changed, tombstoned=True))
    _expel(ctx, offender)
    ctx.emit(r.EquivocationDetected(offender, kind, evidence_id, slashed))
    ctx.emit(r.Tombstoned(offender))


def check_open(view: View, chain: ChainParams, evidence: Evidence, height: int) -> None:
    """Refuse evidence that holds but that the block at ``height`` would not punish."""
    offence = find_offence(evidence)
    offender = offence[1]
    stake = view.get(r.STAKES, offender)
    if stake is None or not _at_stake(stake):
        raise InvalidBlock("evidence.invalid", reason="nothing at stake", validator=offender.hex())
    if stake.tombstoned or view.get(r.OFFENCES, offence) is not None:
        raise InvalidBlock("evidence.dup", validator=offender.hex())
    epochs = height // chain.epoch_blocks - _height_of(evidence) // chain.epoch_blocks
    if epochs > chain.evidence_max_age_epochs:
        raise InvalidBlock("evidence.expired", validator=offender.hex(), epochs=epochs)


def find_offence(evidence: Evidence) -> Offending:
    """What the evidence speaks of, true or not."""
    body = evidence.body
    if isinstance(body, DoubleProposal):
        return EvidenceKind.DOUBLE_PROPOSAL, body.first.header.proposer, body.first.header.slot
    if isinstance(body, DoubleVote):
        return EvidenceKind.DOUBLE_VOTE, body.first.validator, body.first.target_height
    return EvidenceKind.SURROUND_VOTE, body.inner.validator, body.inner.target_height


def check_evidence(chain: ChainParams, evidence: Evidence) -> Offending:
    """The offence that the evidence proves; refuses what proves none."""
    body = evidence.body
    offence = find_offence(evidence)
    if isinstance(body, DoubleProposal):
        is_proven = _is_double_proposal(chain, body)
    elif isinstance(body, DoubleVote):
        contradict = finality.is_double_vote(_span(body.first), _span(body.second))
        is_proven = contradict and _are_signed(chain, body.first, body.second)
    else:
        contradict = finality.is_surround_vote(_span(body.inner), _span(body.outer))
        is_proven = contradict and _are_signed(chain, body.inner, body.outer)
    if not is_proven:
        raise InvalidBlock("evidence.invalid", kind=offence[0].name)
    return offence


def _is_double_proposal(chain: ChainParams, body: DoubleProposal) -> bool:
    first, second = body.first.header, body.second.header
    return (
        (first.proposer, first.slot) == (second.proposer, second.slot)
        and first != second
        and first.chain_id == second.chain_id == chain.chain_id
        and all(
            crypto.verify(one.header.proposer, blocks.block_id(one.header), one.signature)
            for one in (body.first, body.second)
        )
    )


def _are_signed(chain: ChainParams, *votes: Attestation) -> bool:
    """Whether the votes are one validator's, and really."""
    return len({vote.validator for vote in votes}) == 1 and all(
        crypto.verify(vote.validator, blocks.attestation_digest(chain.chain_id, vote), vote.signature) for vote in votes
    )


def _height_of(evidence: Evidence) -> int:
    body = evidence.body
    return body.first.header.height if isinstance(body, DoubleProposal) else find_offence(evidence)[2]


def _at_stake(stake: r.Stake) -> int:
    """What a validator can lose: a bond that is on its way back too."""
    held = stake.role(Role.VALIDATOR)
    return held.bonded + sum(part.amount for part in held.unbonding)


def _expel(ctx: Context, offender: bytes) -> None:
    """Take the offender out of the running set and the next, if that is known; the last member stays."""
    running = ctx.height // ctx.chain.epoch_blocks
    for epoch in (running, running + 1):
        held = ctx.draft.get(r.SETS, epoch)
        if held is None:
            continue
        members = tuple(member for member in held.members if member.id != offender)
        if members and members != held.members:
            ctx.draft.put(r.SETS, epoch, replace(held, members=members))


def _span(vote: Attestation) -> tuple[int, bytes, int, bytes]:
    return vote.source_height, vote.source_hash, vote.target_height, vote.target_hash
