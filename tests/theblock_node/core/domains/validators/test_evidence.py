from dataclasses import replace

import pytest
from support.chain import Chain, address, key_of, registration
from theblock_node.core import transition
from theblock_node.core.address import address_of
from theblock_node.core.block import (
    DoubleProposal,
    DoubleVote,
    Evidence,
    SignedHeader,
    SurroundVote,
    block_id,
    evidence_id,
)
from theblock_node.core.domains import accounts, supply, validators
from theblock_node.core.domains.validators import EvidenceKind, Role, Unbond
from theblock_node.core.domains.validators.queries import ListEvidence
from theblock_node.core.errors import InvalidBlock

BAD = key_of("v-0").public_key
ZERO, ONE = bytes(32), b"\1" * 32


def double_vote(chain: Chain, name: str = "v-0", target: int = 4) -> Evidence:
    return Evidence(
        1, DoubleVote(chain.vote(name, (0, ZERO), (target, ZERO)), chain.vote(name, (0, ZERO), (target, ONE)))
    )


def surround_vote(chain: Chain, name: str = "v-0") -> Evidence:
    return Evidence(1, SurroundVote(chain.vote(name, (4, ZERO), (8, ONE)), chain.vote(name, (0, ZERO), (12, ONE))))


def double_proposal(chain: Chain, name: str = "v-0", slot: int = 1) -> Evidence:
    key = key_of(name)
    base = replace(chain.blocks[-1].header, proposer=key.public_key, slot=slot)
    headers = [replace(base, timestamp_ms=base.timestamp_ms + at) for at in (1, 2)]
    return Evidence(1, DoubleProposal(*[SignedHeader(header, key.sign(block_id(header))) for header in headers]))


def refusal(chain: Chain, evidence: Evidence) -> str:
    """What a block with the evidence is refused for; a proposer leaves it out."""
    block, _ = chain.propose(evidence=[evidence])
    assert block.body.evidence == ()
    with pytest.raises(InvalidBlock) as refused:
        transition.apply_block(
            chain.state,
            chain.tip.header,
            replace(block, body=replace(block.body, evidence=(evidence,))),
            chain=chain.params,
            registry=chain.registry,
        )
    return refused.value.code


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(double_vote, EvidenceKind.DOUBLE_VOTE, id="double-vote"),
        pytest.param(surround_vote, EvidenceKind.SURROUND_VOTE, id="surround-vote"),
        pytest.param(double_proposal, EvidenceKind.DOUBLE_PROPOSAL, id="double-proposal"),
    ],
)
def test_a_contradiction_costs_a_part_of_the_bond_and_the_place(chain, make, kind):
    evidence = make(chain)
    before = chain.state.get(validators.STAKES, BAD).role(Role.VALIDATOR).bonded

    told = {event.name: event.record for event in chain.block(evidence=[evidence]).block_events}

    stake = chain.state.get(validators.STAKES, BAD)
    slashed = before * 500 // 10_000
    assert stake.tombstoned
    assert stake.role(Role.VALIDATOR).bonded == before - slashed
    assert told["validators.equivocation_detected"] == validators.EquivocationDetected(
        BAD, kind, evidence_id(evidence), slashed
    )
    assert told["validators.tombstoned"] == validators.Tombstoned(BAD)
    reporter = address_of(chain.tip.header.proposer)
    assert accounts.get_balance(chain.state, reporter) == slashed // 512
    assert supply.get_supply(chain.state).burned == slashed - slashed // 512
    assert BAD not in dict(validators.get_set(chain.state, 0).weights())
    assert chain.query("validators.evidence", ListEvidence()).evidence == (
        validators.EvidenceRecord(1, chain.height, evidence),
    )
    assert chain.money() == chain.minted()
    assert chain.replay().root == chain.state.root


def test_the_rest_goes_on_to_finalize_without_the_offender(chain):
    chain.block(evidence=[double_vote(chain)])
    chain.run_to(20)

    assert validators.get_consensus(chain.state).finalized.height == 12
    assert len(validators.get_set(chain.state, 2).members) == 3
    assert BAD not in {block.header.proposer for block in chain.blocks[2:]}


