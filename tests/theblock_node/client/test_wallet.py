"""A wallet's calls are what a node takes: signed, paid for, in one form whether from JSON or from a record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.client.wallet import FEE_ROOM, Wallet
from theblock_node.core import tx as txs
from theblock_node.core.crypto import blake3, verify
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.errors import InvalidRecord, InvalidTx

ALICE, BOB = Wallet(blake3(b"alice")), Wallet(blake3(b"bob"))
PAY = Transfer(BOB.address, 5, 7)
AS_JSON = {"to": BOB.address, "amount_consumer": "5", "amount_industrial": "7"}


def signed(arguments=PAY, call="accounts.transfer", **changes):
    return ALICE.sign_call(call, arguments, **{"chain_id": 3, "nonce": 1, "base_fee": 10, **changes})


def decoded(made):
    return txs.decode(made.envelope, REGISTRY, chain_id=3, gas_max=10**6)


def test_a_signed_call_is_taken_by_the_chain_s_own_checks():
    made = signed(tip=9, memo=b"hi", expires_at_height=77)

    tx = decoded(made)

    payload = tx.payload
    assert tx.id == made.tx_id
    assert tx.arguments == PAY
    assert (payload.from_, payload.nonce, payload.tip, payload.memo) == (ALICE.address, 1, 9, b"hi")
    assert payload.expires_at_height == 77
    assert payload.max_fee == 9 + tx.gas * 10 * FEE_ROOM
    assert payload.gas_limit == tx.gas
    public_key, message, signature = txs.signature_item(tx)
    assert verify(public_key, message, signature)


def test_json_and_the_record_make_the_same_bytes():
    assert signed(AS_JSON) == signed(PAY)
    assert signed(PAY, nonce=2).tx_id != signed(PAY).tx_id


@given(st.binary(max_size=1024), st.integers(0, 2**40), st.integers(0, 10**9))
def test_gas_is_enough_whatever_else_the_envelope_holds(memo, nonce, base_fee):
    assert decoded(signed(memo=memo, nonce=nonce, base_fee=base_fee)).payload.memo == memo


@pytest.mark.parametrize(
    ("call", "arguments", "kind", "code"),
    [
        ("accounts.nothing", PAY, InvalidTx, "tx.unknown_call"),
        ("validators.unbond", PAY, InvalidRecord, "codec.value"),
        ("accounts.transfer", {**AS_JSON, "amount_consumer": "-1"}, InvalidRecord, None),
        ("accounts.transfer", {**AS_JSON, "more": "1"}, InvalidRecord, None),
        ("accounts.transfer", {"to": BOB.address}, InvalidRecord, None),
        ("accounts.transfer", {**AS_JSON, "to": "bob"}, InvalidRecord, None),
    ],
)
def test_what_is_no_such_call_is_refused_before_it_is_signed(call, arguments, kind, code):
    with pytest.raises(kind) as refused:
        signed(arguments, call)

    assert code in (None, refused.value.code)


def test_a_seed_is_one_key_on_every_shard():
    seed = blake3(b"alice")

    assert Wallet(seed, shard=1).public_key == ALICE.public_key
    assert Wallet(seed, shard=1).address != ALICE.address
