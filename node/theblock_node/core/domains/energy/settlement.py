"""The rule by which a buyer settles a credit, and what it costs."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core.domain import Context, Reading
from theblock_node.core.domains import accounts
from theblock_node.core.domains.energy import fees, standing
from theblock_node.core.domains.energy import records as r
from theblock_node.core.domains.energy.records import domain
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import bps, mul
from theblock_node.core.state import View


@domain.rule(r.Settle)
def settle(ctx: Context, command: r.Settle) -> None:
    standing.require_trade(ctx)
    if ctx.param(r.SETTLEMENT_MODE) != 1:
        raise InvalidTx("energy.batch_mode_not_built")
    provider = _in_window(ctx, standing.get_provider(ctx, command.provider_id))
    credit = ctx.draft.get(r.CREDITS, command.credit_id)
    if credit is None or credit.provider_id != command.provider_id:
        raise InvalidTx("energy.unknown_reading", credit_id=command.credit_id.hex())
    if credit.frozen_by:
        raise InvalidTx("energy.credit_frozen", dispute=credit.frozen_by)
    if credit.expires_height < ctx.height:
        raise InvalidTx("energy.credit_expired", expires_height=credit.expires_height)
    if command.wh < 1 or command.wh > credit.amount_wh:
        raise InvalidTx("energy.insufficient_credit", wh=command.wh, available=credit.amount_wh)
    if command.wh > provider.capacity_wh - min(provider.capacity_wh, provider.window_used_wh):
        raise InvalidTx("energy.insufficient_capacity", wh=command.wh)
    fill = command.wh * 1_000_000 // provider.capacity_wh
    if fill < ctx.param(r.MIN_FILL):
        raise InvalidTx("energy.below_min_fill", required=ctx.param(r.MIN_FILL), actual=fill)
    if provider.price_per_kwh > command.max_price_per_kwh:
        raise InvalidTx("energy.price_limit", price=provider.price_per_kwh, max=command.max_price_per_kwh)
    cost = mul(command.wh, provider.price_per_kwh) // 1000
    if accounts.get_balance(ctx.draft, ctx.sender) < cost:
        raise InvalidTx("energy.insufficient_funds", cost=cost)

    fee_bps = market_fee_bps(ctx, ctx.draft, ctx.timestamp_ms, ctx.height)
    treasury, jurisdiction = bps(cost, fee_bps), bps(cost, ctx.param(r.JURISDICTION_FEE))
    accounts.move(ctx, ctx.sender, provider.owner, cost - treasury - jurisdiction)
    accounts.move(ctx, ctx.sender, standing.TREASURY, treasury)
    accounts.move(ctx, ctx.sender, f"0000:jurisdiction-{provider.jurisdiction.lower().replace('_', '-')}", jurisdiction)
    left = credit.amount_wh - command.wh
    if left:
        ctx.draft.put(r.CREDITS, command.credit_id, replace(credit, amount_wh=left))
    else:
        ctx.draft.delete(r.CREDITS, command.credit_id)
        provider = replace(provider, credits=provider.credits - 1)
    provider = replace(
        provider,
        window_used_wh=provider.window_used_wh + command.wh,
        total_delivered_wh=provider.total_delivered_wh + command.wh,
    )
    standing.save(ctx, provider)
    receipt = r.Receipt(
        1,
        standing.get_totals(ctx.draft).next_receipt,
        ctx.sender,
        provider.provider_id,
        command.wh,
        cost,
        ctx.height,
        treasury,
        jurisdiction,
        fee_bps,
        command.credit_id,
        0,
    )
    ctx.draft.put(r.RECEIPTS, receipt.seq, receipt)
    standing.count(ctx, next_receipt=1, pending_credits_wh=-command.wh, delivered_wh=command.wh)
    ctx.emit(
        r.Settled(receipt.seq, ctx.sender, provider.provider_id, command.wh, cost, treasury, fee_bps, command.credit_id)
    )


def market_fee_bps(source: Context | Reading, view: View, timestamp_ms: int, height: int) -> int:
    """The treasury's share of a settlement now."""
    if not source.param(r.DYNAMIC_FEES):
        return source.param(r.FEE_BASE)
    law = fees.FeeLaw(
        source.param(r.FEE_BASE),
        source.param(r.FEE_MIN),
        source.param(r.FEE_MAX),
        source.param(r.FEE_TARGET),
        source.param(r.FEE_GAIN),
        source.param(r.FEE_LIQUIDITY_CAP),
        source.param(r.FEE_AMPLITUDE),
        source.param(r.FEE_PEAK_HOUR),
    )
    totals = standing.get_totals(view)
    is_now = totals.window_index == height // source.param(r.CAPACITY_WINDOW)
    return fees.compute_fee_bps(
        law,
        capacity_wh=totals.active_capacity_wh,
        used_wh=totals.window_used_wh if is_now else 0,
        sellers=totals.active,
        hour=timestamp_ms // 3_600_000 % 24,
    )


def _in_window(ctx: Context, provider: r.Provider) -> r.Provider:
    """The provider in the present capacity window; a new one begins unused."""
    window = ctx.height // ctx.param(r.CAPACITY_WINDOW)
    if provider.window_index == window:
        return provider
    return replace(provider, window_index=window, window_used_wh=0)
