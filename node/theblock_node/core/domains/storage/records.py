"""What the storage market keeps in the state, asks for and tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from theblock_node.core.address import Address
from theblock_node.core.domain import Domain, Param
from theblock_node.core.numeric import U8, U16, U32, U64, Bytes32, Bytes64, Height, MaxLen, Pattern
from theblock_node.core.proofs.retrieval import Opening

ProviderId = Annotated[str, MaxLen(63), Pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")]
Region = Annotated[str, MaxLen(63), Pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")]
SLOTS_MAX = 255
CHUNKS_MAX = 65_536
REPLICAS_MAX = 64
REPUTATION_MAX = 1000
REPUTATION_MIN_FOR_NEW = 500
GIB = 2**30
PLEDGE_PER_BLOCK = 2**20
"""Bytes that one BLOCK of bond lets a provider pledge."""

COLLATERAL_BPS = Param("storage_collateral_bps", default=10_000, min=0, max=20_000, unit="bps")
TERMINATION_BPS = Param("storage_termination_bps", default=5000, min=0, max=10_000, unit="bps")
SLASH_BURN_BPS = Param("storage_slash_burn_bps", default=5000, min=0, max=10_000, unit="bps")
SAMPLES = Param("por_samples", default=4, min=1, max=32, unit="openings")
PERIOD_EPOCHS = Param("por_period_epochs", default=1, min=1, max=720, unit="epochs")
DEADLINE_BLOCKS = Param("por_deadline_blocks", default=60, min=2, max=600, unit="blocks", presets={"minimal": 4})
MISSES_MAX = Param("por_misses_max", default=3, min=1, max=10, unit="challenges")
DATA_SHARDS_MIN = Param("storage_data_shards_min", default=4, min=1, max=64, presets={"devnet": 1, "minimal": 1})
PARITY_SHARDS_MIN = Param("storage_parity_shards_min", default=2, min=1, max=64, presets={"devnet": 1, "minimal": 1})
UNBOND_BLOCKS = Param(
    "storage_unbond_blocks", default=604_800, min=1, max=10_000_000, unit="blocks", presets={"devnet": 60, "minimal": 8}
)

domain = Domain(
    "storage",
    service="StorageMarket",
    params=(
        COLLATERAL_BPS,
        TERMINATION_BPS,
        SLASH_BURN_BPS,
        SAMPLES,
        PERIOD_EPOCHS,
        DEADLINE_BLOCKS,
        MISSES_MAX,
        DATA_SHARDS_MIN,
        PARITY_SHARDS_MIN,
        UNBOND_BLOCKS,
    ),
)


class ReplicaStatus(IntEnum):
    HELD = 0
    LOST = 1
    MOVED = 2
    RELEASED = 3


class ContractStatus(IntEnum):
    ACTIVE = 0
    ENDED = 1


class DueKind(IntEnum):
    CHALLENGE = 0
    DEADLINE = 1
    BOND = 2


@dataclass(frozen=True, slots=True)
class Provider:
    """Who pledges bytes. ``bond`` lies in escrow; ``locked`` of it is collateral of replicas."""

    version: U8
    provider_id: ProviderId
    owner: Address
    member_key: Bytes32
    """Signs acknowledgements; its account answers challenges."""
    region: Region
    capacity_bytes: U64
    used_bytes: U64
    slots_held: U32
    price_per_block: U64
    """nBLOCK per slot GiB."""
    bond: U64
    locked: U64
    terms_version: U32
    maintenance: bool
    retired: bool
    unbonding_until: Height
    reputation: U16
    proof_successes: U64
    proof_failures: U64
    registered_height: Height


@dataclass(frozen=True, slots=True)
class Contract:
    """One stored object. Nothing here but the roots: manifests and bytes are the providers'."""

    version: U8
    contract_id: Bytes32
    core_id: Bytes32
    manifest_id: Bytes32
    owner: Address
    shards_root: Bytes32
    chunk_count: U32
    data: U8
    parity: U8
    original_bytes: U64
    price_per_block: U64
    start_height: Height
    retention_blocks: U64
    deposit: U64
    paid: U64
    status: ContractStatus
    providers: Annotated[tuple[ProviderId, ...], MaxLen(1000)]
    """Everyone who holds or held a replica of it."""

    @property
    def n(self) -> int:
        return self.data + self.parity


