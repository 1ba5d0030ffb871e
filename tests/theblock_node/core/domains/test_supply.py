import pytest
from support.chain import Chain, address
from theblock_node.core.domain import Domain, Registry
from theblock_node.core.domains import REGISTRY, accounts, supply
from theblock_node.core.numeric import U64


def test_the_supply_is_what_was_minted_less_what_was_burned():
    chain = Chain(funded={"alice": 5 * 10**9})
    chain.ok("alice", "accounts.transfer", accounts.Transfer(address("bob"), 1, 0))

    found = chain.query("chain.supply", supply.GetSupply())

    assert found.emission == 5 * 10**9 + 10**15 + 10**16 + 4 * 10**12
    assert found.burned == chain.applied[-1].receipts[0].base_fee_paid == 350_000


def test_params_of_the_genesis_hold_and_can_be_listed():
    chain = Chain(params={"min_base_fee": 300, "unbonding_epochs": 9})
    chain.run(20)

    assert chain.tip.header.base_fee == 300
    assert chain.query("chain.params", supply.ListParams()).params == (
        supply.ParamRow("min_base_fee", 300),
        supply.ParamRow("unbonding_epochs", 9),
    )


def test_every_param_starts_within_its_bounds():
    wrong = [
        (param.name, preset)
        for param in REGISTRY.params.values()
        for preset in ("mainnet", "devnet", "minimal")
        if not param.min <= param.first_value(preset) <= param.max
    ]

    assert wrong == []


def test_tables_that_would_share_a_place_in_the_tree_are_refused():
    twin = Domain("twin", service="Twin")
    twin.table("accounts/account", U64, accounts.Account)
    twin.table("twin/row", U64, accounts.Account)
    assert Registry([twin]).tables.keys() == {"accounts/account", "twin/row"}

    with pytest.raises(ValueError, match="prefix"):
        _with_equal_prefixes(twin)
    with pytest.raises(ValueError, match="one name"):
        Registry([accounts.domain, twin])


def _with_equal_prefixes(domain: Domain) -> Registry:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("theblock_node.core.domain.table_prefix", lambda table: b"same")
        return Registry([domain])
