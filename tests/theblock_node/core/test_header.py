from dataclasses import replace

import pytest
from support.chain import GENESIS_SECONDS, Chain, key_of
from theblock_node.core import header as headers
from theblock_node.core.block import Header, block_id
from theblock_node.core.errors import InvalidBlock

START_MS = GENESIS_SECONDS * 1000


@pytest.fixture
def sealed(chain: Chain) -> Header:
    """A header that may stand on the tip, at height 4."""
    chain.run(3)
    return chain.propose()[0].header


def check(chain: Chain, header: Header, *, now_ms: int | None = None) -> None:
    signature = chain.keys[header.proposer].sign(block_id(header)) if header.proposer in chain.keys else bytes(64)
    now_ms = header.timestamp_ms if now_ms is None else now_ms
    headers.check_header(header, signature, chain.tip.header, chain.state, chain.params, now_ms=now_ms)


def refusal(chain: Chain, header: Header, *, now_ms: int | None = None) -> str:
    with pytest.raises(InvalidBlock) as refused:
        check(chain, header, now_ms=now_ms)
    return refused.value.code


def move(chain: Chain, header: Header, slot: int, into_ms: int) -> Header:
    """The header at a time into another slot, by that slot's leader."""
    leader, _ = headers.get_proposers(chain.state, chain.params, header.height, slot)
    return replace(header, slot=slot, timestamp_ms=START_MS + slot * 1000 + into_ms, proposer=leader)


def test_a_header_may_stand_on_its_parent(chain, sealed):
    check(chain, sealed)
    check(chain, move(chain, sealed, 90, 999))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"magic": 1}, "block.header", id="magic"),
        pytest.param({"version": 2}, "block.header", id="version"),
        pytest.param({"chain_id": 1}, "block.header", id="chain"),
        pytest.param({"parent": bytes(32)}, "block.prev_hash", id="parent"),
        pytest.param({"height": 5}, "block.prev_hash", id="height"),
        pytest.param({"slot": 3}, "block.timestamp", id="the-parents-slot"),
        pytest.param({"slot": 5}, "block.timestamp", id="not-in-its-slot"),
        pytest.param({"timestamp_ms": START_MS + 3000}, "block.timestamp", id="the-parents-time"),
        pytest.param({"timestamp_ms": START_MS + 5000}, "block.timestamp", id="past-its-slot"),
        pytest.param({"checkpoint_height": 4}, "block.checkpoint", id="checkpoint-height"),
        pytest.param({"checkpoint_hash": b"\1" * 32}, "block.checkpoint", id="checkpoint-hash"),
        pytest.param({"base_fee": 10}, "block.header", id="base-fee"),
        pytest.param({"difficulty": 1}, "block.header", id="not-built"),
        pytest.param({"proposer": key_of("v-7").public_key}, "block.leader", id="a-stranger"),
    ],
)
def test_a_header_is_refused(chain, sealed, changes, code):
    assert refusal(chain, replace(sealed, **changes)) == code


def test_a_signature_is_the_proposers_over_this_header(chain, sealed):
    others = chain.keys[sealed.proposer].sign(block_id(replace(sealed, gas_used=1)))
    for signature in (None, bytes(64), others):
        with pytest.raises(InvalidBlock) as refused:
            headers.check_header(
                sealed, signature, chain.tip.header, chain.state, chain.params, now_ms=sealed.timestamp_ms
            )
        assert refused.value.code == "block.leader_sig"


def test_time_is_bounded_by_the_nodes_clock(chain, sealed):
    check(chain, sealed, now_ms=sealed.timestamp_ms - 2000)
    assert refusal(chain, sealed, now_ms=sealed.timestamp_ms - 2001) == "block.timestamp"


def test_the_second_in_line_waits_for_its_turn(chain, sealed):
    leader, second = headers.get_proposers(chain.state, chain.params, 4, sealed.slot)
    late = replace(sealed, proposer=second, timestamp_ms=sealed.timestamp_ms + 600)

    check(chain, late)
    assert refusal(chain, replace(late, timestamp_ms=late.timestamp_ms - 1)) == "block.leader"
    others = set(chain.keys) - {leader, second}
    third = next(key for key in (key_of(f"v-{at}").public_key for at in range(4)) if key in others)
    assert refusal(chain, replace(late, proposer=third)) == "block.leader"


def test_the_leaders_block_weighs_more(chain, sealed):
    _, second = headers.get_proposers(chain.state, chain.params, 4, sealed.slot)

    assert headers.compute_weight(chain.state, chain.params, sealed) == 2
    assert headers.compute_weight(chain.state, chain.params, replace(sealed, proposer=second)) == 1


def test_a_chain_of_one_validator_has_no_second():
    chain = Chain(validators_count=1)

    assert headers.get_proposers(chain.state, chain.params, 1, 1) == (key_of("v-0").public_key, None)
    chain.run(3)