@dataclass(frozen=True, slots=True)
class Replica:
    """The slots of one object that one provider holds."""

    version: U8
    contract_id: Bytes32
    provider_id: ProviderId
    slots: Annotated[tuple[U16, ...], MaxLen(SLOTS_MAX)]
    size: U64
    """Bytes on disk over all chunks."""
    price_per_block: U64
    collateral: U64
    phase: U64
    paid_until: Height
    """Blocks up to here are paid."""
    successes: U64
    failures: U64
    misses_in_row: U8
    status: ReplicaStatus


@dataclass(frozen=True, slots=True)
class Challenge:
    """An open question to a replica; at most one at a time."""

    version: U8
    contract_id: Bytes32
    provider_id: ProviderId
    epoch: U64
    beacon: Bytes32
    height: Height
    deadline_height: Height


@dataclass(frozen=True, slots=True)
class DueItem:
    kind: DueKind
    contract_id: Bytes32
    """Zero for a bond."""
    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class Due:
    """What falls due at one height, so that a block touches only its own."""

    version: U8
    items: Annotated[tuple[DueItem, ...], MaxLen(65_536)]


@dataclass(frozen=True, slots=True)
class ContractRef:
    version: U8
    contract_id: Bytes32


PROVIDERS = domain.table("storage_market/provider", ProviderId, Provider)
CONTRACTS = domain.table("storage_market/contract", Bytes32, Contract)
MANIFESTS = domain.table("storage_market/manifest", Bytes32, ContractRef)
REPLICAS = domain.table("storage_market/replica", tuple[Bytes32, ProviderId], Replica)
CHALLENGES = domain.table("storage_market/challenge", tuple[Bytes32, ProviderId], Challenge)
DUE = domain.table("storage_market/due", U64, Due)


# What can be asked of it.


@dataclass(frozen=True, slots=True)
class RegisterProvider:
    """Offer bytes, or change the terms of an offer; the bond may only be raised."""

    provider_id: ProviderId
    member_key: Bytes32
    region: Region
    capacity_bytes: U64
    price_per_block: U64
    bond: U64


@dataclass(frozen=True, slots=True)
class SetMaintenance:
    """Take no new shards (on), or take them again (off); challenges go on."""

    provider_id: ProviderId
    on: bool


@dataclass(frozen=True, slots=True)
class RetireProvider:
    """Leave, once no slot is held; the bond returns after the unbonding time."""

    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class ReplicaOffer:
    """A provider's word, signed with its member key, that it holds these slots."""

    provider_id: ProviderId
    slots: Annotated[tuple[U16, ...], MaxLen(SLOTS_MAX)]
    size: U64
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class AnchorManifest:
    """Make a contract for an object whose shards the named providers hold."""

    manifest_id: Bytes32
    core_id: Bytes32
    shards_root: Bytes32
    chunk_count: U32
    data: U8
    parity: U8
    original_bytes: U64
    retention_blocks: U64
    replicas: Annotated[tuple[ReplicaOffer, ...], MaxLen(REPLICAS_MAX)]


@dataclass(frozen=True, slots=True)
class AnswerChallenge:
    contract_id: Bytes32
    provider_id: ProviderId
    epoch: U64
    openings: Annotated[tuple[Opening, ...], MaxLen(32)]


@dataclass(frozen=True, slots=True)
class MoveReplica:
    """Hand the slots of a leaving or lost replica to another provider, which has acknowledged them."""

    contract_id: Bytes32
    source: ProviderId
    manifest_id: Bytes32
    """Of the object with its new holder."""
    target: ReplicaOffer


