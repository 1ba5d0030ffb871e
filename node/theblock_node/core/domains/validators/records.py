"""What the state holds of validators: bonds by role, sets by epoch, checkpoints, evidence; and what is told of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated

from theblock_node.core.address import Address
from theblock_node.core.block import Evidence
from theblock_node.core.domain import Domain, Param
from theblock_node.core.market import DueQueue
from theblock_node.core.numeric import U8, U64, Bytes32, Bytes48, Height, MaxLen
from theblock_node.core.state import View

VALIDATORS_MAX = 1024
UNBONDINGS_MAX = 64

UNBONDING_EPOCHS = Param(
    "unbonding_epochs", default=5040, min=1, max=50_000, unit="epochs", presets={"devnet": 20, "minimal": 2}
)
SLASH_EQUIVOCATION_BPS = Param("slash_equivocation_bps", default=500, min=1, max=10_000, unit="bps")
CHURN_LIMIT_BPS = Param(
    "churn_limit_bps", default=1000, min=10, max=3333, unit="bps", presets={"devnet": 3333, "minimal": 3333}
)

domain = Domain("validators", service="Validators", params=(UNBONDING_EPOCHS, SLASH_EQUIVOCATION_BPS, CHURN_LIMIT_BPS))


class Role(IntEnum):
    VALIDATOR = 0
    GATEWAY = 1
    STORAGE = 2
    EXEC = 3
    COMPUTE = 4
    ENERGY = 5
    BRIDGE = 6


class EvidenceKind(IntEnum):
    DOUBLE_VOTE = 0
    SURROUND_VOTE = 1
    DOUBLE_PROPOSAL = 2


@dataclass(frozen=True, slots=True)
class Unbonding:
    amount: U64
    release_epoch: U64


@dataclass(frozen=True, slots=True)
class RoleStake:
    role: Role
    bonded: U64
    unbonding: Annotated[tuple[Unbonding, ...], MaxLen(UNBONDINGS_MAX)]


@dataclass(frozen=True, slots=True)
class Stake:
    version: U8
    validator: Bytes32
    owner: Address
    bls_pubkey: Bytes48
    jailed_until: Height
    tombstoned: bool
    roles: Annotated[tuple[RoleStake, ...], MaxLen(len(Role))]
    """By ascending role."""

    def role(self, role: Role) -> RoleStake:
        return next((held for held in self.roles if held.role is role), RoleStake(role, 0, ()))

    def with_role(self, changed: RoleStake) -> Stake:
        others = [held for held in self.roles if held.role is not changed.role]
        kept = sorted([*others, changed], key=lambda held: held.role)
        return replace(self, roles=tuple(held for held in kept if held.bonded or held.unbonding))


@dataclass(frozen=True, slots=True)
class Member:
    id: Bytes32
    weight: U64


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """Who proposes and votes in an epoch, by ascending id."""

    version: U8
    epoch: U64
    beacon: Bytes32
    """The epoch's randomness; fixed together with the set."""
    members: Annotated[tuple[Member, ...], MaxLen(VALIDATORS_MAX)]

    def weights(self) -> list[tuple[bytes, int]]:
        return [(member.id, member.weight) for member in self.members]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    height: Height
    hash: Bytes32


@dataclass(frozen=True, slots=True)
class Link:
    """Votes from one justified checkpoint to the record's."""

    source_height: Height
    voters: Annotated[tuple[Bytes32, ...], MaxLen(VALIDATORS_MAX)]


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    version: U8
    hash: Bytes32
    justified: bool
    links: Annotated[tuple[Link, ...], MaxLen(VALIDATORS_MAX)]
    """By the order of their first vote; nobody votes in two of them."""


@dataclass(frozen=True, slots=True)
class Consensus:
    version: U8
    justified: Checkpoint
    finalized: Checkpoint


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    version: U8
    height: Height
    """Of the block that included it."""
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Offence:
    version: U8
    evidence_id: Bytes32


@dataclass(frozen=True, slots=True)
class Release:
    """An identity some of whose unbonding ends with an epoch."""

    version: U8
    validator: Bytes32


STAKES = domain.table("validators/stake", Bytes32, Stake)
SETS = domain.table("validators/set", U64, ValidatorSet)
EVIDENCE = domain.table("validators/evidence", tuple[EvidenceKind, Bytes32, Bytes32], EvidenceRecord)
OFFENCES = domain.table("validators/offence", tuple[EvidenceKind, Bytes32, U64], Offence)
RELEASES: DueQueue[Release] = DueQueue(domain, "validators/release", Release)
"""By epoch."""
CONSENSUS = domain.table("chain/consensus", None, Consensus)
CHECKPOINTS = domain.table("chain/checkpoint", Height, CheckpointRecord)


@domain.event
@dataclass(frozen=True, slots=True)
class Registered:
    id: Bytes32
    owner: Address


@domain.event
@dataclass(frozen=True, slots=True)
class Bonded:
    id: Bytes32
    role: Role
    amount: U64
    total: U64


@domain.event
@dataclass(frozen=True, slots=True)
class Unbonded:
    id: Bytes32
    role: Role
    amount: U64
    release_epoch: U64


@domain.event
@dataclass(frozen=True, slots=True)
class Released:
    id: Bytes32
    owner: Address
    amount: U64


@domain.event
@dataclass(frozen=True, slots=True)
class Slashed:
    id: Bytes32
    role: Role
    amount: U64
    reporter: Address


@domain.event
@dataclass(frozen=True, slots=True)
class Tombstoned:
    id: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class SetChanged:
    epoch: U64
    members: Annotated[tuple[Member, ...], MaxLen(VALIDATORS_MAX)]


@domain.event
@dataclass(frozen=True, slots=True)
class Justified:
    height: Height
    hash: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class Finalized:
    height: Height
    hash: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class EquivocationDetected:
    id: Bytes32
    kind: EvidenceKind
    evidence_id: Bytes32
    slashed: U64


def get_set(view: View, epoch: int) -> ValidatorSet:
    found = view.get(SETS, epoch)
    assert found is not None, f"the set of epoch {epoch} is always fixed before it begins"
    return found  # type: ignore[no-any-return]


def get_consensus(view: View) -> Consensus:
    found = view.get(CONSENSUS, None)
    assert found is not None, "the genesis writes it"
    return found  # type: ignore[no-any-return]


def bonded(view: View, validator: bytes, role: Role) -> int:
    found = view.get(STAKES, validator)
    return 0 if found is None else found.role(role).bonded
