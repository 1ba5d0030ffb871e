"""What an EnergyOracle may say: terms, meters, signing keys, checks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from theblock_operator.kinds import kind
from theblock_operator.kinds.kind import Amount, Column, DrainDeadline, Part, Rule, Stake, Storage, Text, Url

KWH = r"^(0|[1-9][0-9]{0,9})([.][0-9]{1,3})?$"
Kwh = Annotated[str, Meta(pattern=KWH, max_length=14)]
WH_MAX = 10**9 * 1000


class Provider(Part, frozen=True, kw_only=True):
    """Terms of each meter's provider."""

    jurisdiction: Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[A-Z]{2}(_[A-Z0-9]{1,12})?$")]
    capacity_kwh: Kwh
    price_per_kwh: Annotated[Amount, Meta(description="nBLOCK")]


class Mock(Part, frozen=True, kw_only=True):
    step_wh: Annotated[int, Meta(ge=0, le=10**9)] = 250
    start_wh: Annotated[int, Meta(ge=0, le=10**15)] = 0
    faults: Annotated[
        tuple[Literal["offline", "stuck", "jump", "regress", "skew"], ...], Meta(max_length=5), kind.SET
    ] = ()


class Meter(Part, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=23, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    address: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}$", max_length=128)]
    driver: Literal["mock", "http"]
    endpoint: Url | UnsetType = UNSET
    interval_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 15
    scale_to_wh: Annotated[int, Meta(ge=1, le=10**9)] = 1000
    mock: Mock | UnsetType = UNSET


class Quorum(Part, frozen=True, kw_only=True):
    min_attesters: Annotated[int, Meta(ge=1, le=64, description="Compared with the chain's Param, never set")] = 1


class SecretRef(Part, frozen=True, kw_only=True):
    name: kind.ObjectName
    key_template: Text = "{member}.key"


class Rotation(Part, frozen=True, kw_only=True):
    overlap_blocks: Annotated[int, Meta(ge=1, le=10**6)] = 120
    activation_delay_blocks: Annotated[int, Meta(ge=1, le=10**6)] = 60


class Signing(Part, frozen=True, kw_only=True):
    secret_ref: SecretRef | UnsetType = UNSET
    rotation: Rotation = Rotation()


class Policy(Part, frozen=True, kw_only=True):
    max_age_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    max_future_skew_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 30
    heartbeat_blocks: Annotated[int, Meta(ge=1, le=10**6)] = 360


class Retry(Part, frozen=True, kw_only=True):
    initial_milliseconds: Annotated[int, Meta(ge=1, le=60_000)] = 500
    max_milliseconds: Annotated[int, Meta(ge=1, le=3_600_000)] = 30_000


class Submit(Part, frozen=True, kw_only=True):
    retry: Retry = Retry()
    spool_entries: Annotated[int, Meta(ge=1, le=10**6)] = 10_000


class Spec(kind.MemberSpec, frozen=True, kw_only=True):
    replicas: Annotated[int, Meta(ge=1, le=64, description="Members wanted: attesters of all meters")] = 1
    stake: Annotated[Stake, Meta(description="nBLOCK staked per meter; only ever raised")]
    drain_deadline_seconds: DrainDeadline = 300
    storage: Annotated[Storage, Meta(description="The volume data")] = Storage()
    provider: Provider
    meters: Annotated[tuple[Meter, ...], Meta(min_length=1, max_length=16), kind.BY_NAME]
    quorum: Quorum = Quorum()
    signing: Signing = Signing()
    policy: Annotated[Policy, Meta(description="Checks before signing")] = Policy()
    submit: Submit = Submit()


