"""Who proposes and votes in an epoch: chosen by the last block before it, with the epoch's beacon.

The beacon is a chain of hashes: of the beacon before it and the id of the last block but one of the epoch before,
so nobody knows it when the stakes that it draws from can still be moved.
"""

from __future__ import annotations

from collections.abc import Iterable

from theblock_node.core import crypto
from theblock_node.core.consensus import churn
from theblock_node.core.domain import Context
from theblock_node.core.domains.validators import records as r
from theblock_node.core.domains.validators.records import Member, Role, ValidatorSet, domain
from theblock_node.core.numeric import bps
from theblock_node.core.state import View

SETS_KEPT = 4
"""Epochs whose sets stay in the state besides the next."""


@domain.end_block
def turn_epoch(ctx: Context) -> None:
    """The last block of an epoch fixes the set and the beacon of the next."""
    if (ctx.height + 1) % ctx.chain.epoch_blocks:
        return
    epoch = (ctx.height + 1) // ctx.chain.epoch_blocks
    before = r.get_set(ctx.draft, epoch - 1)
    beacon = crypto.blake3(b"TBBEACON" + before.beacon + ctx.parent)
    members = _next_members(ctx, before, beacon)
    ctx.draft.put(r.SETS, epoch, ValidatorSet(1, epoch, beacon, members))
    oldest_needed = min(epoch - SETS_KEPT, r.get_consensus(ctx.draft).finalized.height // ctx.chain.epoch_blocks)
    for old, _ in ctx.draft.items(r.SETS):
        if old < oldest_needed:
            ctx.draft.delete(r.SETS, old)
    if members != before.members:
        ctx.emit(r.SetChanged(epoch, members))


def choose_members(view: View, height: int) -> tuple[Member, ...]:
    """The heaviest validator bonds that are neither jailed nor tombstoned, by ascending id."""
    members = [
        Member(validator, stake.role(Role.VALIDATOR).bonded)
        for validator, stake in view.items(r.STAKES)
        if stake.role(Role.VALIDATOR).bonded and _is_standing(stake, height)
    ]
    return _heaviest(members)


def _next_members(ctx: Context, before: ValidatorSet, beacon: bytes) -> tuple[Member, ...]:
    """The members wanted, as far as the limit on churn lets them change at once; those before, if nobody is wanted."""
    wanted = {member.id: member.weight for member in choose_members(ctx.draft, ctx.height)}
    if not wanted:
        return before.members
    standing = {
        member.id: member.weight
        for member in before.members
        if (stake := ctx.draft.get(r.STAKES, member.id)) is not None and _is_standing(stake, ctx.height)
    }
    limit = bps(sum(standing.values()), ctx.param(r.CHURN_LIMIT_BPS))
    weights = churn.limit(standing, wanted, limit, seed=beacon)
    return _heaviest([Member(validator, weight) for validator, weight in weights.items()])


def _heaviest(members: Iterable[Member]) -> tuple[Member, ...]:
    """As many as a set may have, by ascending id."""
    heaviest = sorted(members, key=lambda member: (-member.weight, member.id))[: r.VALIDATORS_MAX]
    return tuple(sorted(heaviest, key=lambda member: member.id))


def _is_standing(stake: r.Stake, height: int) -> bool:
    return not stake.tombstoned and stake.jailed_until <= height
