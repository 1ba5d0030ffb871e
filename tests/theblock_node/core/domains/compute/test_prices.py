"""Prices of a lane, against the spec's figures, and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.domains.compute import prices

EIGHT = (10, 12, 14, 16, 18, 20, 22, 24)
PRICES = st.lists(st.integers(0, 2**32), min_size=1, max_size=prices.WINDOW)


def test_bands_of_eight_prices():
    assert prices.compute_bands(EIGHT) == (14, 18, 22)


@pytest.mark.parametrize(("price", "weight", "counts"), [(10, 850, 9), (10, 1000, 10), (0, 500, 0), (1, 500, 1)])
def test_price_counts_by_reputation(price, weight, counts):
    assert prices.weigh(price, weight) == counts


@pytest.mark.parametrize(("reputation", "weight"), [(0, 500), (700, 850), (1000, 1000)])
def test_weights_run_from_a_half_to_one(reputation, weight):
    assert prices.compute_weight(reputation) == weight


@pytest.mark.parametrize(("waiting", "price"), [(0, 18), (25, 23), (100, 36)])
def test_market_is_the_dearer_the_more_waits(waiting, price):
    assert prices.compute_market_price(EIGHT, waiting) == price


def test_market_has_no_price_before_its_first_match():
    assert prices.compute_market_price((), 5) is None


@given(PRICES, st.integers(0, 2**32))
def test_board_remembers_the_last_hundred(known, price):
    kept = prices.remember(known, price)
    assert kept == (*known, price)[-prices.WINDOW :]
    assert len(kept) <= prices.WINDOW


@given(PRICES, st.integers(0, 1000))
def test_market_price_never_falls_below_the_median(known, waiting):
    low, median, high = prices.compute_bands(known)
    found = prices.compute_market_price(known, waiting)
    assert found is not None
    assert low <= median <= high
    assert found >= median