RULES = (
    *kind.MEMBER_RULES,
    Rule(
        "spec",
        "self.replicas >= self.quorum.minAttesters",
        "replicas must be at least quorum.minAttesters",
        lambda spec: spec.replicas >= spec.quorum.min_attesters,
    ),
    Rule(
        "spec",
        "self.policy.maxFutureSkewSeconds <= self.policy.maxAgeSeconds",
        "maxFutureSkewSeconds must not exceed maxAgeSeconds",
        lambda spec: spec.policy.max_future_skew_seconds <= spec.policy.max_age_seconds,
    ),
    Rule(
        "spec",
        "self.meters.all(m, self.meters.exists_one(n, n.address == m.address))",
        "meters must have distinct addresses",
        lambda spec: len({meter.address for meter in spec.meters}) == len(spec.meters),
    ),
    Rule(
        "spec",
        "oldSelf.meters.all(o, self.meters.all(m, m.name != o.name || m.address == o.address))",
        "the address of a meter is immutable; use another name",
        holds_change=lambda old, new: all(
            now.name != was.name or now.address == was.address for was in old.meters for now in new.meters
        ),
    ),
    Rule(
        "spec.meters[*]",
        "self.driver == 'mock' || has(self.endpoint)",
        "this driver needs an endpoint",
        lambda meter: meter.driver == "mock" or meter.endpoint is not UNSET,
    ),
    Rule(
        "spec.meters[*]",
        "!has(self.mock) || self.driver == 'mock'",
        "mock belongs to driver mock",
        lambda meter: meter.mock is UNSET or meter.driver == "mock",
    ),
    Rule(
        "spec.provider",
        "!self.capacityKwh.matches('^0([.]0+)?$')",
        "capacityKwh must be positive",
        lambda provider: parse_wh(provider.capacity_kwh) > 0,
    ),
    Rule(
        "spec.provider",
        "double(self.capacityKwh) <= 1000000000.0",
        "capacityKwh is at most 10^9",
        lambda provider: parse_wh(provider.capacity_kwh) <= WH_MAX,
    ),
    Rule(
        "spec.signing",
        "!has(self.secretRef) || self.secretRef.keyTemplate.contains('{member}')",
        "signing.secretRef.keyTemplate must contain {member}: one key, one signer",
        lambda signing: signing.secret_ref is UNSET or "{member}" in signing.secret_ref.key_template,
    ),
    Rule(
        "spec.meters",
        "",
        "meters must have distinct names",
        lambda meters: len({meter.name for meter in meters}) == len(meters),
    ),
)


def parse_wh(kwh: str) -> int:
    """Kilowatt-hours with at most 3 decimals, as watt-hours, exactly."""
    whole, _, part = kwh.partition(".")
    return int(whole) * 1000 + int(part.ljust(3, "0") if part else "0")


class MeterStatus(Part, frozen=True, kw_only=True):
    name: str
    address: str = ""
    provider_id: str = ""
    provider_state: str = ""
    last_total_wh: str | UnsetType = UNSET
    last_reading_height: int | UnsetType = UNSET
    reachable: bool | UnsetType = UNSET


class KeyStatus(Part, frozen=True, kw_only=True):
    oracle_id: str
    version: int = 0
    fingerprint: str = ""
    state: str = ""
    active_from_height: int | UnsetType = UNSET
    retire_at_height: int | UnsetType = UNSET


class QuorumStatus(Part, frozen=True, kw_only=True):
    members: int = 0
    healthy: int = 0


class StatusFields(kind.MemberKindStatus, frozen=True, kw_only=True):
    members: Annotated[tuple[kind.MemberStatus, ...], kind.BY_NAME] | UnsetType = UNSET
    meters_ready: str | UnsetType = UNSET
    meters: Annotated[tuple[MeterStatus, ...], Meta(max_length=16), kind.BY_NAME] | UnsetType = UNSET
    keys: Annotated[tuple[KeyStatus, ...], Meta(max_length=128)] | UnsetType = UNSET
    quorum: QuorumStatus | UnsetType = UNSET
    pending_credits_wh: str | UnsetType = UNSET
    open_disputes: int | UnsetType = UNSET
    slashed_total: str | UnsetType = UNSET
    reputation_ppm: int | UnsetType = UNSET
    spool_depth: int | UnsetType = UNSET


COLUMNS = (
    *kind.READY_COLUMNS,
    kind.DESIRED,
    kind.READY_MEMBERS,
    Column("Meters", ".status.metersReady"),
    Column("Credits", ".status.pendingCreditsWh"),
    Column("Disputes", ".status.openDisputes", "integer"),
    kind.AGE,
    kind.NETWORK,
    Column("Attesters", ".status.quorum.healthy", "integer", wide=True),
    Column("Jurisdiction", ".spec.provider.jurisdiction", wide=True),
)
