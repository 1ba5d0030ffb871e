"""How a provider stands, and the market's sums, which every change of a provider keeps in step.

Used by all rules of the energy market; the rules themselves are in the modules beside it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from theblock_node.core.domain import Context
from theblock_node.core.domains import escrow
from theblock_node.core.domains.energy import records as r
from theblock_node.core.errors import InvalidTx
from theblock_node.core.market import DueList
from theblock_node.core.state import View

STAKE = "energy/stake"
TREASURY = "0000:treasury"
ZERO = bytes(32)
DUE: DueList[r.DueItem] = DueList(r.DUE, lambda items: r.Due(1, items))


def current_terms(provider: r.Provider, height: int) -> r.Provider:
    """The provider with pending terms in force once their height has come."""
    pending = provider.pending_terms
    if pending is None or height < pending.effective_height:
        return provider
    return replace(
        provider,
        price_per_kwh=pending.price_per_kwh,
        capacity_wh=pending.capacity_wh,
        jurisdiction=pending.jurisdiction,
        pending_terms=None,
    )


def get_totals(view: View) -> r.Totals:
    return view.get(r.TOTALS, None) or r.Totals(1)


def require_trade(ctx: Context) -> None:
    if not ctx.param(r.TRADE_GATE):
        raise InvalidTx("energy.rehearsal")


def get_provider(ctx: Context, provider_id: str) -> r.Provider:
    found: Any = ctx.draft.get(r.PROVIDERS, provider_id)
    if found is None:
        raise InvalidTx("energy.unknown_provider", provider_id=provider_id)
    return current_terms(found, ctx.height)


def get_owned(ctx: Context, provider_id: str) -> r.Provider:
    provider = get_provider(ctx, provider_id)
    if provider.owner != ctx.sender:
        raise InvalidTx("energy.not_owner", provider_id=provider_id)
    return provider


def judge_state(ctx: Context, provider: r.Provider) -> r.Provider:
    """Pending, active or underfunded, as keys and stake say."""
    if provider.state not in (r.ProviderState.PENDING, r.ProviderState.ACTIVE, r.ProviderState.UNDERFUNDED):
        return provider
    if provider.staked < ctx.param(r.MIN_STAKE):
        return replace(provider, state=r.ProviderState.UNDERFUNDED)
    enough = len(provider.oracles) >= ctx.param(r.MIN_ATTESTERS)
    return replace(provider, state=r.ProviderState.ACTIVE if enough else r.ProviderState.PENDING)


def save(ctx: Context, provider: r.Provider) -> None:
    """Store a provider, and keep the market's sums in step with it."""
    window = ctx.height // ctx.param(r.CAPACITY_WINDOW)
    before = ctx.draft.get(r.PROVIDERS, provider.provider_id)
    totals = get_totals(ctx.draft)
    used = totals.window_used_wh if totals.window_index == window else 0
    counted, capacity, spent = (
        after - past for after, past in zip(_share(provider, window), _share(before, window), strict=True)
    )
    gone = r.ProviderState.EXITED
    came = (provider.state is not gone) - (before is not None and before.state is not gone)
    ctx.draft.put(r.PROVIDERS, provider.provider_id, provider)
    ctx.draft.put(
        r.TOTALS,
        None,
        replace(
            totals,
            providers=totals.providers + came,
            active=totals.active + counted,
            active_capacity_wh=totals.active_capacity_wh + capacity,
            window_index=window,
            # A vote on the window's length may make an old window count again; it never counts below nothing.
            window_used_wh=max(0, used + spent),
        ),
    )


def count(ctx: Context, **changes: int) -> None:
    """Add to the market's totals."""
    totals = get_totals(ctx.draft)
    counted = {name: getattr(totals, name) + change for name, change in changes.items()}
    ctx.draft.put(r.TOTALS, None, replace(totals, **counted))


def slash(ctx: Context, provider_id: str, wanted: int, meter_hash: bytes, reason: r.SlashReason) -> int:
    """Take up to ``wanted`` of a provider's stake for the treasury."""
    provider = get_provider(ctx, provider_id)
    amount = min(provider.staked, wanted)
    if not amount:
        return 0
    escrow.release(ctx, STAKE, provider_id.encode(), TREASURY, amount)
    provider = judge_state(ctx, replace(provider, staked=provider.staked - amount))
    save(ctx, provider)
    record = r.Slash(1, get_totals(ctx.draft).next_slash, provider_id, meter_hash, ctx.height, amount, reason)
    ctx.draft.put(r.SLASHES, record.seq, record)
    count(ctx, next_slash=1, slashed=amount)
    ctx.emit(r.Slashed(record.seq, provider_id, amount, record.reason))
    return amount


def _share(provider: r.Provider | None, window: int) -> tuple[int, int, int]:
    """(1 if it is active, its capacity, what it sold in the window), all 0 for one that is not active."""
    if provider is None or provider.state is not r.ProviderState.ACTIVE:
        return 0, 0, 0
    return 1, provider.capacity_wh, provider.window_used_wh if provider.window_index == window else 0
