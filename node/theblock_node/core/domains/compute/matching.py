"""Which open slices go to which offers: a pure decision over values, taken once a block for each lane.

Jobs that waited too long come first (up to a quarter of the budget), then price-time priority. A job takes the
offer with the lowest rank: the asked price, made dearer by a poor reputation. Execution is at the ask. An ask of 0 is
at market: it takes any job, at the market's price or the most that the job pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bid:
    job_id: bytes
    max_price: int
    units: int
    """Of each slice."""
    slices: tuple[int, ...]
    """Indexes that wait."""
    placed_height: int


@dataclass(slots=True)
class Ask:
    provider_id: str
    price: int
    """0: at market."""
    units_left: int
    bond_per_unit: int
    bond_free: int
    reputation: int
    """0 to 1000."""
    placed_height: int

    def price_for(self, bid: Bid, market_price: int | None) -> int:
        """What a unit of the job costs here."""
        if self.price:
            return self.price
        return bid.max_price if market_price is None else min(market_price, bid.max_price)

    def rank(self, price: int) -> int:
        return -(-price * 1000 // max(1, self.reputation))


@dataclass(frozen=True, slots=True)
class Match:
    job_id: bytes
    index: int
    provider_id: str
    price: int
    bond: int


def compute_bond(ask_bond_per_unit: int, price: int, units: int, bond_bps: int) -> int:
    """What vouches for a slice: what the offer promised, and at least a share of the price."""
    return max(ask_bond_per_unit * units, -(-price * units * bond_bps // 10_000))


def plan_matches(
    bids: Sequence[Bid],
    asks: Sequence[Ask],
    *,
    height: int,
    budget: int,
    starvation_blocks: int,
    bond_bps: int,
    market_price: int | None,
) -> list[Match]:
    """Assign at most ``budget`` slices; uses up the units and bonds of ``asks`` as it goes."""
    by_age = sorted(bids, key=lambda bid: (bid.placed_height, bid.job_id))
    starved = [bid for bid in by_age if height - bid.placed_height >= starvation_blocks]
    by_price = sorted(bids, key=lambda bid: (-bid.max_price, bid.placed_height, bid.job_id))
    matches: list[Match] = []
    taken: set[tuple[bytes, int]] = set()
    for order, limit in ((starved, max(1, budget // 4) if starved else 0), (by_price, budget)):
        for bid in order:
            for index in bid.slices:
                if len(matches) >= limit or (bid.job_id, index) in taken:
                    continue
                match = _take_best(bid, index, asks, bond_bps, market_price)
                if match is None:
                    break
                taken.add((bid.job_id, index))
                matches.append(match)
    return matches


def _take_best(bid: Bid, index: int, asks: Sequence[Ask], bond_bps: int, market_price: int | None) -> Match | None:
    fitting = [
        (ask, price, bond)
        for ask in asks
        if (price := ask.price_for(bid, market_price)) <= bid.max_price
        and ask.units_left >= bid.units
        and ask.bond_free >= (bond := compute_bond(ask.bond_per_unit, price, bid.units, bond_bps))
    ]
    if not fitting:
        return None
    # Among equals the one with most units left, so that slices of a job spread over providers.
    best, price, bond = min(
        fitting,
        key=lambda fit: (fit[0].rank(fit[1]), -fit[0].units_left, fit[0].placed_height, fit[0].provider_id),
    )
    best.units_left -= bid.units
    best.bond_free -= bond
    return Match(bid.job_id, index, best.provider_id, price, bond)
