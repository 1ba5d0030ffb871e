"""What the energy market keeps in the state, asks for and tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from theblock_node.core.address import Address
from theblock_node.core.domain import Domain, Param
from theblock_node.core.numeric import BLOCK, U8, U16, U32, U64, Bytes32, Bytes64, Height, MaxLen, Pattern

ProviderId = Annotated[str, MaxLen(64), Pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")]
OracleId = Annotated[str, MaxLen(64), Pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")]
MeterAddress = Annotated[str, MaxLen(128), Pattern(r"[A-Za-z0-9_.:-]+")]
Jurisdiction = Annotated[str, MaxLen(16), Pattern(r"[A-Z]{2}(_[A-Z0-9]{1,12})?")]
ORACLES_MAX = 64
KEYS_MAX = 8
"""Versions of one oracle's key that stay known."""
CAPACITY_WH_MAX = 10**12
PRICE_MAX = 10**12
NONCE_WINDOW = 16
"""Readings that may be ahead of the last finished one."""
OVERLAP_MAX = 10_000
ED25519 = 0
"""The only scheme that is built."""
PAGE_MAX = 1000

TRADE_GATE = Param("energy_trade_gate", default=1, min=0, max=1, unit="0 rehearsal, 1 trade")
MIN_STAKE = Param(
    "energy_min_stake", default=1000 * BLOCK, min=0, max=10**6 * BLOCK, unit="nBLOCK", presets={"minimal": 1000}
)
ORACLE_TIMEOUT = Param("energy_oracle_timeout_blocks", default=720, min=1, max=10_000, unit="blocks")
SLASHING_RATE = Param("energy_slashing_rate_bps", default=0, min=0, max=10_000, unit="bps")
SETTLEMENT_MODE = Param("energy_settlement_mode", default=1, min=0, max=1, unit="0 batch, 1 real time")
QUORUM = Param("energy_settlement_quorum_ppm", default=0, min=0, max=1_000_000, unit="ppm")
EXPIRY = Param("energy_settlement_expiry_blocks", default=0, min=0, max=100_000, unit="blocks; 0: the oracle timeout")
MIN_FILL = Param("energy_settlement_min_fill_ppm", default=0, min=0, max=1_000_000, unit="ppm of capacity")
MIN_ATTESTERS = Param("energy_min_attesters", default=1, min=1, max=ORACLES_MAX, unit="oracles")
ATTEST_WINDOW = Param("energy_attest_window_blocks", default=20, min=1, max=720, unit="blocks")
DEVIATION = Param("energy_deviation_ppm", default=20_000, min=0, max=500_000, unit="ppm of delta")
DEVIATION_FLOOR = Param("energy_deviation_floor_wh", default=1000, min=0, max=10**6, unit="Wh")
CLOCK_SKEW = Param("energy_max_clock_skew_secs", default=300, min=10, max=3600, unit="s")
CAPACITY_WINDOW = Param("energy_capacity_window_blocks", default=3600, min=1, max=100_000, unit="blocks")
TERMS_WINDOW = Param(
    "energy_batch_window_blocks", default=120, min=1, max=10_000, unit="blocks", presets={"devnet": 10, "minimal": 4}
)
OUTLIER_SLASH = Param("energy_outlier_slash_bps", default=100, min=0, max=10_000, unit="bps of stake")
DISPUTE_WINDOW = Param("energy_dispute_window_blocks", default=720, min=1, max=100_000, unit="blocks")
DISPUTE_TIMEOUT = Param("energy_dispute_timeout_blocks", default=7200, min=1, max=100_000, unit="blocks")
DISPUTE_BOND = Param(
    "energy_dispute_bond", default=10 * BLOCK, min=0, max=10**6 * BLOCK, unit="nBLOCK", presets={"minimal": 10**6}
)
UNBOND_BLOCKS = Param(
    "energy_stake_unbond_blocks", default=7200, min=1, max=10**6, unit="blocks", presets={"devnet": 60, "minimal": 8}
)
JURISDICTION_FEE = Param("energy_jurisdiction_fee_bps", default=0, min=0, max=1000, unit="bps")
DYNAMIC_FEES = Param("energy_dynamic_fees_enabled", default=1, min=0, max=1)
FEE_BASE = Param("energy_treasury_fee_bps", default=250, min=0, max=2000, unit="bps")
FEE_MIN = Param("energy_fee_min_bps", default=100, min=0, max=2000, unit="bps")
FEE_MAX = Param("energy_fee_max_bps", default=1000, min=0, max=2000, unit="bps")
FEE_TARGET = Param("energy_target_utilization_ppm", default=700_000, min=0, max=1_000_000, unit="ppm")
FEE_GAIN = Param("energy_congestion_gain_milli", default=10_000, min=0, max=100_000, unit="1/1000")
FEE_LIQUIDITY_CAP = Param("energy_liquidity_discount_cap_ppm", default=300_000, min=0, max=900_000, unit="ppm")
FEE_AMPLITUDE = Param("energy_peak_amplitude_ppm", default=300_000, min=0, max=900_000, unit="ppm")
FEE_PEAK_HOUR = Param("energy_peak_hour_utc", default=19, min=0, max=23, unit="h")

