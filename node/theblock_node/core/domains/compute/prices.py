"""What a lane's units cost of late: the prices of its last matches, and what an offer at market asks for.

A price counts by the reputation of who took it. The market's price is the median, the dearer the more slices wait.
"""

from __future__ import annotations

from collections.abc import Sequence

WINDOW = 100
"""Matches that a board remembers."""
MILLI = 1000


def weigh(price: int, weight_milli: int) -> int:
    """``price`` as it counts, rounded to the nearest."""
    return (price * weight_milli + MILLI // 2) // MILLI


def compute_weight(reputation: int) -> int:
    """How much a provider's prices count, in thousandths: half without reputation (0), whole with the best (1000)."""
    return MILLI // 2 + reputation // 2


def compute_bands(prices: Sequence[int]) -> tuple[int, int, int]:
    """(lower quarter, median, upper quarter) of one price or more."""
    ordered = sorted(prices)
    count = len(ordered)
    return ordered[count * 25 // 100], ordered[count // 2], ordered[count * 75 // 100]


def compute_market_price(prices: Sequence[int], waiting: int) -> int | None:
    """What a unit costs while ``waiting`` slices wait, rounded up; None before the lane's first match."""
    if not prices:
        return None
    _, median, _ = compute_bands(prices)
    return -(-median * (WINDOW + waiting) // WINDOW)


def remember(prices: Sequence[int], price: int) -> tuple[int, ...]:
    """The prices with one more; the oldest goes."""
    return (*prices, price)[-WINDOW:]
