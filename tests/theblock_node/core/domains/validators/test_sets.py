from dataclasses import replace

import pytest
from support.chain import Chain, address, key_of, registration
from theblock_node.core.domains import validators
from theblock_node.core.domains.validators import Bond, Role, Unbond
from theblock_node.core.domains.validators.queries import GetSet, ListStakes
from theblock_node.core.state import Draft, State


def ids(chain: Chain, epoch: int) -> set[bytes]:
    return {member.id for member in validators.get_set(chain.state, epoch).members}


def test_a_new_validator_joins_with_the_next_epoch():
    chain = Chain()
    newcomer = key_of("v-9").public_key
    chain.ok("alice", "validators.register", registration("alice", "v-9"))
    chain.ok("alice", "validators.bond", Bond(newcomer, Role.VALIDATOR, 10**12))
    chain.run_to(7)

    assert newcomer not in ids(chain, 0)
    assert newcomer in ids(chain, 1)
    assert chain.events("validators.set_changed")[0].epoch == 1
    chain.run_to(24)
    assert validators.get_consensus(chain.state).finalized.height >= 16
    assert chain.replay().root == chain.state.root


def test_a_set_changes_by_no_more_than_the_limit():
    chain = Chain(funded={"rich": 10**16})
    for name in ("v-9", "v-10"):
        chain.ok("rich", "validators.register", registration("rich", name))
        chain.ok("rich", "validators.bond", Bond(key_of(name).public_key, Role.VALIDATOR, 10**12))
    chain.run_to(7)
    assert len(ids(chain, 1)) == 5
    chain.run_to(15)

    assert len(ids(chain, 2)) == 6


def test_one_who_left_stays_in_the_set_until_the_epoch_ends(chain):
    gone = key_of("v-1").public_key
    chain.ok("owner", "validators.unbond", Unbond(gone, Role.VALIDATOR, 10**12))
    chain.run_to(7)

    assert gone in ids(chain, 0)
    assert gone not in ids(chain, 1)


def test_sets_of_past_epochs_are_forgotten_once_they_are_final(chain):
    chain.run_to(8 * 8)

    assert [epoch for epoch, _ in chain.state.items(validators.SETS)] == [4, 5, 6, 7, 8]


def test_sets_are_kept_while_nothing_is_final(chain):
    chain.run_to(8 * 8, votes=False)

    assert [epoch for epoch, _ in chain.state.items(validators.SETS)] == list(range(9))


def test_each_epoch_has_its_own_beacon_which_its_proposers_could_not_know(chain):
    chain.run_to(16)
    beacons = {validators.get_set(chain.state, epoch).beacon for epoch in range(3)}

    other = Chain()
    other.run_to(16, votes=False)

    assert len(beacons) == 3
    assert validators.get_set(other.state, 0).beacon in beacons
    assert validators.get_set(other.state, 2).beacon not in beacons


@pytest.mark.parametrize(
    ("stake", "member"),
    [
        pytest.param({}, True, id="bonded"),
        pytest.param({"tombstoned": True}, False, id="tombstoned"),
        pytest.param({"jailed_until": 11}, False, id="jailed"),
        pytest.param({"jailed_until": 10}, True, id="out-of-jail"),
        pytest.param({"roles": (validators.RoleStake(Role.STORAGE, 5, ()),)}, False, id="another-role"),
        pytest.param(
            {"roles": (validators.RoleStake(Role.VALIDATOR, 0, (validators.Unbonding(5, 1),)),)}, False, id="leaving"
        ),
    ],
)
def test_who_is_chosen(stake, member):
    draft = Draft(State())
    bond = validators.RoleStake(Role.VALIDATOR, 5, ())
    row = validators.Stake(1, bytes(32), address("owner"), bytes(48), 0, False, (bond,))
    draft.put(validators.STAKES, bytes(32), replace(row, **stake))

    assert bool(validators.choose_members(draft, 10)) is member


def test_the_heaviest_are_chosen_not_the_lowest_ids(monkeypatch):
    monkeypatch.setattr(validators.records, "VALIDATORS_MAX", 2)
    draft = Draft(State())
    for at, bonded in enumerate((1, 50, 50, 70)):
        bond = validators.RoleStake(Role.VALIDATOR, bonded, ())
        key = bytes([at]) * 32
        draft.put(validators.STAKES, key, validators.Stake(1, key, address("owner"), bytes(48), 0, False, (bond,)))

    assert [member.id[0] for member in validators.choose_members(draft, 10)] == [1, 3]


def test_the_running_set_can_be_asked_for(chain):
    chain.run_to(13)

    reply = chain.query("validators.set", GetSet())
    stakes = chain.query("validators.stakes", ListStakes()).stakes

    assert (reply.epoch, reply.threshold, reply.spare) == (1, (2 * 4 * 10**12 + 2) // 3, 1)
    assert (reply.justified.height, reply.finalized.height) == (12, 8)
    assert len(reply.voters) == len(stakes) == 4
