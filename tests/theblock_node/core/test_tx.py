"""Envelopes: the specification's vectors, and what is refused before anything of the state is read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core import codec, tx
from theblock_node.core.crypto import SigningKey, blake3
from theblock_node.core.domains import REGISTRY, accounts, validators
from theblock_node.core.domains.accounts import ACCOUNTS, Transfer
from theblock_node.core.errors import InvalidTx
from theblock_node.core.tx import FeeLane, StateKey, TxPayload

K1, K2 = SigningKey.from_seed(b"\1" * 32), SigningKey.from_seed(b"\2" * 32)
A1, A2 = f"0001:{K1.public_key.hex()}", f"0002:{K2.public_key.hex()}"
TRANSFER = TxPayload(
    version=3, chain_id=1, from_=A1, nonce=1, lane=FeeLane.CONSUMER, max_fee=2_000_000, tip=50_000, pct=100,
    gas_limit=1000, expires_at_height=0, memo=b"", call="accounts.transfer",
    data=codec.encode(Transfer(A2, 10_000_000_000, 0)),
)  # fmt: skip
BOND = TxPayload(
    version=3, chain_id=1, from_=A1, nonce=2, lane=FeeLane.INDUSTRIAL, max_fee=5_000_000, tip=20_000, pct=0,
    gas_limit=3000, expires_at_height=5000, memo=b"\1\2\3", call="validators.bond",
    data=codec.encode(validators.Bond(K1.public_key, validators.Role.VALIDATOR, 10_000_000_000)),
    writes=(
        StateKey("accounts/account", ACCOUNTS.encode_key(A1)),
        StateKey("accounts/account", ACCOUNTS.encode_key(A2)),
        StateKey("validators/stake", validators.STAKES.encode_key(K1.public_key)),
    ),
    fee_payer=A2,
)  # fmt: skip


def decode(data: bytes, chain_id: int = 1) -> tx.CheckedTx:
    return tx.decode(data, REGISTRY, chain_id=chain_id, gas_max=2_000_000)


def test_a_transfer_is_the_specifications():
    envelope = tx.sign(TRANSFER, K1)
    data = codec.encode(envelope)
    checked = decode(data)

    assert (len(TRANSFER.data), len(codec.encode(TRANSFER)), len(data)) == (89, 247, 345)
    assert blake3(TRANSFER.data).hex() == "b4b8c492e97cfd2f18553050ac106a737391c35e9b63cd81c39020c63070cb81"
    assert blake3(codec.encode(TRANSFER)).hex() == "a0539f893e24ca0c7ab3401a3894ef146c984c82e6ca8f860d5cee477264bfc0"
    assert checked.id.hex() == "57a6ef5685638fab647a7bc7ac80026680ac7e05198b3bafd6e1fc859042c2d5"
    assert envelope.auth.signature.hex() == (
        "8afdff88170bf607f9686e9b1e991535d1ce6d197f847ee6b7b541804b186bf8"
        "3fc7f5335d9f1b81a814e989914a6b1c6440fa0e1b78d8c52b044059ed6bf304"
    )
    assert blake3(data).hex() == "77aac80f1303d45e3ba05fe243bf2e7cd391889cd7b9545a26a9d56b5681b13c"
    assert checked.gas == 1000
    assert checked.arguments == Transfer(A2, 10_000_000_000, 0)
    tx.check_signature(checked)


def test_a_sponsored_bond_is_the_specifications_but_not_taken_yet():
    envelope = tx.sign(BOND, K1)
    sponsored = replace(
        envelope, payer_auth=tx.Ed25519Auth(K2.public_key, K2.sign(blake3(b"TBSPONSOR" + tx.tx_id(BOND))))
    )

    assert (len(BOND.data), len(codec.encode(BOND)), len(codec.encode(sponsored))) == (41, 523, 717)
    assert tx.tx_id(BOND).hex() == "e97ae5d6d1d463f687db993afe52921ded87444be204dba697e5708e4adc8430"
    assert envelope.auth.signature.hex().startswith("2d39b3f5ac48e7f687041192f2f61329")
    with pytest.raises(InvalidTx) as refused:
        decode(codec.encode(sponsored))
    assert refused.value.code == "tx.sponsor_not_built"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"chain_id": 2}, "tx.wrong_chain", id="another-chain"),
        pytest.param({"pct": 101}, "tx.invalid_selector", id="more-than-all"),
        pytest.param({"max_fee": 2**63}, "tx.fee_too_large", id="fee"),
        pytest.param({"tip": 2_000_001}, "tx.tip_above_max_fee", id="tip"),
        pytest.param({"call": "accounts.steal"}, "tx.unknown_call", id="unknown-call"),
        pytest.param({"data": b""}, "tx.bad_arguments", id="no-arguments"),
        pytest.param({"data": TRANSFER.data + b"\0"}, "tx.bad_arguments", id="trailing-byte"),
        pytest.param({"gas_limit": 999}, "tx.gas_limit", id="gas-below"),
        pytest.param({"gas_limit": 2_000_001}, "tx.gas_limit", id="gas-above"),
        pytest.param({"reads": (StateKey("no/table", b""),)}, "tx.access_list", id="unknown-table"),
        pytest.param({"writes": BOND.writes[::-1]}, "tx.access_list", id="unsorted"),
        pytest.param({"writes": BOND.writes[:1] * 2}, "tx.access_list", id="twice"),
        pytest.param({"from_": A2}, "tx.key_mismatch", id="anothers-account"),
        pytest.param({"from_": "0000:treasury"}, "tx.key_mismatch", id="system-account"),
        pytest.param({"fee_payer": A2}, "tx.sponsor_not_built", id="sponsor"),
    ],
)
def test_an_envelope_is_refused(changes, code):
    with pytest.raises(InvalidTx) as refused:
        decode(codec.encode(tx.sign(replace(TRANSFER, **changes), K1)))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(bytes(131_073), "tx.too_large", id="too-large"),
        pytest.param(b"", "tx.malformed", id="empty"),
        pytest.param(codec.encode(tx.sign(TRANSFER, K1))[:-1], "tx.malformed", id="cut"),
        pytest.param(codec.encode(tx.sign(TRANSFER, K1)) + b"\0", "tx.malformed", id="longer"),
        pytest.param(b"\2" + codec.encode(tx.sign(TRANSFER, K1))[1:], "tx.malformed", id="another-version"),
    ],
)
def test_bytes_are_refused(data, code):
    with pytest.raises(InvalidTx) as refused:
        decode(data)
    assert refused.value.code == code


@given(st.integers(0, 247 * 8 - 1))
def test_the_signature_covers_every_bit_of_the_payload(bit):
    data = bytearray(codec.encode(tx.sign(TRANSFER, K1)))
    data[bit // 8] ^= 1 << bit % 8
    try:
        changed = decode(bytes(data))
    except InvalidTx:
        return

    assert changed.id != tx.tx_id(TRANSFER)
    with pytest.raises(InvalidTx) as refused:
        tx.check_signature(changed)
    assert refused.value.code == "tx.bad_signature"


@given(st.binary(max_size=600))
def test_any_bytes_are_a_refusal_or_a_transaction(data):
    try:
        checked = decode(data)
    except InvalidTx:
        return
    assert codec.encode(checked.envelope) == data


@pytest.mark.parametrize(
    ("pct", "fee", "parts"),
    [(0, 10, (0, 10)), (37, 10, (4, 6)), (100, 5, (5, 0)), (50, 3, (2, 1)), (100, 2**63 - 1, (2**63 - 1, 0))],
)
def test_a_fee_is_split_with_the_consumer_rounded_up(pct, fee, parts):
    assert tx.decompose(pct, fee) == parts


@pytest.mark.parametrize(("pct", "fee", "code"), [(101, 1, "tx.invalid_selector"), (0, 2**63, "tx.fee_overflow")])
def test_a_fee_is_not_split(pct, fee, code):
    with pytest.raises(InvalidTx) as refused:
        tx.decompose(pct, fee)
    assert refused.value.code == code


def test_gas_grows_with_size_and_surcharge():
    assert accounts.domain.commands["accounts.transfer"].gas == 0
    assert tx.compute_gas(1024, 0) == 1000
    assert tx.compute_gas(1025, 2000) == 3001
