"""Which slices go to which offers, against cases worked out by hand and against every other assignment."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.domains.compute.matching import Ask, Bid, compute_bond, plan_matches


def bid(name: str, max_price: int, *, units: int = 1, slices: int = 1, placed: int = 100) -> Bid:
    return Bid(name.encode(), max_price, units, tuple(range(slices)), placed)


def ask(name: str, price: int, *, units: int = 10, placed: int = 90, reputation: int = 1000, bond: int = 10**6) -> Ask:
    return Ask(name, price, units, 0, bond, reputation, placed)


def plan(
    bids: list[Bid], asks: list[Ask], *, height: int = 105, budget: int = 8, market_price: int | None = None
) -> list[tuple[str, int, str, int]]:
    matches = plan_matches(
        bids, asks, height=height, budget=budget, starvation_blocks=30, bond_bps=2000, market_price=market_price
    )
    return [(match.job_id.decode(), match.index, match.provider_id, match.price) for match in matches]


def test_offer_at_market_takes_any_job_at_the_markets_price_or_the_most_that_it_pays():
    jobs = [bid("j1", 9, slices=2), bid("j2", 5)]
    for market_price, paid in ((None, [9, 9, 5]), (7, [7, 7, 5]), (4, [4, 4, 4])):
        assert [row[3] for row in plan(jobs, [ask("o1", 0)], market_price=market_price)] == paid


def test_offer_at_market_is_ranked_by_what_it_costs():
    assert plan([bid("j1", 9)], [ask("o1", 0), ask("o2", 6)], market_price=7) == [("j1", 0, "o2", 6)]
    assert plan([bid("j1", 9)], [ask("o1", 0), ask("o2", 6)], market_price=5) == [("j1", 0, "o1", 5)]


def test_dearest_job_is_first_and_pays_what_is_asked():
    bids = [bid("cheap", 10), bid("dear", 12)]
    assert plan(bids, [ask("o", 9, units=1)]) == [("dear", 0, "o", 9)]


def test_older_job_is_first_among_equals():
    bids = [bid("young", 10, placed=101), bid("old", 10, placed=100)]
    assert plan(bids, [ask("o", 9, units=1)]) == [("old", 0, "o", 9)]


def test_job_that_waits_too_long_is_saved_before_dearer_ones():
    bids = [bid("starved", 9, placed=75), bid("dear", 99)]
    assert plan(bids, [ask("o", 9, units=1)], height=104) == [("dear", 0, "o", 9)]
    assert plan(bids, [ask("o", 9, units=1)], height=105) == [("starved", 0, "o", 9)]


def test_saving_takes_at_most_a_quarter_of_the_budget():
    bids = [bid("starved", 9, placed=0, slices=8), bid("dear", 99, slices=8)]
    matched = plan(bids, [ask("o", 9, units=100)], budget=8)
    assert [name for name, *_ in matched] == ["starved"] * 2 + ["dear"] * 6


def test_poor_reputation_makes_an_offer_dearer_than_it_asks():
    asks = [ask("good", 10), ask("bad", 9, reputation=800)]
    assert plan([bid("j", 20)], asks) == [("j", 0, "good", 10)]
    assert plan([bid("j", 20)], [ask("good", 12), ask("bad", 9, reputation=800)]) == [("j", 0, "bad", 9)]


def test_slices_of_a_job_spread_over_equal_offers():
    matched = plan([bid("j", 20, slices=4)], [ask("a", 9), ask("b", 9)])
    assert [provider for _, _, provider, _ in matched] == ["a", "b", "a", "b"]


def test_bond_is_what_was_promised_and_at_least_a_share_of_the_price():
    assert compute_bond(0, 10, 3, 2000) == 6
    assert compute_bond(0, 1, 1, 2000) == 1  # rounded up
    assert compute_bond(5, 10, 3, 2000) == 15
    asks = [replace(ask("o", 10), bond_free=5)]
    assert plan([bid("j", 20, units=3)], asks) == []
    asks = [replace(ask("o", 10), bond_free=6)]
    assert plan([bid("j", 20, units=3)], asks) == [("j", 0, "o", 10)]


BIDS = st.lists(
    st.builds(bid, st.sampled_from("abcd"), st.integers(1, 20), units=st.integers(1, 3), slices=st.integers(1, 4),
              placed=st.integers(60, 105)),
    max_size=4, unique_by=lambda one: one.job_id,
)  # fmt: skip
ASKS = st.lists(
    st.builds(ask, st.sampled_from("wxyz"), st.integers(0, 20), units=st.integers(0, 6),
              reputation=st.integers(0, 1000), bond=st.integers(0, 40)),
    max_size=4, unique_by=lambda one: one.provider_id,
)  # fmt: skip


@given(bids=BIDS, asks=ASKS, budget=st.integers(0, 10), market_price=st.none() | st.integers(0, 20))
def test_no_offer_is_oversold_and_none_that_fits_is_left(bids, asks, budget, market_price):
    before = {one.provider_id: replace(one) for one in asks}
    matches = plan_matches(
        bids, asks, height=105, budget=budget, starvation_blocks=30, bond_bps=2000, market_price=market_price
    )

    jobs = {one.job_id: one for one in bids}
    assert len({(match.job_id, match.index) for match in matches}) == len(matches) <= max(budget, 1)
    for name, offer in before.items():
        taken = [match for match in matches if match.provider_id == name]
        assert sum(jobs[match.job_id].units for match in taken) <= offer.units_left
        assert sum(match.bond for match in taken) <= offer.bond_free
        assert all(
            offer.price_for(jobs[match.job_id], market_price) == match.price <= jobs[match.job_id].max_price
            for match in taken
        )
    if len(matches) < budget:
        done = {(match.job_id, match.index) for match in matches}
        for job in bids:
            if any((job.job_id, index) not in done for index in job.slices):
                assert not any(
                    (price := offer.price_for(job, market_price)) <= job.max_price
                    and offer.units_left >= job.units
                    and offer.bond_free >= compute_bond(0, price, job.units, 2000)
                    for offer in asks
                ), "a slice waits while an offer fits"