domain = Domain(
    "energy",
    service="EnergyMarket",
    params=tuple(value for value in list(globals().values()) if isinstance(value, Param)),
)


class ProviderState(IntEnum):
    PENDING = 0
    ACTIVE = 1
    SUSPENDED = 2
    UNDERFUNDED = 3
    UNBONDING = 4
    EXITED = 5


class RoundState(IntEnum):
    OPEN = 0
    FINAL = 1
    FAILED = 2


class DisputeKind(IntEnum):
    LOW_READING = 0
    OUTLIER_DETECTED = 1
    CONSENSUS_GAP = 2
    WRONG_METER = 3
    OTHER = 4


class DisputeState(IntEnum):
    OPEN = 0
    RESOLVED = 1
    EXPIRED = 2


class Outcome(IntEnum):
    UPHELD = 0
    REJECTED = 1
    WITHDRAWN = 2


class SlashReason(IntEnum):
    CONFLICT = 0
    DISPUTE = 1


class DueKind(IntEnum):
    CREDIT = 0
    ROUND = 1
    STAKE = 2
    DISPUTE = 3


@dataclass(frozen=True, slots=True)
class Terms:
    price_per_kwh: U64
    capacity_wh: U64
    jurisdiction: Jurisdiction
    effective_height: Height


@dataclass(frozen=True, slots=True)
class Provider:
    version: U8
    provider_id: ProviderId
    owner: Address
    jurisdiction: Jurisdiction
    capacity_wh: U64
    price_per_kwh: U64
    """nBLOCK."""
    pending_terms: Terms | None
    window_index: U64
    window_used_wh: U64
    meter_address: MeterAddress
    total_delivered_wh: U64
    staked: U64
    locked: U64
    """Of the stake, by open disputes."""
    state: ProviderState
    oracles: Annotated[tuple[OracleId, ...], MaxLen(ORACLES_MAX)]
    """Whoever has a key for it, ascending."""
    last_meter_wh: U64 | None
    last_timestamp: U64
    """Seconds since 1970 of the last final reading."""
    last_nonce: U64
    last_seen_height: Height
    credits: U32
    """Unsettled."""
    registered_height: Height
    unbonding_until: Height


@dataclass(frozen=True, slots=True)
class ProviderRef:
    version: U8
    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class OracleKey:
    key_version: U32
    public_key: Bytes32
    active_from: Height
    retire_at: Height
    """0 while no successor is known."""

    def is_usable(self, height: int) -> bool:
        return self.active_from <= height and (self.retire_at == 0 or height < self.retire_at)


@dataclass(frozen=True, slots=True)
class OracleKeys:
    """The keys of one oracle for one provider, oldest first."""

    version: U8
    keys: Annotated[tuple[OracleKey, ...], MaxLen(KEYS_MAX)]


@dataclass(frozen=True, slots=True)
class Entry:
    oracle_id: OracleId
    total_wh: U64
    timestamp: U64


@dataclass(frozen=True, slots=True)
class Round:
    """What the oracles said of one nonce."""

    version: U8
    opened_height: Height
    closes_height: Height
    entries: Annotated[tuple[Entry, ...], MaxLen(ORACLES_MAX)]
    state: RoundState


