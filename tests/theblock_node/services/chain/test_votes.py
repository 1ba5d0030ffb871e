"""Votes on their way into a block: only those that count are kept, contradictions become evidence, all is bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.chain import Chain, key_of
from theblock_node.core.block import DoubleProposal, DoubleVote, SignedHeader, SurroundVote, block_id
from theblock_node.core.domains import validators
from theblock_node.core.errors import InvalidBlock
from theblock_node.services.chain import votes
from theblock_node.services.chain.votes import VotePool, is_certificate, make_vote

NAMES = [f"v-{at}" for at in range(4)]
ZERO, ONE = bytes(32), b"\1" * 32


@pytest.fixture
def chain() -> Chain:
    """At the first checkpoint, which nobody has voted for yet."""
    made = Chain()
    made.run_to(4)
    return made


def vote_of(chain: Chain, name: str, height: int = 4):
    key = key_of(name)
    return make_vote(
        chain.state,
        chain.params,
        validator=key.public_key,
        target_height=height,
        target_id=chain.blocks[height].id,
        sign=lambda source, target, digest: key.sign(digest),
    )


def add(pool: VotePool, chain: Chain, vote) -> bool:
    return pool.add_vote(vote, chain.state, chain.height)


def test_votes_of_the_pool_make_a_checkpoint_justified(chain):
    pool = VotePool(chain.params)
    for name in NAMES:
        assert add(pool, chain, vote_of(chain, name))
        assert not add(pool, chain, vote_of(chain, name)), "the same vote is no news"
    chain.block(votes=[])

    chain.block(votes=pool.votes_for_block(chain.state))

    assert validators.get_consensus(chain.state).justified.height == 4
    assert pool.votes_for_block(chain.state) == [], "what is counted is not offered again"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"target_height": 5}, "vote.span", id="no-checkpoint"),
        pytest.param({"source_height": 4}, "vote.span", id="from-itself"),
        pytest.param({"target_hash": ONE}, "vote.signature", id="another-block-than-was-signed"),
        pytest.param({"signature": bytes(64)}, "vote.signature", id="not-signed"),
    ],
)
def test_a_vote_that_lies_is_refused(chain, change, code):
    pool = VotePool(chain.params)

    with pytest.raises(InvalidBlock) as refused:
        add(pool, chain, replace(vote_of(chain, "v-0"), **change))

    assert refused.value.code == code
    assert pool.votes_for_block(chain.state) == []


def test_a_vote_of_no_use_is_dropped_without_a_look_at_its_signature(chain, monkeypatch):
    monkeypatch.setattr(votes.crypto, "verify", lambda *_: pytest.fail("bad input must not cost a signature"))
    pool, good = VotePool(chain.params), vote_of(chain, "v-0")
    far = chain.height + votes.AHEAD_INTERVALS * chain.params.macro_interval + 4

    assert not add(pool, chain, replace(good, target_height=far))
    assert not add(pool, chain, replace(good, target_height=0))
    assert not add(pool, chain, replace(good, validator=key_of("alice").public_key))


def test_contradicting_votes_are_evidence_that_the_chain_punishes_once(chain):
    chain.run_to(9, votes=False)
    pool = VotePool(chain.params)
    add(pool, chain, vote_of(chain, "v-0"))
    add(pool, chain, chain.vote("v-0", (0, ZERO), (4, ONE)))
    add(pool, chain, chain.vote("v-1", (0, ZERO), (12, ONE)))
    add(pool, chain, chain.vote("v-1", (4, ZERO), (8, ONE)))

    found = pool.evidence_for_block(chain.state)
    assert sorted(type(one.body).__name__ for one in found) == [DoubleVote.__name__, SurroundVote.__name__]
    chain.block(votes=[], evidence=found)

    assert chain.state.get(validators.STAKES, key_of("v-0").public_key).tombstoned
    assert chain.state.get(validators.STAKES, key_of("v-1").public_key).tombstoned
    assert pool.evidence_for_block(chain.state) == []
    pool.prune(chain.state)
    assert pool.all_evidence() == []


def test_two_headers_for_one_slot_are_evidence(chain):
    pool, key = VotePool(chain.params), key_of("v-0")
    base = replace(chain.tip.header, proposer=key.public_key)
    for at in (0, 0, 1):
        header = replace(base, timestamp_ms=base.timestamp_ms + at)
        pool.add_proposal(SignedHeader(header, key.sign(block_id(header))))

    [found] = pool.all_evidence()
    assert isinstance(found.body, DoubleProposal)


def test_what_is_kept_is_bounded_and_what_is_final_is_forgotten(chain, monkeypatch):
    monkeypatch.setattr(votes, "VOTES_PER_VALIDATOR", 2)
    pool = VotePool(chain.params)
    chain.run_to(9, votes=False)
    source = (0, validators.get_consensus(chain.state).justified.hash)
    for target in (4, 8, 12):
        assert add(pool, chain, chain.vote("v-0", source, (target, ONE)))
    assert [vote.target_height for vote in pool.votes_for_block(chain.state)] == [8, 12]

    chain.run_to(24)
    pool.prune(chain.state)

    assert validators.get_consensus(chain.state).finalized.height >= 12
    assert pool.votes_for_block(chain.state) == []
    assert add(pool, chain, chain.vote("v-0", (20, chain.blocks[20].id), (24, chain.tip.id)))


def test_two_thirds_that_link_a_checkpoint_to_the_next_certify_it(chain):
    chain.run_to(9)
    members = validators.get_set(chain.state, 1).members
    weights = {member.id: member.weight for member in members}
    four, eight = (4, chain.blocks[4].id), (8, chain.blocks[8].id)
    cast = [chain.vote(name, four, eight) for name in NAMES]

    def certifies(found, block=four[1]) -> bool:
        return is_certificate(found, height=4, block_id=block, chain=chain.params, weights=weights)

    assert certifies(cast)
    assert certifies(cast[:3])
    assert not certifies(cast[:2])
    assert not certifies([cast[0]] * 4), "one validator counts once"
    assert not certifies(cast, block=ONE)
    assert not certifies([*cast[:2], replace(cast[2], signature=bytes(64)), chain.vote("v-3", four, (8, ONE))])
    assert not certifies([chain.vote(name, four, (12, ONE)) for name in NAMES]), "only the very next one finalizes"
