"""Chain parameters: three presets, and overrides within bounds."""

from dataclasses import fields

import pytest
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.params import BOUNDS, PRESETS, ChainParams, chain_params


def test_presets_are_named_as_they_are_kept_and_have_chains_of_their_own():
    assert {name: chain.preset for name, chain in PRESETS.items()} == {name: name for name in PRESETS}
    assert len({chain.chain_id for chain in PRESETS.values()}) == len(PRESETS) == 3


@pytest.mark.parametrize("preset", PRESETS)
def test_a_presets_numbers_are_within_their_own_bounds(preset):
    for name, (low, high) in BOUNDS.items():
        assert low <= getattr(PRESETS[preset], name) <= high, name


def test_every_number_has_bounds():
    assert set(BOUNDS) == {field.name for field in fields(ChainParams)} - {"preset", "chain_id"}


def test_overrides_change_what_they_name_alone():
    chain = chain_params("devnet", chain_id=9, overrides={"epoch_blocks": 12})

    assert (chain.chain_id, chain.epoch_blocks) == (9, 12)
    assert chain.macro_interval == PRESETS["devnet"].macro_interval
    assert PRESETS["devnet"].epoch_blocks == 30


@pytest.mark.parametrize(
    ("preset", "overrides", "code"),
    [
        pytest.param("testnet", {}, "genesis.unknown_preset", id="unknown-preset"),
        pytest.param("devnet", {"chain_id": 2}, "genesis.unknown_parameter", id="not-by-override"),
        pytest.param("devnet", {"speed": 2}, "genesis.unknown_parameter", id="unknown"),
        pytest.param("devnet", {"epoch_blocks": 1}, "genesis.parameter_bounds", id="below"),
        pytest.param("devnet", {"block_txs_max": 65_537}, "genesis.parameter_bounds", id="above"),
    ],
)
def test_overrides_are_refused(preset, overrides, code):
    with pytest.raises(InvalidRecord) as refused:
        chain_params(preset, overrides=overrides)
    assert refused.value.code == code