def test_an_offender_is_punished_once(chain):
    first = double_vote(chain)
    swapped = Evidence(1, DoubleVote(first.body.second, first.body.first))
    chain.block(evidence=[first, swapped])

    assert len(chain.tip.body.evidence) == 1
    for again in (first, swapped, double_vote(chain, target=8), double_proposal(chain)):
        assert refusal(chain, again) == "evidence.dup"


def test_a_bond_on_its_way_back_is_slashed_too(chain):
    chain.ok("owner", "validators.unbond", Unbond(BAD, Role.VALIDATOR, 10**12))

    chain.block(evidence=[double_vote(chain)])

    held = chain.state.get(validators.STAKES, BAD).role(Role.VALIDATOR)
    assert (held.bonded, held.unbonding[0].amount) == (0, 10**12 - 5 * 10**10)


def test_a_tombstoned_identity_never_comes_back(chain):
    chain.block(evidence=[double_vote(chain)])

    assert chain.refused("owner", "validators.bond", validators.Bond(BAD, Role.VALIDATOR, 1)) == "validators.tombstoned"
    assert chain.refused("owner", "validators.register", registration("owner", "v-0")) == "validators.tombstoned"
    chain.ok("owner", "validators.unbond", Unbond(BAD, Role.VALIDATOR, 95 * 10**10))


def test_evidence_is_refused_that_would_change_nothing(chain):
    chain.ok("alice", "validators.register", registration("alice", "v-9"))

    assert refusal(chain, double_vote(chain, "v-8")) == "evidence.invalid"  # Never registered.
    assert refusal(chain, double_vote(chain, "v-9")) == "evidence.invalid"  # Nothing bonded.


def test_evidence_grows_too_old(chain):
    evidence = double_vote(chain)
    chain.run_to(23)
    assert chain.propose(evidence=[evidence])[0].header.height == 24

    # The offence is of epoch 0; in epoch 3 its price may be gone from the bond.
    assert refusal(chain, evidence) == "evidence.expired"
    chain.block(evidence=[double_vote(chain, target=8)])
    assert chain.state.get(validators.STAKES, BAD).tombstoned


def _same_vote(chain):
    vote = double_vote(chain).body.first
    return DoubleVote(vote, vote)


def _votes_of_two(chain):
    return DoubleVote(double_vote(chain, "v-0").body.first, double_vote(chain, "v-1").body.second)


def _forged_vote(chain):
    votes = double_vote(chain).body
    return replace(votes, second=replace(votes.second, signature=votes.first.signature))


def _inside_out(chain):
    votes = surround_vote(chain).body
    return SurroundVote(votes.outer, votes.inner)


def _same_header(chain):
    header = double_proposal(chain).body.first
    return DoubleProposal(header, header)


def _headers_of_two_slots(chain):
    return DoubleProposal(double_proposal(chain).body.first, double_proposal(chain, slot=2).body.second)


def _headers_of_two(chain):
    return DoubleProposal(double_proposal(chain, "v-0").body.first, double_proposal(chain, "v-1").body.second)


def _forged_header(chain):
    headers = double_proposal(chain).body
    return replace(headers, second=replace(headers.second, signature=headers.first.signature))


def _of_another_chain(chain):
    return double_vote(Chain(preset="devnet")).body


@pytest.mark.parametrize(
    "make",
    [
        _same_vote, _votes_of_two, _forged_vote, _inside_out, _same_header, _headers_of_two_slots, _headers_of_two,
        _forged_header, _of_another_chain,
    ],
)  # fmt: skip
def test_what_proves_nothing_is_refused(chain, make):
    evidence = Evidence(1, make(chain))

    with pytest.raises(InvalidBlock) as refused:
        validators.check_evidence(chain.params, evidence)

    assert refused.value.code == "evidence.invalid"
    assert refusal(chain, evidence) == "evidence.invalid"


def test_the_last_member_of_a_set_stays_in_it():
    chain = Chain(validators_count=1)
    chain.block(evidence=[double_vote(chain)])
    chain.run_to(9)

    assert dict(validators.get_set(chain.state, 1).weights()) == {BAD: 10**12}
    assert address("owner") == chain.state.get(validators.STAKES, BAD).owner