@dataclass(frozen=True, slots=True)
class Credit:
    version: U8
    credit_id: Bytes32
    provider_id: ProviderId
    amount_wh: U64
    created_wh: U64
    created_height: Height
    expires_height: Height
    frozen_by: U64
    """Dispute; 0 when free."""
    nonce: U64


@dataclass(frozen=True, slots=True)
class Receipt:
    version: U8
    seq: U64
    buyer: Address
    seller: ProviderId
    wh_delivered: U64
    price_paid: U64
    block_settled: Height
    treasury_fee: U64
    jurisdiction_fee: U64
    fee_bps: U16
    meter_hash: Bytes32
    slash_applied: U64


@dataclass(frozen=True, slots=True)
class Dispute:
    version: U8
    id: U64
    meter_hash: Bytes32
    """The credit in question."""
    provider_id: ProviderId
    reporter: Address
    kind: DisputeKind
    reason: Annotated[str, MaxLen(512, min=1)]
    bond: U64
    state: DisputeState
    opened_height: Height
    deadline_height: Height
    resolved_height: Height
    resolver: Annotated[str, MaxLen(69)]
    note: Annotated[str, MaxLen(512)]
    outcome: Outcome | None
    slashed: U64


@dataclass(frozen=True, slots=True)
class Slash:
    version: U8
    seq: U64
    provider_id: ProviderId
    meter_hash: Bytes32
    block_height: Height
    amount: U64
    reason: SlashReason


@dataclass(frozen=True, slots=True)
class Conflict:
    """That an oracle contradicted itself is punished once for each nonce."""

    version: U8
    height: Height


@dataclass(frozen=True, slots=True)
class Totals:
    """Of the whole market, so that no rule walks over all providers."""

    version: U8
    next_receipt: U64 = 0
    next_dispute: U64 = 1
    next_slash: U64 = 0
    pending_credits_wh: U64 = 0
    delivered_wh: U64 = 0
    open_disputes: U64 = 0
    slashed: U64 = 0
    providers: U32 = 0
    """Registered and not gone."""
    active: U32 = 0
    active_capacity_wh: U64 = 0
    window_index: U64 = 0
    """Capacity window in which something last changed."""
    window_used_wh: U64 = 0
    """By active providers in that window."""


@dataclass(frozen=True, slots=True)
class DueItem:
    kind: DueKind
    name: Annotated[str, MaxLen(64)]
    """Provider; empty for credits and disputes."""
    id: Bytes32
    """Credit; zero for others."""
    number: U64
    """Nonce of a round, number of a dispute."""


@dataclass(frozen=True, slots=True)
class Due:
    version: U8
    items: Annotated[tuple[DueItem, ...], MaxLen(65_536)]


PROVIDERS = domain.table("energy_market/provider", ProviderId, Provider)
METERS = domain.table("energy_market/meter", MeterAddress, ProviderRef)
KEYS = domain.table("energy_market/key", tuple[ProviderId, OracleId], OracleKeys)
ROUNDS = domain.table("energy_market/round", tuple[ProviderId, U64], Round)
CREDITS = domain.table("energy_market/credit", Bytes32, Credit)
RECEIPTS = domain.table("energy_market/receipt", U64, Receipt)
DISPUTES = domain.table("energy_market/dispute", U64, Dispute)
SLASHES = domain.table("energy_market/slash", U64, Slash)
CONFLICTS = domain.table("energy_market/conflict", tuple[ProviderId, OracleId, U64], Conflict)
TOTALS = domain.table("energy_market/totals", None, Totals)
DUE = domain.table("energy_market/due", U64, Due)


# What can be asked of it.


@dataclass(frozen=True, slots=True)
class KeyOffer:
    """An oracle's first key, with its signature that it holds it."""

    oracle_id: OracleId
    public_key: Bytes32
    proof: Bytes64