@dataclass(frozen=True, slots=True)
class ReleaseManifest:
    """End the contract of an object; what is left of the deposit returns."""

    contract_id: Bytes32


# What it tells.


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderRegistered:
    provider_id: ProviderId
    owner: Address
    capacity_bytes: U64
    price_per_block: U64
    bond: U64
    terms_version: U32


@domain.event
@dataclass(frozen=True, slots=True)
class MaintenanceSet:
    provider_id: ProviderId
    on: bool


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderRetired:
    provider_id: ProviderId
    unbonding_until: Height


@domain.event
@dataclass(frozen=True, slots=True)
class BondReleased:
    provider_id: ProviderId
    owner: Address
    amount: U64


@domain.event
@dataclass(frozen=True, slots=True)
class ManifestAnchored:
    contract_id: Bytes32
    manifest_id: Bytes32
    owner: Address
    original_bytes: U64
    data: U8
    parity: U8
    providers: Annotated[tuple[ProviderId, ...], MaxLen(REPLICAS_MAX)]


@domain.event
@dataclass(frozen=True, slots=True)
class Challenged:
    contract_id: Bytes32
    provider_id: ProviderId
    epoch: U64
    deadline_height: Height


@domain.event
@dataclass(frozen=True, slots=True)
class ChallengeAnswered:
    contract_id: Bytes32
    provider_id: ProviderId
    epoch: U64
    paid: U64


@domain.event
@dataclass(frozen=True, slots=True)
class ChallengeMissed:
    contract_id: Bytes32
    provider_id: ProviderId
    epoch: U64
    slashed: U64
    misses_in_row: U8


@domain.event
@dataclass(frozen=True, slots=True)
class ShardLost:
    contract_id: Bytes32
    provider_id: ProviderId
    slots: Annotated[tuple[U16, ...], MaxLen(SLOTS_MAX)]
    slashed: U64


@domain.event
@dataclass(frozen=True, slots=True)
class ReplicaMoved:
    contract_id: Bytes32
    source: ProviderId
    target: ProviderId
    slots: Annotated[tuple[U16, ...], MaxLen(SLOTS_MAX)]
    manifest_id: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class ManifestReleased:
    contract_id: Bytes32
    refunded: U64


# What can be read.


@dataclass(frozen=True, slots=True)
class GetProvider:
    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class ProviderReply:
    provider: Provider | None


@dataclass(frozen=True, slots=True)
class ListProviders:
    """At most ``limit`` providers (0: 1000) after the id ``after``."""

    after: Annotated[str, MaxLen(63)]
    limit: U32


@dataclass(frozen=True, slots=True)
class ProviderPage:
    providers: Annotated[tuple[Provider, ...], MaxLen(1000)]


@dataclass(frozen=True, slots=True)
class GetContract:
    """By contract id or by manifest id."""

    id: Bytes32


@dataclass(frozen=True, slots=True)
class ContractReply:
    contract: Contract | None
    replicas: Annotated[tuple[Replica, ...], MaxLen(1000)]


@dataclass(frozen=True, slots=True)
class ListContracts:
    """Contracts that have a slot at ``provider_id`` ("": any), at most ``limit`` (0: 100) after the id ``after``."""

    provider_id: Annotated[str, MaxLen(63)]
    after: Bytes32 | None
    limit: U32


@dataclass(frozen=True, slots=True)
class ContractPage:
    contracts: Annotated[tuple[Contract, ...], MaxLen(1000)]


@dataclass(frozen=True, slots=True)
class ListChallenges:
    """Open challenges of ``provider_id`` ("": of all)."""

    provider_id: Annotated[str, MaxLen(63)]


@dataclass(frozen=True, slots=True)
class ChallengePage:
    challenges: Annotated[tuple[Challenge, ...], MaxLen(1000)]
    samples: U32
    """Openings that each asks for."""
