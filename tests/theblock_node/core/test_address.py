"""Addresses: one text for one account; nothing else passes."""

import pytest
from theblock_node.core import codec
from theblock_node.core.address import Address, address_of, is_system_address, parse_address, shard_of
from theblock_node.core.errors import InvalidRecord

HEX = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"


@pytest.mark.parametrize("shard", [0, 1, 255, 65_535])
def test_a_key_and_a_shard_make_an_address_and_come_back(shard):
    text = address_of(bytes.fromhex(HEX), shard)

    assert parse_address(text) == (shard, HEX)
    assert shard_of(text) == shard
    assert not is_system_address(text)
    assert codec.encode_as(Address, text) == b"\x45\0\0\0" + text.encode()


def test_a_system_address_is_a_name_on_shard_0():
    assert parse_address("0000:treasury") == (0, "treasury")
    assert is_system_address("0000:rebate-pool")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(HEX, id="no-shard"),
        pytest.param(f"001:{HEX}", id="three-digits"),
        pytest.param(f"00001:{HEX}", id="five-digits"),
        pytest.param(f"000A:{HEX}", id="upper-case-shard"),
        pytest.param(f"0001:{HEX.upper()}", id="upper-case-key"),
        pytest.param(f"0001:{HEX[:-1]}", id="63-digits"),
        pytest.param(f"0001:{HEX}0", id="65-digits"),
        pytest.param(f"0001:{HEX}\n", id="a-line-end"),
        pytest.param(f" 0001:{HEX}", id="a-space"),
        pytest.param("0001:treasury", id="system-name-on-another-shard"),
        pytest.param("0000:Treasury", id="upper-case-name"),
        pytest.param("0000:t", id="one-letter"),
        pytest.param("0000:" + "t" * 33, id="33-letters"),
        pytest.param("0000:9lives", id="starts-with-a-digit"),
        pytest.param(f"٠٠٠١:{HEX}", id="digits-of-another-script"),
    ],
)
def test_nothing_else_is_an_address(text):
    with pytest.raises(InvalidRecord) as refused:
        parse_address(text)
    assert refused.value.code == "address.format"
    assert not is_system_address(text)
    with pytest.raises(InvalidRecord) as refused:
        codec.encode_as(Address, text)
    assert refused.value.code == "codec.value"
