"""Rules on disputes: a doubted credit is frozen until somebody decides."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core.domain import Context
from theblock_node.core.domains import escrow, validators
from theblock_node.core.domains.energy import records as r
from theblock_node.core.domains.energy import rounds, standing
from theblock_node.core.domains.energy.records import domain
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import bps

DISPUTE = "energy/dispute"


@domain.rule(r.FlagDispute)
def flag_dispute(ctx: Context, command: r.FlagDispute) -> None:
    standing.require_trade(ctx)
    credit = ctx.draft.get(r.CREDITS, command.meter_hash)
    if credit is None:
        raise InvalidTx("energy.unknown_reading", meter_hash=command.meter_hash.hex())
    if credit.frozen_by:
        raise InvalidTx("energy.already_open", dispute=credit.frozen_by)
    if ctx.height - credit.created_height > ctx.param(r.DISPUTE_WINDOW):
        raise InvalidTx("energy.dispute_window_closed", created_height=credit.created_height)
    provider = standing.get_provider(ctx, credit.provider_id)
    number = standing.get_totals(ctx.draft).next_dispute
    bond = ctx.param(r.DISPUTE_BOND)
    if bond:
        escrow.hold(ctx, DISPUTE, number.to_bytes(8, "little"), ctx.sender, bond)
    deadline = ctx.height + ctx.param(r.DISPUTE_TIMEOUT)
    dispute = r.Dispute(
        1,
        number,
        command.meter_hash,
        credit.provider_id,
        ctx.sender,
        command.kind,
        command.reason,
        bond,
        r.DisputeState.OPEN,
        ctx.height,
        deadline,
        0,
        "",
        "",
        None,
        0,
    )
    ctx.draft.put(r.DISPUTES, number, dispute)
    ctx.draft.put(r.CREDITS, command.meter_hash, replace(credit, frozen_by=number))
    standing.save(ctx, replace(provider, locked=provider.locked + 1))
    standing.count(ctx, next_dispute=1, open_disputes=1)
    standing.DUE.add(ctx.draft, deadline, r.DueItem(r.DueKind.DISPUTE, "", standing.ZERO, number))
    ctx.emit(r.DisputeOpened(number, credit.provider_id, command.meter_hash, ctx.sender, command.kind))


@domain.rule(r.ResolveDispute)
def resolve_dispute(ctx: Context, command: r.ResolveDispute) -> None:
    """Owners of validators in the set arbitrate until governance grants the role; a reporter may withdraw."""
    dispute = ctx.draft.get(r.DISPUTES, command.id)
    if dispute is None:
        raise InvalidTx("energy.unknown_dispute", id=command.id)
    if dispute.state is not r.DisputeState.OPEN:
        raise InvalidTx("energy.already_resolved", id=command.id)
    is_withdrawal = command.outcome is r.Outcome.WITHDRAWN
    if is_withdrawal and dispute.reporter != ctx.sender:
        raise InvalidTx("energy.not_owner", reason="only the reporter withdraws", id=command.id)
    if not is_withdrawal and not _is_arbiter(ctx, ctx.sender):
        raise InvalidTx("energy.not_owner", reason="not an arbiter", id=command.id)
    close_dispute(ctx, dispute, command.outcome, ctx.sender, command.note)


def close_dispute(ctx: Context, dispute: r.Dispute, outcome: r.Outcome | None, resolver: str, note: str) -> None:
    """End a dispute; ``outcome`` is None where nobody decided in time."""
    credit = ctx.draft.get(r.CREDITS, dispute.meter_hash)
    assert credit is not None, "a frozen credit stays"
    provider = standing.get_provider(ctx, dispute.provider_id)
    standing.save(ctx, replace(provider, locked=provider.locked - 1))
    slashed = 0
    if outcome is r.Outcome.UPHELD:
        value = credit.amount_wh * provider.price_per_kwh // 1000
        rounds.drop_credit(ctx, credit)
        wanted = bps(value, ctx.param(r.SLASHING_RATE))
        slashed = standing.slash(ctx, provider.provider_id, wanted, credit.credit_id, r.SlashReason.DISPUTE)
    else:
        waited = ctx.height - dispute.opened_height
        expires = credit.expires_height + waited
        ctx.draft.put(r.CREDITS, credit.credit_id, replace(credit, frozen_by=0, expires_height=expires))
        standing.DUE.add(ctx.draft, expires + 1, r.DueItem(r.DueKind.CREDIT, "", credit.credit_id, 0))
    if dispute.bond:
        key = dispute.id.to_bytes(8, "little")
        to_provider = {r.Outcome.REJECTED: dispute.bond, r.Outcome.WITHDRAWN: dispute.bond // 2}.get(outcome, 0)  # type: ignore[arg-type]
        if to_provider:
            escrow.release(ctx, DISPUTE, key, provider.owner, to_provider)
        if dispute.bond - to_provider:
            escrow.release(ctx, DISPUTE, key, dispute.reporter, dispute.bond - to_provider)
    state = r.DisputeState.EXPIRED if outcome is None else r.DisputeState.RESOLVED
    ctx.draft.put(
        r.DISPUTES,
        dispute.id,
        replace(
            dispute,
            state=state,
            resolved_height=ctx.height,
            resolver=resolver,
            note=note,
            outcome=outcome,
            slashed=slashed,
        ),
    )
    standing.count(ctx, open_disputes=-1)
    ctx.emit(r.DisputeResolved(dispute.id, dispute.provider_id, outcome, slashed))


def _is_arbiter(ctx: Context, address: str) -> bool:
    epoch = ctx.height // ctx.chain.epoch_blocks
    stakes = [ctx.draft.get(validators.STAKES, member.id) for member in validators.get_set(ctx.draft, epoch).members]
    return any(stake is not None and stake.owner == address for stake in stakes)
