"""What can be read of the energy market."""

from __future__ import annotations

from theblock_node.core.domain import Reading
from theblock_node.core.domains.energy import records as r
from theblock_node.core.domains.energy.records import domain
from theblock_node.core.domains.energy.settlement import market_fee_bps
from theblock_node.core.domains.energy.standing import current_terms, get_totals
from theblock_node.core.state import View


@domain.query("market_state", r.GetMarketState, r.MarketState)
def market_state(reading: Reading, request: r.GetMarketState) -> r.MarketState:
    """How the market stands as a whole."""
    totals = get_totals(reading.view)
    return r.MarketState(
        "trade" if reading.param(r.TRADE_GATE) else "rehearsal",
        totals.providers,
        totals.active,
        totals,
        market_fee_bps(reading, reading.view, reading.timestamp_ms, reading.height),
        reading.param(r.MIN_STAKE),
        reading.param(r.MIN_ATTESTERS),
        reading.param(r.QUORUM),
        reading.param(r.ORACLE_TIMEOUT),
        reading.param(r.SLASHING_RATE),
    )


@domain.query("providers", r.ListProviders, r.ProviderPage)
def providers(reading: Reading, request: r.ListProviders) -> r.ProviderPage:
    rows = [
        current_terms(row, reading.height)
        for key, row in reading.view.items(r.PROVIDERS)
        if key > request.after and row.state is not r.ProviderState.EXITED
    ]
    return r.ProviderPage(tuple(rows[: min(request.limit or r.PAGE_MAX, r.PAGE_MAX)]))


@domain.query("provider", r.GetProvider, r.ProviderReply)
def provider(reading: Reading, request: r.GetProvider) -> r.ProviderReply:
    found = reading.view.get(r.PROVIDERS, request.provider_id)
    if found is None:
        return r.ProviderReply(None, ())
    return r.ProviderReply(current_terms(found, reading.height), _keys(reading.view, found))


@domain.query("keys", r.ListKeys, r.KeyPage)
def list_keys(reading: Reading, request: r.ListKeys) -> r.KeyPage:
    """Which keys sign for a provider, oldest first for each oracle."""
    found = reading.view.get(r.PROVIDERS, request.provider_id)
    return r.KeyPage(() if found is None else _keys(reading.view, found))


@domain.query("receipts", r.ListReceipts, r.ReceiptPage)
def receipts(reading: Reading, request: r.ListReceipts) -> r.ReceiptPage:
    last = get_totals(reading.view).next_receipt
    end = min(request.before or last, last)
    start = max(0, end - min(request.limit or 100, r.PAGE_MAX))
    found = [reading.view.get(r.RECEIPTS, seq) for seq in reversed(range(start, end))]
    return r.ReceiptPage(tuple(row for row in found if row is not None))


@domain.query("credits", r.ListCredits, r.CreditPage)
def list_credits(reading: Reading, request: r.ListCredits) -> r.CreditPage:
    rows = [row for _, row in reading.view.items(r.CREDITS) if request.provider_id in ("", row.provider_id)]
    rows.sort(key=lambda row: (row.created_height, row.credit_id))
    return r.CreditPage(tuple(rows[: min(request.limit or r.PAGE_MAX, r.PAGE_MAX)]))


@domain.query("disputes", r.ListDisputes, r.DisputePage)
def disputes(reading: Reading, request: r.ListDisputes) -> r.DisputePage:
    rows = [row for _, row in reading.view.items(r.DISPUTES)]
    shown = [row for row in rows if row.state is r.DisputeState.OPEN or not request.open_only]
    return r.DisputePage(tuple(shown[-r.PAGE_MAX :]))


@domain.query("slashes", r.ListSlashes, r.SlashPage)
def slashes(reading: Reading, request: r.ListSlashes) -> r.SlashPage:
    return r.SlashPage(tuple(row for _, row in reading.view.items(r.SLASHES))[-r.PAGE_MAX :])


def _keys(view: View, provider: r.Provider) -> tuple[r.KeyRow, ...]:
    rows = [(oracle, view.get(r.KEYS, (provider.provider_id, oracle))) for oracle in provider.oracles]
    return tuple(r.KeyRow(oracle, keys.keys) for oracle, keys in rows if keys is not None)
