from dataclasses import replace

import pytest
from support.chain import Chain, key_of
from theblock_node.core import transition
from theblock_node.core.block import Attestation
from theblock_node.core.domains import validators
from theblock_node.core.domains.validators import CHECKPOINTS, Checkpoint
from theblock_node.core.errors import InvalidBlock

NAMES = [f"v-{at}" for at in range(4)]


def span(chain: Chain, height: int) -> tuple[int, bytes]:
    return height, chain.blocks[height].id


def votes(chain: Chain, source: int, target: int, names: list[str] = NAMES) -> list[Attestation]:
    return [chain.vote(name, span(chain, source), span(chain, target)) for name in names]


@pytest.fixture
def quiet() -> Chain:
    """At height 9 with checkpoints 0, 4 and 8, of which nobody has voted for one."""
    chain = Chain()
    chain.run(9, votes=False)
    return chain


def heights(chain: Chain) -> tuple[int, int]:
    found = validators.get_consensus(chain.state)
    return found.justified.height, found.finalized.height


def test_every_checkpoint_is_final_once_the_next_is_justified(chain):
    seen = []
    for _ in range(14):
        chain.block()
        seen.append(heights(chain))

    assert seen[3:] == [(0, 0), *[(4, 0)] * 4, *[(8, 4)] * 4, *[(12, 8)] * 2]
    assert chain.events("validators.finalized") == [
        validators.Finalized(*span(chain, height)) for height in (0, 4, 8) if height
    ]
    assert [height for height, _ in chain.state.items(CHECKPOINTS)] == [8, 12]


def test_two_thirds_justify_and_less_do_not(quiet):
    quiet.block(votes=votes(quiet, 0, 4, NAMES[:2]))
    assert heights(quiet) == (0, 0)

    quiet.block(votes=votes(quiet, 0, 4, NAMES[2:3]))
    assert heights(quiet) == (4, 0)
    assert quiet.events("validators.justified") == [validators.Justified(*span(quiet, 4))]


def test_votes_may_come_late_and_past_one_that_was_missed(quiet):
    quiet.block(votes=votes(quiet, 0, 8))
    assert heights(quiet) == (8, 0)
    quiet.run_to(13, votes=False)
    quiet.block(votes=votes(quiet, 8, 12))

    # 4 was never justified; 8 is final since its child is justified from it.
    assert heights(quiet) == (12, 8)


def test_a_link_over_a_gap_finalizes_nothing(quiet):
    quiet.block(votes=votes(quiet, 0, 4))
    quiet.run_to(13, votes=False)
    quiet.block(votes=votes(quiet, 4, 12))

    assert heights(quiet) == (12, 0)


def test_votes_of_different_sources_are_not_added_up(quiet):
    quiet.block(votes=votes(quiet, 0, 4))
    quiet.block(votes=[*votes(quiet, 0, 8, NAMES[:2]), *votes(quiet, 4, 8, NAMES[2:])])

    assert heights(quiet) == (4, 0)


def _with(**changes):
    return lambda chain, vote: replace(vote, **changes)


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        pytest.param(_with(signature=bytes(64)), "bad signature", id="unsigned"),
        pytest.param(_with(validator=key_of("v-1").public_key), "bad signature", id="anothers"),
        pytest.param(_with(validator=key_of("v-7").public_key), "not in the set", id="a-strangers"),
        pytest.param(_with(source_hash=b"\1" * 32), "source is not justified here", id="source-elsewhere"),
        pytest.param(_with(source_height=1), "source is not justified here", id="source-no-checkpoint"),
        pytest.param(_with(target_hash=b"\1" * 32), "target is not on this chain", id="target-elsewhere"),
        pytest.param(_with(target_height=12), "target is not on this chain", id="target-not-there-yet"),
        pytest.param(_with(target_height=5), "target is not on this chain", id="target-no-checkpoint"),
        pytest.param(
            lambda chain, vote: chain.vote("v-0", span(chain, 0), span(chain, 0)), "target is not on", id="no-span"
        ),
        pytest.param(
            lambda chain, vote: chain.vote("v-0", span(chain, 4), span(chain, 8)), "source is not", id="not-justified"
        ),
    ],
)
def test_a_forged_vote_is_left_out_and_refused_in_a_block(quiet, forge, reason):
    vote = forge(quiet, votes(quiet, 0, 8)[0])
    block, _ = quiet.propose(votes=[vote])
    assert block.body.attestations == ()

    with pytest.raises(InvalidBlock) as refused:
        transition.apply_block(
            quiet.state,
            quiet.tip.header,
            replace(block, body=replace(block.body, attestations=(vote,))),
            chain=quiet.params,
            registry=quiet.registry,
        )

    assert refused.value.code == "block.attestation"
    assert reason in str(refused.value.facts["reason"])


def test_nobody_is_counted_twice_for_a_target(quiet):
    quiet.block(votes=votes(quiet, 0, 4))
    quiet.block(votes=votes(quiet, 0, 8, NAMES[:1]))

    again, _ = quiet.propose(votes=[*votes(quiet, 0, 8, NAMES[:1]), *votes(quiet, 4, 8, NAMES[:1])])

    assert again.body.attestations == ()


def test_the_set_of_the_targets_epoch_decides():
    """Votes for 8, the first block of epoch 1, are weighed by that epoch's set."""
    chain = Chain()
    chain.ok(
        "owner", "validators.unbond", validators.Unbond(key_of("v-3").public_key, validators.Role.VALIDATOR, 10**12)
    )
    chain.run_to(9)
    made, _ = chain.propose(votes=votes(chain, 4, 8))
    assert len(made.body.attestations) == 0  # All others are in already ...

    assert heights(chain) == (8, 4)
    record = chain.state.get(CHECKPOINTS, 8)
    assert key_of("v-3").public_key not in record.links[0].voters  # ... and the one who left may not vote.


def test_finality_returns_after_a_long_silence(chain):
    chain.run_to(5)
    chain.run_to(60, votes=False)
    assert heights(chain) == (4, 0)

    chain.run_to(70)

    assert heights(chain) == (68, 64)
    assert [height for height, _ in chain.state.items(CHECKPOINTS)] == [64, 68]
    assert chain.replay().root == chain.state.root


def test_the_genesis_is_justified_and_final(chain):
    chain.block()

    genesis = Checkpoint(0, chain.blocks[0].id)
    assert validators.get_consensus(chain.state) == validators.Consensus(1, genesis, genesis)
