"""Votes and evidence on their way into a block, and who was caught contradicting itself. Pure and bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from theblock_node.core import crypto
from theblock_node.core.block import (
    Attestation,
    DoubleProposal,
    DoubleVote,
    Evidence,
    SignedHeader,
    SurroundVote,
    attestation_digest,
    evidence_id,
)
from theblock_node.core.consensus import finality
from theblock_node.core.domains import validators
from theblock_node.core.errors import InvalidBlock, ProtocolError
from theblock_node.core.params import ChainParams
from theblock_node.core.state import View

VOTES_PER_VALIDATOR = 32
PROPOSALS_MAX = 2048
EVIDENCE_MAX = 64
AHEAD_INTERVALS = 4
"""Votes for checkpoints further ahead than this are not kept: their sender is far ahead of us, or lies."""


@dataclass(slots=True)
class VotePool:
    chain: ChainParams
    _votes: dict[bytes, list[Attestation]] = field(default_factory=dict)
    """By validator, oldest first."""
    _proposals: OrderedDict[tuple[bytes, int], SignedHeader] = field(default_factory=OrderedDict)
    _evidence: dict[bytes, Evidence] = field(default_factory=dict)

    def add_vote(self, vote: Attestation, view: View, head_height: int) -> bool:
        """Keep a vote; whether it was new. Refuses one that is not signed by a member of its set."""
        known = self._votes.get(vote.validator, [])
        if vote in known:
            return False
        interval = self.chain.macro_interval
        low = validators.get_consensus(view).finalized.height
        if not low < vote.target_height <= head_height + AHEAD_INTERVALS * interval:
            return False
        if vote.target_height % interval or vote.source_height % interval or vote.source_height >= vote.target_height:
            raise InvalidBlock("vote.span", source=vote.source_height, target=vote.target_height)
        held = view.get(validators.SETS, vote.target_height // self.chain.epoch_blocks)
        if held is None:
            return False
        if all(member.id != vote.validator for member in held.members):
            return False
        if not crypto.verify(vote.validator, attestation_digest(self.chain.chain_id, vote), vote.signature):
            raise InvalidBlock("vote.signature", validator=vote.validator.hex())
        for other in known:
            self._compare(vote, other)
        self._votes[vote.validator] = [*known, vote][-VOTES_PER_VALIDATOR:]
        return True

    def add_proposal(self, signed: SignedHeader) -> None:
        """Note a header whose signature holds; two for one slot are evidence."""
        where = (signed.header.proposer, signed.header.slot)
        other = self._proposals.setdefault(where, signed)
        if other.header != signed.header:
            self.add_evidence(Evidence(1, DoubleProposal(other, signed)))
        if len(self._proposals) > PROPOSALS_MAX:
            self._proposals.popitem(last=False)

    def add_evidence(self, evidence: Evidence) -> bool:
        """Keep evidence that holds; whether it was new."""
        identity = evidence_id(evidence)
        if identity in self._evidence or len(self._evidence) >= EVIDENCE_MAX:
            return False
        validators.check_evidence(self.chain, evidence)
        self._evidence[identity] = evidence
        return True

    def votes_for_block(self, view: View) -> list[Attestation]:
        """Those that the block on ``view`` can count, by target."""
        found = []
        for validator in sorted(self._votes):
            for vote in self._votes[validator]:
                source = view.get(validators.CHECKPOINTS, vote.source_height)
                if source is None or not source.justified or source.hash != vote.source_hash:
                    continue
                target = view.get(validators.CHECKPOINTS, vote.target_height)
                links = () if target is None else target.links
                if any(link.source_height == vote.source_height and validator in link.voters for link in links):
                    continue
                found.append(vote)
        return sorted(found, key=lambda vote: (vote.target_height, vote.validator))

    def evidence_for_block(self, view: View) -> list[Evidence]:
        """Those of offences that nobody was punished for yet."""
        return [self._evidence[identity] for identity in sorted(self._evidence) if self._is_open(identity, view)]

    def all_evidence(self) -> list[Evidence]:
        return list(self._evidence.values())

    def prune(self, view: View) -> None:
        """Forget what is final or punished."""
        final = validators.get_consensus(view).finalized.height
        for validator, votes in list(self._votes.items()):
            kept = [vote for vote in votes if vote.target_height > final]
            if kept:
                self._votes[validator] = kept
            else:
                del self._votes[validator]
        for identity in [identity for identity in self._evidence if not self._is_open(identity, view)]:
            del self._evidence[identity]

    def _is_open(self, identity: bytes, view: View) -> bool:
        """Whether the state after ``view``'s block would punish it; the final height stands for the block's own."""
        height = validators.get_consensus(view).finalized.height
        try:
            validators.check_open(view, self.chain, self._evidence[identity], height)
        except ProtocolError:
            return False
        return True

    def _compare(self, vote: Attestation, other: Attestation) -> None:
        one, two = _span(vote), _span(other)
        if finality.is_double_vote(one, two):
            self.add_evidence(Evidence(1, DoubleVote(*_ordered(vote, other))))
        elif finality.is_surround_vote(one, two):
            self.add_evidence(Evidence(1, SurroundVote(inner=vote, outer=other)))
        elif finality.is_surround_vote(two, one):
            self.add_evidence(Evidence(1, SurroundVote(inner=other, outer=vote)))


def make_vote(
    view: View,
    chain: ChainParams,
    *,
    validator: bytes,
    target_height: int,
    target_id: bytes,
    sign: Callable[[int, int, bytes], bytes],
) -> Attestation:
    """A vote for a checkpoint from what is justified in ``view``; ``sign`` takes (source, target, digest)."""
    source = validators.get_consensus(view).justified
    blank = Attestation(validator, source.height, source.hash, target_height, target_id, bytes(64))
    digest = attestation_digest(chain.chain_id, blank)
    signature = sign(source.height, target_height, digest)
    return Attestation(validator, source.height, source.hash, target_height, target_id, signature)


def is_certificate(
    votes: Iterable[Attestation], *, height: int, block_id: bytes, chain: ChainParams, weights: dict[bytes, int]
) -> bool:
    """Whether the votes make the block final: two thirds link it to the very next checkpoint."""
    following = height + chain.macro_interval
    by_target: dict[bytes, list[bytes]] = {}
    for vote in votes:
        spans = (vote.source_height, vote.source_hash, vote.target_height) == (height, block_id, following)
        signed = spans and crypto.verify(vote.validator, attestation_digest(chain.chain_id, vote), vote.signature)
        if signed:
            by_target.setdefault(vote.target_hash, []).append(vote.validator)
    return any(finality.is_decided(voters, weights) for voters in by_target.values())


def _span(vote: Attestation) -> tuple[int, bytes, int, bytes]:
    return vote.source_height, vote.source_hash, vote.target_height, vote.target_hash


def _ordered(one: Attestation, two: Attestation) -> tuple[Attestation, Attestation]:
    """The same two votes are the same evidence, whoever saw which first."""
    return (one, two) if one.target_hash + one.source_hash <= two.target_hash + two.source_hash else (two, one)