@dataclass(frozen=True, slots=True)
class RegisterProvider:
    """Sell what one meter measures; the stake answers for its readings."""

    provider_id: ProviderId
    capacity_wh: U64
    price_per_kwh: U64
    meter_address: MeterAddress
    jurisdiction: Jurisdiction
    stake: U64
    initial_meter_wh: U64 | None
    """Register at which credit begins; None: the first reading only sets it."""
    keys: Annotated[tuple[KeyOffer, ...], MaxLen(ORACLES_MAX)]


@dataclass(frozen=True, slots=True)
class UpdateProvider:
    """Change terms from the next window on, so that no buyer is surprised."""

    provider_id: ProviderId
    price_per_kwh: U64 | None
    capacity_wh: U64 | None
    jurisdiction: Jurisdiction | None


@dataclass(frozen=True, slots=True)
class TopUpStake:
    provider_id: ProviderId
    amount: U64


@dataclass(frozen=True, slots=True)
class DeregisterProvider:
    """Leave, once nothing is disputed or unsettled; the stake returns after the unbonding time."""

    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class RotateProviderKey:
    """Add an oracle's key, or replace it: the old one stays valid for the overlap. Overlap 0 revokes at once."""

    provider_id: ProviderId
    oracle_id: OracleId
    new_key: Bytes32
    active_from_height: Height
    overlap_blocks: U32
    proof_of_possession: Bytes64


@dataclass(frozen=True, slots=True)
class RetireProviderKey:
    """Take an oracle's keys away; it no longer attests for the provider."""

    provider_id: ProviderId
    oracle_id: OracleId


@dataclass(frozen=True, slots=True)
class SubmitReading:
    """One oracle's signed word on a meter's register; any account may carry it."""

    provider_id: ProviderId
    meter_address: MeterAddress
    total_wh: U64
    timestamp: U64
    """Seconds since 1970."""
    nonce: U64
    oracle_id: OracleId
    scheme: U8
    """0 Ed25519; others are reserved."""
    signature: Annotated[bytes, MaxLen(8192)]


@dataclass(frozen=True, slots=True)
class SignedReading:
    """What an oracle signed under a nonce."""

    meter_address: MeterAddress
    total_wh: U64
    timestamp: U64
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class ReportConflict:
    """Show that one key signed two different readings under one nonce; it costs the provider part of its stake."""

    provider_id: ProviderId
    oracle_id: OracleId
    nonce: U64
    first: SignedReading
    second: SignedReading


@dataclass(frozen=True, slots=True)
class Settle:
    """Buy energy from a credit."""

    provider_id: ProviderId
    wh: U64
    credit_id: Bytes32
    max_price_per_kwh: U64


@dataclass(frozen=True, slots=True)
class FlagDispute:
    """Doubt a credit: it is frozen until somebody decides; costs a bond."""

    meter_hash: Bytes32
    kind: DisputeKind
    reason: Annotated[str, MaxLen(512, min=1)]


@dataclass(frozen=True, slots=True)
class ResolveDispute:
    id: U64
    outcome: Outcome
    note: Annotated[str, MaxLen(512)]


# What it tells.


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderRegistered:
    provider_id: ProviderId
    owner: Address
    meter_address: MeterAddress
    capacity_wh: U64
    price_per_kwh: U64
    staked: U64
    state: ProviderState


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderUpdated:
    provider_id: ProviderId
    price_per_kwh: U64
    capacity_wh: U64
    effective_height: Height


@domain.event
@dataclass(frozen=True, slots=True)
class StakeChanged:
    provider_id: ProviderId
    staked: U64


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderExited:
    provider_id: ProviderId
    released: U64


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderDeregistered:
    provider_id: ProviderId
    unbonding_until: Height


@domain.event
@dataclass(frozen=True, slots=True)
class KeyRotated:
    provider_id: ProviderId
    oracle_id: OracleId
    key_version: U32
    public_key: Bytes32
    active_from: Height


@domain.event
@dataclass(frozen=True, slots=True)
class KeyRetired:
    provider_id: ProviderId
    oracle_id: OracleId


@domain.event
@dataclass(frozen=True, slots=True)
class ReadingSubmitted:
    provider_id: ProviderId
    oracle_id: OracleId
    meter_address: MeterAddress
    total_wh: U64
    timestamp: U64
    nonce: U64


