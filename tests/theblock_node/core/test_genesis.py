import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chain import address, genesis_document
from theblock_node.core import genesis
from theblock_node.core.domains import accounts, supply, validators
from theblock_node.core.errors import InvalidRecord

DOCUMENT = genesis_document()


def encode(document) -> bytes:
    return json.dumps(document).encode()


def code_of(data: bytes) -> tuple[str, object]:
    with pytest.raises(InvalidRecord) as refused:
        genesis.parse(data)
    return refused.value.code, refused.value.facts.get("path")


def test_everything_in_the_document_is_in_the_first_state():
    document = {**DOCUMENT, "funder": {"address": address("funder"), "amount": "7"}, "params": {"min_base_fee": "9"}}
    state, block = genesis.build(genesis.parse(encode(document)))

    assert accounts.get_balance(state, address("alice")) == 10**15
    assert accounts.get_balance(state, address("funder")) == 7
    assert supply.get_supply(state).emission == 12 * 10**15 + 7 + 4 * 10**12
    assert len(validators.get_set(state, 0).members) == 4
    assert accounts.get_account(state, address("owner")).bonded == (accounts.RoleBond(0, 4 * 10**12),)
    assert (block.header.height, block.header.state_root, block.leader_sig) == (0, state.root, None)
    assert genesis.genesis_hash(encode(document)) == block.id


@pytest.mark.parametrize(
    "change",
    [
        {"time_seconds": 1},
        {"chain_id": 5},
        {"preset": "devnet"},
        {"overrides": {"macro_interval": "5"}},
        {"overrides": {"future_ms_max": "2001"}},
        {"params": {"min_base_fee": "9"}},
        {"allocations": []},
        {"validators": DOCUMENT["validators"][:3]},
    ],
    ids=str,
)
def test_every_difference_makes_another_genesis(change):
    assert genesis.genesis_hash(encode({**DOCUMENT, **change})) != genesis.genesis_hash(encode(DOCUMENT))


def test_spelling_makes_no_difference():
    spaced = json.dumps(dict(reversed(DOCUMENT.items())), indent=3).encode()

    assert genesis.genesis_hash(spaced) == genesis.genesis_hash(encode(DOCUMENT))


def _changed(path: str, value):
    document = json.loads(json.dumps(DOCUMENT))
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = document
    for step in way:
        place = place[step]
    place[last] = value
    return encode(document)


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        pytest.param(b"", "genesis.json", None, id="empty"),
        pytest.param(b"[]", "genesis.type", "$", id="a-list"),
        pytest.param(b'{"version":1,"version":1}', "genesis.json", None, id="a-field-twice"),
        pytest.param(b'{"version":NaN}', "genesis.json", None, id="no-number"),
        pytest.param(b"[" * 100_000, "genesis.json", None, id="too-deep"),
        pytest.param(b" " * (2**20 + 1), "genesis.too_large", None, id="too-large"),
        pytest.param(b"\xff", "genesis.json", None, id="not-utf8"),
        pytest.param(_changed("version", 2), "genesis.number", "$.version", id="version"),
        pytest.param(_changed("version", True), "genesis.type", "$.version", id="a-bool-is-no-number"),
        pytest.param(_changed("preset", "testnet"), "genesis.unknown_preset", None, id="preset"),
        pytest.param(_changed("chain_id", 0), "genesis.number", "$.chain_id", id="chain-id"),
        pytest.param(_changed("surprise", 1), "genesis.unknown_field", "$.surprise", id="unknown-field"),
        pytest.param(_changed("overrides.slots", "1"), "genesis.unknown_parameter", None, id="unknown-override"),
        pytest.param(_changed("overrides.macro_interval", "1"), "genesis.parameter_bounds", None, id="override-bounds"),
        pytest.param(
            _changed("overrides.macro_interval", "two"), "genesis.number", "$.overrides.macro_interval", id="word"
        ),
        pytest.param(_changed("params.no_such", "1"), "genesis.unknown_param", "$.params.no_such", id="unknown-param"),
        pytest.param(
            _changed("params.min_base_fee", "7"), "genesis.param_bounds", "$.params.min_base_fee", id="param-bounds"
        ),
        pytest.param(
            _changed("params.unbonding_epochs", "1"), "genesis.param_bounds", "$.params.unbonding_epochs", id="too-soon"
        ),
        pytest.param(_changed("allocations.0.amount", 5), "genesis.type", "$.allocations[0].amount", id="amount-bare"),
        pytest.param(
            _changed("allocations.0.amount", "-1"), "genesis.number", "$.allocations[0].amount", id="negative"
        ),
        pytest.param(
            _changed("allocations.0.amount", str(2**64)), "genesis.number", "$.allocations[0].amount", id="u64"
        ),
        pytest.param(_changed("allocations.1.amount", str(4 * 10**16)), "genesis.supply", None, id="supply"),
        pytest.param(
            _changed("allocations.0.address", "alice"), "address.format", "$.allocations[0].address", id="address"
        ),
        pytest.param(
            _changed("allocations.0.address", "0000:treasury"),
            "address.format",
            "$.allocations[0].address",
            id="system",
        ),
        pytest.param(_changed("validators", []), "genesis.no_validators", "$.validators", id="nobody"),
        pytest.param(
            _changed("validators.1", DOCUMENT["validators"][0]), "genesis.duplicate_key", "$.validators", id="key-twice"
        ),
        pytest.param(_changed("validators.0.stake", "0"), "genesis.stake", "$.validators[0].stake", id="no-stake"),
        pytest.param(
            _changed("validators.0.public_key", "zz"), "genesis.public_key", "$.validators[0].public_key", id="no-hex"
        ),
        pytest.param(
            _changed("validators.0.public_key", "00" * 32),
            "genesis.public_key",
            "$.validators[0].public_key",
            id="no-key",
        ),
        pytest.param(
            _changed("validators.0.vote", 1), "genesis.unknown_field", "$.validators[0].vote", id="unknown-inside"
        ),
        pytest.param(
            _changed("validators", DOCUMENT["validators"] * 201), "genesis.too_many", "$.validators", id="too-many"
        ),
    ],
)
def test_a_document_is_refused_with_the_path_of_what_is_wrong(data, code, path):
    assert code_of(data) == (code, path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(DOCUMENT)), inner, max_size=9),
        max_leaves=12,
    )
)
def test_any_json_is_a_refusal_or_a_genesis(value):
    try:
        genesis.parse(encode(value))
    except InvalidRecord:
        return
    raise AssertionError("nothing that small is a genesis")


def test_reference_hashes_are_pinned():
    assert sorted(genesis.GENESIS_HASHES) == sorted(genesis.PRESETS)
    genesis.check_pins(genesis.GENESIS_HASHES)


def test_drift_is_caught(monkeypatch):
    drifted = {**genesis.PRESETS, "mainnet": replace(genesis.PRESETS["mainnet"], macro_interval=99)}
    monkeypatch.setattr("theblock_node.core.params.PRESETS", drifted)

    with pytest.raises(AssertionError, match="mainnet"):
        genesis.check_pins(genesis.GENESIS_HASHES)
