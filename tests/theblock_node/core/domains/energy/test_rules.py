"""Rules of the energy market, block by block."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chain import GENESIS_SECONDS, Chain, key_of
from theblock_node.core.domains import accounts, escrow
from theblock_node.core.domains.energy import attestation
from theblock_node.core.domains.energy import records as r

STAKE = 10**9
ROOF = "solar-roof"
METER = "meter-1"


class Market(Chain):
    """A chain with what oracles do on it. Oracle ``o-0`` and its like sign with the key of that name."""

    def now(self) -> int:
        """Time of the next block, in seconds."""
        return GENESIS_SECONDS + self.tip.header.slot + 1

    def offer(self, oracle: str, provider_id: str = ROOF) -> r.KeyOffer:
        public = key_of(oracle).public_key
        return r.KeyOffer(oracle, public, self.prove(oracle, 1, provider_id))

    def prove(self, oracle: str, version: int, provider_id: str = ROOF, key: str = "") -> bytes:
        signer = key_of(key or oracle)
        message = attestation.possession_message(self.params.chain_id, provider_id, oracle, version, signer.public_key)
        return signer.sign(message)

    def register(self, *oracles: str, start_wh: int | None = 0, price: int = 2_000, capacity: int = 10**6) -> None:
        self.ok("alice", "energy.register_provider", self.registration(*oracles, start_wh=start_wh, price=price,
                                                                       capacity=capacity))  # fmt: skip

    def registration(
        self, *oracles: str, start_wh: int | None = 0, price: int = 2_000, capacity: int = 10**6
    ) -> r.RegisterProvider:
        keys = tuple(self.offer(oracle) for oracle in oracles)
        return r.RegisterProvider(ROOF, capacity, price, METER, "US_CA", STAKE, start_wh, keys)

    def reading(
        self, total_wh: int, nonce: int, oracle: str = "o-0", *, key: str = "", late: int = 0, meter: str = METER
    ) -> r.SubmitReading:
        timestamp = self.now() - late
        body = attestation.reading_body(self.params.chain_id, ROOF, meter, total_wh, timestamp, nonce)
        signature = key_of(key or oracle).sign(attestation.attestation_message(body, oracle))
        return r.SubmitReading(ROOF, meter, total_wh, timestamp, nonce, oracle, 0, signature)

    def read(self, total_wh: int, nonce: int, oracle: str = "o-0") -> list[object]:
        return self.ok("bob", "energy.submit_reading", self.reading(total_wh, nonce, oracle))

    def credits(self) -> list[r.Credit]:
        return list(self.query("energy.credits", r.ListCredits()).credits)

    @property
    def provider(self) -> r.Provider:
        found = self.query("energy.provider", r.GetProvider(ROOF)).provider
        assert found is not None
        return found

    @property
    def totals(self) -> r.Totals:
        return self.query("energy.market_state", r.GetMarketState()).totals


@pytest.fixture
def market() -> Market:
    chain = Market()
    chain.register("o-0")
    return chain


def test_first_reading_without_a_declared_register_only_sets_the_baseline():
    market = Market()
    market.register("o-0", start_wh=None)

    market.read(900_000, 1)
    market.read(900_250, 2)

    assert [credit.amount_wh for credit in market.credits()] == [250]


def test_settling_pays_the_provider_and_the_treasury(market):
    market.read(500_000, 1)
    credit = market.credits()[0]
    before = market.balance("alice")

    told = market.ok("bob", "energy.settle", r.Settle(ROOF, 200_000, credit.credit_id, 2_000))

    receipt = market.query("energy.receipts", r.ListReceipts()).receipts[0]
    assert receipt.price_paid == 400_000
    assert receipt.treasury_fee == 400_000 * receipt.fee_bps // 10_000
    assert market.balance("alice") - before == 400_000 - receipt.treasury_fee
    assert accounts.get_balance(market.state, "0000:treasury") >= receipt.treasury_fee
    assert market.credits()[0].amount_wh == 300_000
    assert isinstance(told[-1], r.Settled)
    assert market.totals.window_used_wh == 200_000


def test_credit_is_never_sold_twice_nor_above_capacity(market):
    market.read(1_200_000, 1)
    credit = market.credits()[0].credit_id

    assert market.refused("bob", "energy.settle", r.Settle(ROOF, 1_200_001, credit, 2_000)) == (
        "energy.insufficient_credit"
    )
    market.ok("bob", "energy.settle", r.Settle(ROOF, 1_000_000, credit, 2_000))
    assert market.refused("bob", "energy.settle", r.Settle(ROOF, 1, credit, 2_000)) == "energy.insufficient_capacity"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"provider_id": "nobody"}, "energy.unknown_provider", id="no-such-provider"),
        pytest.param({"timestamp": 5}, "energy.timestamp_skew", id="too-old"),
        pytest.param({"nonce": 1}, "energy.nonce_replay", id="same-nonce-again"),
        pytest.param({"nonce": 18}, "energy.nonce_gap", id="too-far-ahead"),
        pytest.param({"oracle_id": "o-9"}, "energy.key_not_registered", id="strange-oracle"),
        pytest.param({"scheme": 1}, "energy.unsupported_scheme", id="reserved-scheme"),
        pytest.param({"signature": b"short"}, "energy.malformed_signature", id="short-signature"),
        pytest.param({"total_wh": 777}, "energy.invalid_signature", id="another-total-than-was-signed"),
    ],
)
def test_reading_is_refused(market, change, code):
    market.read(1_000, 1)

    command = replace(market.reading(2_000, 2), **change)

    assert market.refused("bob", "energy.submit_reading", command) == code


@pytest.mark.parametrize(
    ("total_wh", "options", "code"),
    [
        pytest.param(2_000, {"meter": "meter-2"}, "energy.meter_mismatch", id="another-meter"),
        pytest.param(2_000, {"late": 2}, "energy.stale_reading", id="before-the-last-one"),
        pytest.param(999, {}, "energy.meter_regression", id="backwards"),
        pytest.param(1_501_001, {}, "energy.implausible_delta", id="more-than-it-can-deliver"),
    ],
)
def test_signed_reading_is_refused(market, total_wh, options, code):
    market.read(1_000, 1)

    assert market.refused("bob", "energy.submit_reading", market.reading(total_wh, 2, **options)) == code


def test_quorum_finishes_a_round_and_names_the_outlier():
    market = Market(params={"energy_min_attesters": 3, "energy_settlement_quorum_ppm": 666_667})
    market.register("o-0", "o-1", "o-2", "o-3")

    for oracle, total in (("o-0", 500_000), ("o-3", 900_000), ("o-1", 500_300)):
        market.read(total, 1, oracle)
    assert market.credits() == []
    assert market.refused("bob", "energy.submit_reading", market.reading(1, 1, "o-0")) == "energy.duplicate_attestation"
    told = market.read(500_100, 1, "o-2")

    assert [credit.amount_wh for credit in market.credits()] == [500_100]
    assert [record.oracle_id for record in told if isinstance(record, r.OracleOutlier)] == ["o-3"]
    assert market.provider.last_nonce == 1


def test_failed_round_loses_no_energy():
    market = Market(params={"energy_min_attesters": 2, "energy_attest_window_blocks": 2})
    market.register("o-0", "o-1")
    market.read(400, 1, "o-0")
    market.run(2)

    assert [failed.nonce for failed in market.events("energy.quorum_failed")] == [1]
    market.read(900, 2, "o-0")
    market.read(900, 2, "o-1")

    assert [credit.amount_wh for credit in market.credits()] == [900]


def test_nonce_that_nobody_attests_is_skipped():
    market = Market(params={"energy_attest_window_blocks": 2})
    market.register("o-0")
    market.read(700, 3)
    assert market.credits() == []

    market.run(2)

    assert [credit.nonce for credit in market.credits()] == [3]
    assert market.provider.last_nonce == 3


def test_unsold_energy_lapses_and_tells_so():
    market = Market(params={"energy_settlement_expiry_blocks": 2})
    market.register("o-0")
    market.read(500, 1)
    market.run(2)
    assert len(market.credits()) == 1

    market.run(1)

    assert market.credits() == []
    assert [expired.amount_wh for expired in market.events("energy.credit_expired")] == [500]
    assert market.totals.pending_credits_wh == 0
    assert market.provider.credits == 0


def test_key_is_replaced_with_an_overlap(market):
    at = market.height + 3
    new = key_of("o-0-new").public_key
    proof = market.prove("o-0", 2, key="o-0-new")
    market.ok("alice", "energy.rotate_provider_key", r.RotateProviderKey(ROOF, "o-0", new, at, 2, proof))

    early = market.reading(100, 1, key="o-0-new")
    assert market.refused("bob", "energy.submit_reading", early) == "energy.invalid_signature"
    market.ok("bob", "energy.submit_reading", market.reading(100, 1, key="o-0-new"))
    market.ok("bob", "energy.submit_reading", market.reading(200, 2, key="o-0"))
    late = market.reading(300, 3, key="o-0")
    assert market.refused("bob", "energy.submit_reading", late) == "energy.invalid_signature"
    keys = market.query("energy.keys", r.ListKeys(ROOF)).keys
    assert [key.key_version for key in keys[0].keys] == [1, 2]


def test_key_needs_proof_of_possession(market):
    new = key_of("stolen").public_key
    command = r.RotateProviderKey(ROOF, "o-1", new, 0, 0, market.prove("o-1", 1, key="other"))

    assert market.refused("alice", "energy.rotate_provider_key", command) == "energy.invalid_signature"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({}, "energy.id_taken", id="same-id"),
        pytest.param({"provider_id": "other"}, "energy.meter_taken", id="same-meter"),
        pytest.param({"provider_id": "o", "meter_address": "m", "stake": 999}, "energy.insufficient_stake", id="poor"),
        pytest.param(
            {"provider_id": "o", "meter_address": "m", "capacity_wh": 0}, "energy.invalid_capacity", id="idle"
        ),
        pytest.param({"provider_id": "o", "meter_address": "m"}, "energy.invalid_signature", id="proof-of-another-id"),
    ],
)
def test_registration_is_refused(market, change, code):
    command = replace(market.registration("o-0"), **change)

    assert market.refused("alice", "energy.register_provider", command) == code


def test_only_the_owner_changes_a_provider_and_terms_begin_with_a_window(market):
    command = r.UpdateProvider(ROOF, 3_000, None, None)
    assert market.refused("bob", "energy.update_provider", command) == "energy.not_owner"

    market.ok("alice", "energy.update_provider", command)

    assert market.provider.price_per_kwh == 2_000
    market.run(4)
    assert market.provider.price_per_kwh == 3_000


def test_leaving_waits_for_credits_and_returns_the_stake():
    market = Market(params={"energy_settlement_expiry_blocks": 2})
    market.register("o-0")
    market.read(500, 1)
    assert market.refused("alice", "energy.deregister_provider", r.DeregisterProvider(ROOF)) == (
        "energy.unsettled_credit"
    )
    market.run(4)

    market.ok("alice", "energy.deregister_provider", r.DeregisterProvider(ROOF))
    before = market.balance("alice")
    market.run(8)

    assert market.balance("alice") - before == STAKE
    assert market.provider.state is r.ProviderState.EXITED
    assert (market.totals.providers, market.totals.active, market.totals.active_capacity_wh) == (0, 0, 0)
    market.register("o-0")
    assert market.provider.last_nonce == 1, "a nonce is never used twice under one id"


def test_upheld_dispute_destroys_the_credit_and_slashes():
    market = Market(params={"energy_slashing_rate_bps": 5_000, "energy_dispute_bond": 1_000})
    market.register("o-0")
    market.read(500_000, 1)
    credit = market.credits()[0].credit_id

    market.ok("bob", "energy.flag_dispute", r.FlagDispute(credit, r.DisputeKind.LOW_READING, "it was night"))
    assert market.refused("bob", "energy.settle", r.Settle(ROOF, 1, credit, 2_000)) == "energy.credit_frozen"
    assert market.refused("bob", "energy.resolve_dispute", r.ResolveDispute(1, r.Outcome.UPHELD, "")) == (
        "energy.not_owner"
    )
    market.ok("owner", "energy.resolve_dispute", r.ResolveDispute(1, r.Outcome.UPHELD, "true"))

    assert market.credits() == []
    assert market.provider.staked == STAKE - 500_000
    slash = market.query("energy.slashes", r.ListSlashes()).slashes[0]
    assert (slash.amount, slash.reason) == (500_000, r.SlashReason.DISPUTE)
    assert market.query("energy.disputes", r.ListDisputes()).disputes[0].state is r.DisputeState.RESOLVED


def test_rejected_dispute_gives_the_bond_to_the_provider_and_the_time_back(market):
    market.read(500_000, 1)
    credit = market.credits()[0]
    market.ok("bob", "energy.flag_dispute", r.FlagDispute(credit.credit_id, r.DisputeKind.OTHER, "doubt"))
    market.run(3)
    before = market.balance("alice")

    market.ok("owner", "energy.resolve_dispute", r.ResolveDispute(1, r.Outcome.REJECTED, "fine"))

    assert market.balance("alice") - before == 1_000_000
    assert market.credits()[0].expires_height == credit.expires_height + 4
    assert market.provider.locked == 0


def test_oracle_that_contradicts_itself_costs_the_provider_once(market):
    said = [market.reading(total, 7) for total in (1_000, 2_000)]
    first, second = (
        r.SignedReading(reading.meter_address, reading.total_wh, reading.timestamp, reading.signature)
        for reading in said
    )

    same = r.ReportConflict(ROOF, "o-0", 7, first, first)
    assert market.refused("bob", "energy.report_conflict", same) == "energy.no_conflict"
    forged = r.ReportConflict(ROOF, "o-0", 7, first, replace(second, total_wh=3_000))
    assert market.refused("bob", "energy.report_conflict", forged) == "energy.invalid_signature"
    told = market.ok("bob", "energy.report_conflict", r.ReportConflict(ROOF, "o-0", 7, first, second))
    again = r.ReportConflict(ROOF, "o-0", 7, second, first)
    assert market.refused("bob", "energy.report_conflict", again) == "energy.already_reported"

    assert told == [r.Slashed(0, ROOF, STAKE // 100, r.SlashReason.CONFLICT)]
    assert market.provider.staked == STAKE - STAKE // 100


def test_rehearsal_refuses_what_trades():
    market = Market(params={"energy_trade_gate": 0})

    command = market.registration("o-0")

    assert market.refused("alice", "energy.register_provider", command) == "energy.rehearsal"


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("read"), st.integers(0, 900_000)),
            st.tuples(st.just("settle"), st.integers(1, 600_000)),
            st.tuples(st.just("flag"), st.just(0)),
            st.tuples(st.just("resolve"), st.integers(0, 1)),
            st.tuples(st.just("wait"), st.integers(1, 4)),
        ),
        max_size=20,
    )
)
def test_energy_and_money_are_conserved(steps):
    market = Market(params={"energy_settlement_expiry_blocks": 6, "energy_slashing_rate_bps": 1_000})
    market.register("o-0")
    total, nonce, disputes = 0, 0, 0
    for what, number in steps:
        held = market.credits()
        if what == "read":
            total, nonce = total + number, nonce + 1
            market.read(total, nonce)
        elif what == "settle" and held:
            market.call("bob", "energy.settle", r.Settle(ROOF, number, held[0].credit_id, 2_000))
        elif what == "flag" and held:
            command = r.FlagDispute(held[-1].credit_id, r.DisputeKind.OTHER, "doubt")
            disputes += market.call("bob", "energy.flag_dispute", command).receipts[-1].error_code == ""
        elif what == "resolve" and disputes:
            outcome = r.Outcome.UPHELD if number else r.Outcome.REJECTED
            market.call("owner", "energy.resolve_dispute", r.ResolveDispute(disputes, outcome, ""))
        elif what == "wait":
            market.run(number)

    created = sum(credit.amount_wh for credit in market.events("energy.credit_created"))
    outstanding = sum(credit.amount_wh for credit in market.credits())
    expired = sum(credit.amount_wh for credit in market.events("energy.credit_expired"))
    sold = sum(settled.wh for settled in market.events("energy.settled"))
    assert created == total == market.provider.last_meter_wh
    assert sold + expired + outstanding <= created
    open_bonds = sum(row.bond for row in market.query("energy.disputes", r.ListDisputes(open_only=True)).disputes)
    held = [(purpose, entry.amount) for (purpose, _), entry in market.state.items(escrow.ENTRIES)]
    assert sum(amount for purpose, amount in held if purpose == "energy/stake") == market.provider.staked
    assert sum(amount for purpose, amount in held if purpose == "energy/dispute") == open_bonds
    paid = [row.price_paid for row in market.query("energy.receipts", r.ListReceipts()).receipts]
    assert paid == [settled.price_paid for settled in reversed(market.events("energy.settled"))]
    assert market.totals.pending_credits_wh == outstanding
    assert market.totals.delivered_wh == sold
    assert market.provider.credits == len(market.credits())
    assert market.totals.active_capacity_wh == (10**6 if market.provider.state is r.ProviderState.ACTIVE else 0)
    assert market.replay().root == market.state.root