@domain.event
@dataclass(frozen=True, slots=True)
class RoundFinalized:
    provider_id: ProviderId
    nonce: U64
    total_wh: U64
    delta_wh: U64
    attesters: U16


@domain.event
@dataclass(frozen=True, slots=True)
class OracleOutlier:
    provider_id: ProviderId
    nonce: U64
    oracle_id: OracleId
    total_wh: U64
    median_wh: U64


@domain.event
@dataclass(frozen=True, slots=True)
class QuorumFailed:
    provider_id: ProviderId
    nonce: U64
    entries: U16


@domain.event
@dataclass(frozen=True, slots=True)
class CreditCreated:
    credit_id: Bytes32
    provider_id: ProviderId
    amount_wh: U64
    expires_height: Height


@domain.event
@dataclass(frozen=True, slots=True)
class CreditExpired:
    credit_id: Bytes32
    provider_id: ProviderId
    amount_wh: U64


@domain.event
@dataclass(frozen=True, slots=True)
class Settled:
    seq: U64
    buyer: Address
    provider_id: ProviderId
    wh: U64
    price_paid: U64
    treasury_fee: U64
    fee_bps: U16
    meter_hash: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class DisputeOpened:
    id: U64
    provider_id: ProviderId
    meter_hash: Bytes32
    reporter: Address
    kind: DisputeKind


@domain.event
@dataclass(frozen=True, slots=True)
class DisputeResolved:
    id: U64
    provider_id: ProviderId
    outcome: Outcome | None
    """None: nobody decided in time."""
    slashed: U64


@domain.event
@dataclass(frozen=True, slots=True)
class Slashed:
    seq: U64
    provider_id: ProviderId
    amount: U64
    reason: SlashReason


# What can be read.


@dataclass(frozen=True, slots=True)
class GetMarketState:
    pass


@dataclass(frozen=True, slots=True)
class MarketState:
    status: Annotated[str, MaxLen(16)]
    """trade or rehearsal."""
    providers: U32
    active: U32
    totals: Totals
    fee_bps: U16
    min_stake: U64
    min_attesters: U32
    quorum_ppm: U32
    oracle_timeout_blocks: U32
    slashing_rate_bps: U32


@dataclass(frozen=True, slots=True)
class ListProviders:
    """At most ``limit`` providers (0: 1000) after the id ``after``."""

    after: Annotated[str, MaxLen(64)] = ""
    limit: U32 = 0


@dataclass(frozen=True, slots=True)
class ProviderPage:
    providers: Annotated[tuple[Provider, ...], MaxLen(PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class GetProvider:
    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class KeyRow:
    oracle_id: OracleId
    keys: Annotated[tuple[OracleKey, ...], MaxLen(KEYS_MAX)]


@dataclass(frozen=True, slots=True)
class ProviderReply:
    provider: Provider | None
    keys: Annotated[tuple[KeyRow, ...], MaxLen(ORACLES_MAX)]


@dataclass(frozen=True, slots=True)
class ListKeys:
    """The keys of a provider's oracles."""

    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class KeyPage:
    keys: Annotated[tuple[KeyRow, ...], MaxLen(ORACLES_MAX)]


@dataclass(frozen=True, slots=True)
class ListReceipts:
    """The youngest ``limit`` receipts (0: 100) below ``before`` (0: all)."""

    before: U64 = 0
    limit: U32 = 0


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    receipts: Annotated[tuple[Receipt, ...], MaxLen(PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class ListCredits:
    """Unsettled credits of a provider ("": of all), oldest first."""

    provider_id: Annotated[str, MaxLen(64)] = ""
    limit: U32 = 0


@dataclass(frozen=True, slots=True)
class CreditPage:
    credits: Annotated[tuple[Credit, ...], MaxLen(PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class ListDisputes:
    open_only: bool = False


@dataclass(frozen=True, slots=True)
class DisputePage:
    disputes: Annotated[tuple[Dispute, ...], MaxLen(PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class ListSlashes:
    pass


@dataclass(frozen=True, slots=True)
class SlashPage:
    slashes: Annotated[tuple[Slash, ...], MaxLen(PAGE_MAX)]
