from dataclasses import replace

import pytest
from support.chain import address
from theblock_node.core import codec, merkle
from theblock_node.core.crypto import blake3
from theblock_node.core.domains import accounts
from theblock_node.core.domains.accounts import ACCOUNTS, Account, Transfer, Transferred
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import U64_MAX
from theblock_node.core.state import Draft, State

A1 = "0001:8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
A2 = "0002:8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
A3 = "0001:ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"


def test_an_account_is_laid_out_as_specified():
    value = codec.encode(Account(1, A1, 5, 1))

    assert len(value) == 113
    assert blake3(value).hex() == "1c9ac34443e85e9bfcaa6b64182ecf1c642b09478788f26d76c00a4d0f2946d6"
    assert ACCOUNTS.path(A1, ACCOUNTS.encode_key(A1)).hex() == (
        "00018d0e0dc456cd2bc1ae76b4189453d460284f682ac1160a531f31232a9901736aad20d39680c0"
    )


def test_roots_over_accounts_are_those_of_the_specification():
    roots = []
    state = State()
    for row in (Account(1, A1, 5, 1), Account(1, A2, 7, 0), Account(1, A3, 9, 0)):
        draft = Draft(state)
        draft.put(ACCOUNTS, row.address, row)
        state.commit(draft.changes())
        roots.append(state.root.hex())

    assert roots == [
        "3a0aca29c1f46fb5ec0896579c196aba3519794e5ef08fa72f17bb5f02d86e8f",
        "93d71910671fcf9a90c1e4a470453834dfa3bd39dcf0035878b0a2f9b6cf4281",
        "107faa826d44df2b7fd9fddbbcb8ca2037e606ca51560b220948e3e1e85fc3cf",
    ]
    shards = [shard.to_bytes(2, "little") + state.tree.subtree_root(shard.to_bytes(2, "big")) for shard in (1, 2)]
    assert shards[0][2:].hex() == "6c1dffe49c9dab1d5c2d80064cef7224ce37c70867853b732cb9fed374fcdb06"
    assert merkle.list_root(shards).hex() == "98f3ea040a5f6e72fc7857dbeeb5796c925127b7e9573246a55c96e7b3a556e8"


def test_a_transfer_pays_the_receiver(chain):
    before = chain.balance("alice")

    told = chain.ok("alice", "accounts.transfer", Transfer(address("bob"), 70, 30))

    assert told == [Transferred(address("alice"), address("bob"), 100)]
    assert chain.balance("bob") == 10**15 + 100
    assert chain.balance("alice") == before - 100 - chain.applied[-1].receipts[0].base_fee_paid
    assert chain.nonce("alice") == 1


def test_a_transfer_to_oneself_changes_nothing_but_the_fee(chain):
    chain.ok("alice", "accounts.transfer", Transfer(address("alice"), 70, 0))

    assert chain.balance("alice") == 10**15 - chain.applied[-1].receipts[0].base_fee_paid


@pytest.mark.parametrize(
    ("command", "code"),
    [
        pytest.param(Transfer(address("bob"), 0, 0), "accounts.zero_amount", id="nothing"),
        pytest.param(Transfer(address("bob"), 10**15, 0), "accounts.insufficient_balance", id="all-but-the-fee"),
        pytest.param(Transfer(address("bob"), U64_MAX, 1), "numeric.overflow", id="sum-overflows"),
        pytest.param(Transfer("0000:treasury", 1, 0), "accounts.system_receiver", id="nobody-holds-that-key"),
    ],
)
def test_a_transfer_is_refused_and_leaves_no_trace(chain, command, code):
    assert chain.refused("alice", "accounts.transfer", command) == code

    receipt = chain.applied[-1].receipts[0]
    assert chain.balance("bob") == 10**15
    assert chain.balance("alice") == 10**15 - receipt.base_fee_paid
    assert chain.nonce("alice") == 1
    assert receipt.events == ()


def test_a_balance_never_overflows():
    draft = Draft(State())
    accounts.credit(draft, A1, U64_MAX)

    with pytest.raises(InvalidRecord) as refused:
        accounts.credit(draft, A1, 1)

    assert refused.value.code == "numeric.overflow"
    assert accounts.get_balance(draft, A1) == U64_MAX


def test_bonds_are_noted_by_ascending_role_without_zeros():
    draft = Draft(State())
    for role, change in ((4, 7), (0, 5), (4, -7), (2, 1)):
        accounts.change_bond(draft, A1, role, change)

    assert [(bond.role, bond.amount) for bond in accounts.get_account(draft, A1).bonded] == [(0, 5), (2, 1)]


def test_accounts_are_listed_in_pages(chain):
    page = chain.query("accounts.list", accounts.ListAccounts("", 2))
    rest = chain.query("accounts.list", accounts.ListAccounts(page.accounts[-1].address, 0))

    listed = [*page.accounts, *rest.accounts]
    assert len(page.accounts) == 2
    assert [row.address for row in listed] == sorted([address("alice"), address("bob"), address("owner")])


def test_an_unknown_account_is_absent(chain):
    known = chain.query("accounts.account", accounts.GetAccount(address("alice"))).account

    assert known == replace(accounts.get_account(chain.state, address("alice")))
    assert chain.query("accounts.account", accounts.GetAccount(address("nobody"))).account is None
