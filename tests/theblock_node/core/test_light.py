import json
from dataclasses import replace

import pytest
from support.chain import Chain, address, key_of, registration
from theblock_node.core import light
from theblock_node.core.block import SignedHeader
from theblock_node.core.domains import validators
from theblock_node.core.domains.accounts import ACCOUNTS, Account
from theblock_node.core.errors import InvalidBlock
from theblock_node.core.genesis import build
from theblock_node.core.light import Row, Trust, Update
from theblock_node.core.state import Table


def row_at(chain: Chain, height: int, table: Table, key) -> Row:
    """A row after a block, with its proof, as a node would serve it."""
    state, _ = build(chain.genesis)
    for applied in chain.applied[:height]:
        state.commit(applied.changes)
    key_bytes = table.encode_key(key)
    return Row(state.row(table.name, key_bytes), state.tree.prove(table.path(key, key_bytes)))


def signed(chain: Chain, low: int, high: int) -> tuple[SignedHeader, ...]:
    return tuple(SignedHeader(block.header, block.leader_sig) for block in chain.blocks[low : high + 1])


def update(chain: Chain, trusted: int, target: int, *, with_set: bool) -> Update:
    """From the trusted height to the checkpoint before ``target``."""
    votes = [
        vote
        for block in chain.blocks[target:]
        for vote in block.body.attestations
        if vote.target_height == target and vote.source_height == target - 4
    ]
    epoch = target // chain.params.epoch_blocks
    row = row_at(chain, target, validators.SETS, epoch) if with_set else None
    return Update(signed(chain, trusted + 1, target), tuple(votes), row)


def start(chain: Chain) -> Trust:
    return light.trust_genesis(json.dumps(chain.document).encode())


@pytest.fixture
def followed() -> Chain:
    """At height 30; a validator joined with epoch 1."""
    chain = Chain()
    chain.ok("alice", "validators.register", registration("alice", "v-9"))
    chain.ok("alice", "validators.bond", validators.Bond(key_of("v-9").public_key, validators.Role.VALIDATOR, 10**12))
    chain.run_to(30)
    return chain


def refusal(act) -> str:
    with pytest.raises(InvalidBlock) as refused:
        act()
    return refused.value.code


def test_a_client_follows_from_the_genesis_over_a_change_of_the_set(followed):
    trust = start(followed)
    assert len(trust.set.members) == 4

    for trusted, target in ((0, 8), (4, 20), (16, 28)):
        trust = light.advance(trust, update(followed, trusted, target, with_set=True), followed.params)

    assert trust.header == followed.blocks[24].header
    assert (trust.set.epoch, len(trust.set.members)) == (3, 5)


def test_a_proven_row_is_believed(followed):
    trust = light.advance(start(followed), update(followed, 0, 8, with_set=True), followed.params)
    height, somebody = trust.header.height, address("alice")
    row = row_at(followed, height, ACCOUNTS, somebody)

    account = light.check_row(trust.header, ACCOUNTS, somebody, row)

    assert isinstance(account, Account)
    assert account.nonce == 2
    absent = row_at(followed, height, ACCOUNTS, address("nobody"))
    assert light.check_row(trust.header, ACCOUNTS, address("nobody"), absent) is None


def test_a_false_row_is_not(followed):
    trust = light.advance(start(followed), update(followed, 0, 8, with_set=True), followed.params)
    somebody = address("alice")
    row = row_at(followed, 4, ACCOUNTS, somebody)
    assert row.value is not None

    for false in (
        replace(row, value=None),
        replace(row, value=row.value[:-1] + b"\1"),
        row_at(followed, 3, ACCOUNTS, address("bob")),
        row_at(followed, 8, ACCOUNTS, address("v-9")),
    ):
        assert refusal(lambda false=false: light.check_row(trust.header, ACCOUNTS, somebody, false)) == "light.proof"


def test_an_update_is_refused_that_shows_too_little(followed):
    good, trust, params = update(followed, 0, 8, with_set=True), start(followed), followed.params
    forged = replace(good.headers[3], header=replace(good.headers[3].header, gas_used=1))
    unsigned = replace(good.headers[-1], signature=bytes(64))
    unsigned_votes = tuple(replace(vote, signature=bytes(64)) for vote in good.votes)
    cases = {
        "none": ({"headers": ()}, "light.header"),
        "a gap": ({"headers": good.headers[:2] + good.headers[3:]}, "light.header"),
        "not from here": ({"headers": good.headers[1:]}, "light.header"),
        "changed": ({"headers": (*good.headers[:3], forged, *good.headers[4:])}, "light.header"),
        "unsigned": ({"headers": (*good.headers[:-1], unsigned)}, "light.header"),
        "no checkpoint": ({"headers": good.headers[:-1]}, "light.header"),
        "only the next": ({"headers": good.headers[:4]}, "light.header"),
        "too few votes": ({"votes": good.votes[:2]}, "light.votes"),
        "one vote thrice": ({"votes": good.votes[:1] * 4}, "light.votes"),
        "votes for another": ({"votes": update(followed, 0, 12, with_set=False).votes}, "light.votes"),
        "forged votes": ({"votes": unsigned_votes}, "light.votes"),
        "no set": ({"set_row": None}, "light.set"),
        "an older set": ({"set_row": row_at(followed, 8, validators.SETS, 0)}, "light.proof"),
    }

    found = {
        name: refusal(lambda wrong=wrong: light.advance(trust, replace(good, **wrong), params))
        for name, (wrong, _) in cases.items()
    }

    assert found == {name: code for name, (_, code) in cases.items()}
    light.advance(trust, good, params)


def test_planted_a_set_made_up_by_a_minority_is_not_believed(followed):
    """A chain whose validators are others, as one would forge it; only the first header is ours."""
    trust = start(followed)
    strangers = replace(
        trust, set=replace(trust.set, members=tuple(validators.Member(bytes([at]) * 32, 10**12) for at in range(8)))
    )

    assert (
        refusal(lambda: light.advance(strangers, update(followed, 0, 8, with_set=True), followed.params)) == "light.set"
    )
