import pytest
from support.chain import Chain, address
from theblock_node.core.domain import Context
from theblock_node.core.domains import accounts, escrow, supply
from theblock_node.core.errors import InvalidTx
from theblock_node.core.state import Draft

ALICE, BOB = address("alice"), address("bob")


@pytest.fixture
def ctx(chain: Chain) -> Context:
    return Context(Draft(chain.state), chain.params, 1, 0, ALICE, bytes(32))


def test_what_is_held_is_no_longer_the_payers(ctx):
    escrow.hold(ctx, "storage/bond", b"one", ALICE, 100)
    escrow.hold(ctx, "storage/bond", b"one", BOB, 20)

    assert escrow.get_held(ctx.draft, "storage/bond", b"one") == 120
    assert escrow.get_held(ctx.draft, "storage/rent", b"one") == 0
    assert accounts.get_balance(ctx.draft, ALICE) == 10**15 - 100
    assert accounts.get_balance(ctx.draft, BOB) == 10**15 - 20


def test_what_is_held_goes_where_the_rule_says(ctx):
    escrow.hold(ctx, "job", b"one", ALICE, 100)

    escrow.release(ctx, "job", b"one", BOB, 30)
    escrow.burn(ctx, "job", b"one", 10)
    assert escrow.refund(ctx, "job", b"one") == 60

    assert accounts.get_balance(ctx.draft, BOB) == 10**15 + 30
    assert accounts.get_balance(ctx.draft, ALICE) == 10**15 - 40
    assert supply.get_supply(ctx.draft).burned == 10
    assert ctx.draft.items(escrow.ENTRIES) == []
    assert escrow.refund(ctx, "job", b"one") == 0


@pytest.mark.parametrize(
    ("act", "code"),
    [
        pytest.param(
            lambda ctx: escrow.release(ctx, "job", b"one", BOB, 101), "escrow.insufficient", id="one-too-many"
        ),
        pytest.param(lambda ctx: escrow.release(ctx, "job", b"two", BOB, 1), "escrow.insufficient", id="another-key"),
        pytest.param(lambda ctx: escrow.burn(ctx, "work", b"one", 1), "escrow.insufficient", id="another-purpose"),
        pytest.param(
            lambda ctx: escrow.hold(ctx, "job", b"one", ALICE, 10**16),
            "accounts.insufficient_balance",
            id="not-so-rich",
        ),
    ],
)
def test_no_more_than_is_there_is_moved(ctx, act, code):
    escrow.hold(ctx, "job", b"one", ALICE, 100)

    with pytest.raises(InvalidTx) as refused:
        act(ctx)

    assert refused.value.code == code
    assert escrow.get_held(ctx.draft, "job", b"one") == 100
