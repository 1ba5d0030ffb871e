"""What can be asked of validators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from theblock_node.core.consensus import finality
from theblock_node.core.domain import Reading
from theblock_node.core.domains.validators import records as r
from theblock_node.core.domains.validators.records import Checkpoint, EvidenceRecord, Stake, ValidatorSet, domain
from theblock_node.core.numeric import U64, Bytes32, MaxLen

EVIDENCE_PAGE_MAX = 1000


@dataclass(frozen=True, slots=True)
class ListStakes:
    pass


@dataclass(frozen=True, slots=True)
class StakePage:
    stakes: Annotated[tuple[Stake, ...], MaxLen(r.VALIDATORS_MAX)]


@dataclass(frozen=True, slots=True)
class GetStake:
    id: Bytes32


@dataclass(frozen=True, slots=True)
class StakeReply:
    stake: Stake | None


@dataclass(frozen=True, slots=True)
class GetSet:
    """The set of the running epoch, and the next if it is known."""


@dataclass(frozen=True, slots=True)
class SetReply:
    epoch: U64
    current: ValidatorSet | None
    threshold: U64
    spare: U64
    """How many of the heaviest may be away while the rest still decides."""
    justified: Checkpoint
    finalized: Checkpoint
    voters: Annotated[tuple[Bytes32, ...], MaxLen(r.VALIDATORS_MAX)]
    """Who voted for one of the last three checkpoints."""


@dataclass(frozen=True, slots=True)
class ListEvidence:
    pass


@dataclass(frozen=True, slots=True)
class EvidencePage:
    evidence: Annotated[tuple[EvidenceRecord, ...], MaxLen(EVIDENCE_PAGE_MAX)]


@domain.query("stakes", ListStakes, StakePage)
def stakes(reading: Reading, request: ListStakes) -> StakePage:
    return StakePage(tuple(row for _, row in reading.view.items(r.STAKES))[: r.VALIDATORS_MAX])


@domain.query("stake", GetStake, StakeReply)
def stake_of(reading: Reading, request: GetStake) -> StakeReply:
    return StakeReply(reading.view.get(r.STAKES, request.id))


@domain.query("set", GetSet, SetReply)
def current_set(reading: Reading, request: GetSet) -> SetReply:
    epoch = (reading.height + 1) // reading.chain.epoch_blocks
    found = r.get_set(reading.view, epoch)
    weights = [member.weight for member in found.members]
    consensus = r.get_consensus(reading.view)
    recent = reading.view.items(r.CHECKPOINTS)[-3:]
    voters = sorted({voter for _, record in recent for link in record.links for voter in link.voters})
    return SetReply(
        epoch,
        found,
        finality.threshold(sum(weights)),
        finality.count_spare(weights),
        consensus.justified,
        consensus.finalized,
        tuple(voters),
    )


@domain.query("evidence", ListEvidence, EvidencePage)
def evidence(reading: Reading, request: ListEvidence) -> EvidencePage:
    return EvidencePage(tuple(row for _, row in reading.view.items(r.EVIDENCE))[:EVIDENCE_PAGE_MAX])
