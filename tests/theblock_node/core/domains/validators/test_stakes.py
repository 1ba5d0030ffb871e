import pytest
from support.chain import Chain, address, key_of, registration
from theblock_node.core.domain import Context
from theblock_node.core.domains import accounts, supply, validators
from theblock_node.core.domains.validators import Bond, Role, Unbond, stakes
from theblock_node.core.state import Draft

NEW = key_of("v-9")
FIRST = key_of("v-0").public_key


def stake_of(chain: Chain, validator: bytes) -> validators.Stake:
    found = chain.state.get(validators.STAKES, validator)
    assert found is not None
    return found


def test_a_registered_identity_is_bonded_by_its_owner(chain):
    registered = chain.ok("alice", "validators.register", registration("alice", "v-9"))
    bonded = chain.ok("alice", "validators.bond", Bond(NEW.public_key, Role.VALIDATOR, 500))
    chain.ok("alice", "validators.bond", Bond(NEW.public_key, Role.STORAGE, 7))

    assert registered == [validators.Registered(NEW.public_key, address("alice"))]
    assert bonded == [validators.Bonded(NEW.public_key, Role.VALIDATOR, 500, 500)]
    assert validators.bonded(chain.state, NEW.public_key, Role.VALIDATOR) == 500
    account = accounts.get_account(chain.state, address("alice"))
    assert [(bond.role, bond.amount) for bond in account.bonded] == [(0, 500), (2, 7)]
    assert chain.money() == chain.minted()


@pytest.mark.parametrize(
    ("sender", "command", "code"),
    [
        pytest.param("bob", registration("alice", "v-9"), "validators.bad_signature", id="anothers-proof"),
        pytest.param(
            "alice", registration("alice", "v-9", chain_id=1), "validators.bad_signature", id="of-another-chain"
        ),
        pytest.param(
            "alice", registration("alice", "v-9", bls=b"\1" * 48), "validators.bad_pop", id="bls-is-not-taken"
        ),
        pytest.param("alice", registration("alice", "v-0"), "validators.not_owner", id="somebody-has-it"),
        pytest.param("owner", registration("owner", "v-0"), "validators.already_registered", id="twice"),
        pytest.param("alice", Bond(FIRST, Role.VALIDATOR, 1), "validators.not_owner", id="bond-of-another"),
        pytest.param("owner", Bond(NEW.public_key, Role.EXEC, 1), "validators.unknown", id="bond-of-nobody"),
        pytest.param("owner", Bond(FIRST, Role.VALIDATOR, 0), "validators.insufficient_bond", id="bond-nothing"),
        pytest.param("owner", Bond(FIRST, Role.EXEC, 10**17), "accounts.insufficient_balance", id="bond-too-much"),
        pytest.param("alice", Unbond(FIRST, Role.VALIDATOR, 1), "validators.not_owner", id="unbond-anothers"),
        pytest.param("owner", Unbond(FIRST, Role.VALIDATOR, 0), "validators.insufficient_bond", id="unbond-nothing"),
        pytest.param(
            "owner", Unbond(FIRST, Role.VALIDATOR, 10**12 + 1), "validators.insufficient_bond", id="unbond-one-more"
        ),
        pytest.param("owner", Unbond(FIRST, Role.EXEC, 1), "validators.insufficient_bond", id="of-another-role"),
    ],
)
def test_refusals(chain, sender, command, code):
    call = f"validators.{type(command).__name__.lower()}"
    assert chain.refused(sender, call, command) == code
    assert chain.money() == chain.minted()


def test_unbonding_pays_after_its_epochs_and_not_before(chain):
    chain.ok("owner", "validators.unbond", Unbond(FIRST, Role.VALIDATOR, 300))
    chain.ok("owner", "validators.unbond", Unbond(FIRST, Role.VALIDATOR, 200))
    before = chain.balance("owner")

    # Unbonded in epoch 0, released with epoch 2, which the block at height 15 brings.
    chain.run_to(14)
    assert stake_of(chain, FIRST).role(Role.VALIDATOR).unbonding == (validators.Unbonding(500, 2),)
    assert chain.balance("owner") == before
    chain.run_to(15)

    assert chain.balance("owner") == before + 500
    assert chain.events("validators.released") == [validators.Released(FIRST, address("owner"), 500)]
    assert stake_of(chain, FIRST).role(Role.VALIDATOR).unbonding == ()
    assert chain.money() == chain.minted()
    assert chain.replay().root == chain.state.root


def test_many_releases_are_spread_over_blocks(chain, monkeypatch):
    monkeypatch.setattr(stakes, "RELEASES_PER_BLOCK_MAX", 3)
    for at in range(4):
        chain.ok("owner", "validators.unbond", Unbond(key_of(f"v-{at}").public_key, Role.VALIDATOR, 10 + at))

    chain.run_to(15)
    assert [event.amount for event in chain.events("validators.released")] == [10, 11, 12]
    chain.run_to(16)
    assert [event.amount for event in chain.events("validators.released")] == [10, 11, 12, 13]
    chain.run_to(24)
    assert not [row for row in chain.state.rows() if row[0].startswith("validators/release")]
    assert chain.money() == chain.minted()


def test_blocks_in_which_nothing_is_due_touch_no_stake(chain):
    chain.ok("owner", "validators.unbond", Unbond(FIRST, Role.VALIDATOR, 300))

    quiet = chain.block()

    assert not any(row.table.startswith("validators/") for row in quiet.changes.rows)


def test_the_last_validator_stays():
    chain = Chain(validators_count=2)
    second = key_of("v-1").public_key
    chain.ok("owner", "validators.unbond", Unbond(FIRST, Role.VALIDATOR, 10**12))

    assert chain.refused("owner", "validators.unbond", Unbond(second, Role.VALIDATOR, 10**12)) == (
        "validators.last_validator"
    )
    chain.ok("owner", "validators.unbond", Unbond(second, Role.VALIDATOR, 10**12 - 1))


def test_slashing_takes_what_is_bonded_first_and_then_what_leaves(chain):
    chain.ok("owner", "validators.unbond", Unbond(FIRST, Role.VALIDATOR, 10**12 - 1000))
    ctx = Context(Draft(chain.state), chain.params, chain.height + 1, 0, "", bytes(32))
    burned = supply.get_supply(chain.state).burned

    slashed = validators.slash(ctx, FIRST, Role.VALIDATOR, 2024, address("bob"))

    held = ctx.draft.get(validators.STAKES, FIRST).role(Role.VALIDATOR)
    assert (slashed, held.bonded, held.unbonding[0].amount) == (2024, 0, 10**12 - 2024)
    assert accounts.get_balance(ctx.draft, address("bob")) == 10**15 + 2024 // 512
    assert supply.get_supply(ctx.draft).burned == burned + 2024 - 2024 // 512
    assert ctx.events == [validators.Slashed(FIRST, Role.VALIDATOR, 2024, address("bob"))]


def test_slashing_never_takes_more_than_there_is(chain):
    ctx = Context(Draft(chain.state), chain.params, 1, 0, "", bytes(32))

    assert validators.slash(ctx, FIRST, Role.VALIDATOR, 10**18, address("bob")) == 10**12
    assert validators.slash(ctx, FIRST, Role.VALIDATOR, 10**18, address("bob")) == 0
