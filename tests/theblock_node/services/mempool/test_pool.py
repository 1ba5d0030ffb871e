"""The pool: who gets in, who has to leave, what a block takes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core import codec, tx
from theblock_node.core.address import address_of
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.errors import InvalidTx
from theblock_node.core.tx import FeeLane, TxPayload
from theblock_node.services.mempool.pool import Account, Limits, Pool

KEYS = [SigningKey.from_seed(bytes([number]) * 32) for number in range(1, 6)]
RICH = Account(balance=10**12, nonce=0)
TO = address_of(KEYS[0].public_key)


def make(sender=0, nonce=1, *, tip=10_000, max_fee=10**6, expires=0, lane=FeeLane.CONSUMER, memo=b""):
    key = KEYS[sender]
    payload = TxPayload(
        3, 7, address_of(key.public_key), nonce, lane, max_fee, tip, 100, 2000, expires, memo,
        "accounts.transfer", codec.encode(Transfer(TO, 5, 0)),
    )  # fmt: skip
    data = codec.encode(tx.sign(payload, key))
    return tx.decode(data, REGISTRY, chain_id=7, gas_max=10**6), data


def admit(pool, made, account=RICH, *, base_fee=10, height=1, now_ms=0, check=tx.check_signature):
    return pool.admit(
        *made, account, spends=5, base_fee=base_fee, height=height, now_ms=now_ms, check_signature=check
    )  # fmt: skip


def select(pool, **limits):
    chosen = pool.select(lambda _: 0, base_fee=10, **{"gas_max": 10**6, "bytes_max": 10**6, "count_max": 100, **limits})
    return [(chosen_tx.payload.from_, chosen_tx.payload.nonce) for chosen_tx in chosen]


def test_a_block_takes_the_best_paying_first_but_each_sender_in_order():
    pool = Pool(Limits())
    for sender, nonce, tip in [(0, 1, 1000), (0, 2, 90_000), (1, 1, 50_000), (2, 1, 2000)]:
        admit(pool, make(sender, nonce, tip=tip))
    names = [address_of(key.public_key) for key in KEYS]
    assert select(pool) == [(names[1], 1), (names[2], 1), (names[0], 1), (names[0], 2)]
    assert select(pool, gas_max=4000) == [(names[1], 1), (names[2], 1)]
    assert select(pool, count_max=1) == [(names[1], 1)]


@pytest.mark.parametrize(
    ("change", "account", "code"),
    [
        pytest.param({"nonce": 3}, RICH, "mempool.nonce_gap", id="gap"),
        pytest.param({"nonce": 1}, Account(10**12, 1), "mempool.duplicate", id="executed-nonce"),
        pytest.param({}, None, "mempool.unknown_sender", id="no-account"),
        pytest.param({}, Account(10**6 + 4, 0), "mempool.insufficient_balance", id="one-unit-too-poor"),
        pytest.param({"max_fee": 29_999}, RICH, "mempool.fee_too_low", id="below-base-fee"),
        pytest.param({"expires": 1}, RICH, "tx.expired", id="expired"),
    ],
)
def test_a_transaction_is_refused(change, account, code):
    pool = Pool(Limits())
    with pytest.raises(InvalidTx) as refused:
        admit(pool, make(**change), account)
    assert refused.value.code == code
    assert len(pool) == 0


def test_a_bad_signature_costs_nobody_a_place():
    pool = Pool(Limits(entries_max=1))
    admit(pool, make(0, tip=10_000))
    good, data = make(1, tip=400_000)

    def refuse(checked):
        raise InvalidTx("tx.bad_signature")

    with pytest.raises(InvalidTx) as refused:
        admit(pool, (good, data), check=refuse)

    assert refused.value.code == "tx.bad_signature"
    assert [entry.sender for entry in pool.entries()] == [address_of(KEYS[0].public_key)]


@pytest.mark.parametrize(("tip", "is_replaced"), [(10_990, False), (11_000, True), (10_000, False)])
def test_a_replacement_must_pay_a_tenth_more(tip, is_replaced):
    pool = Pool(Limits())
    admit(pool, make(tip=10_000))
    newer = make(tip=tip, memo=b"newer")
    if is_replaced:
        admit(pool, newer)
    else:
        with pytest.raises(InvalidTx) as refused:
            admit(pool, newer)
        assert refused.value.code == "mempool.duplicate"
    assert (newer[0].id in pool) == is_replaced
    assert len(pool) == 1


def test_the_worst_payer_leaves_a_full_pool_with_all_that_hangs_on_it():
    pool = Pool(Limits(entries_max=4, floor_full_milli=(0, 0, 0, 0)))
    for sender, nonce, tip in [(0, 1, 20_000), (0, 2, 90_000), (1, 1, 50_000), (2, 1, 60_000)]:
        admit(pool, make(sender, nonce, tip=tip))

    with pytest.raises(InvalidTx) as refused:
        admit(pool, make(3, tip=19_000))
    assert refused.value.code == "mempool.full"
    admit(pool, make(3, tip=30_000))

    assert sorted(entry.sender for entry in pool.entries()) == sorted(address_of(KEYS[n].public_key) for n in (1, 2, 3))


def test_the_floor_rises_once_the_pool_is_half_full():
    pool = Pool(Limits(entries_max=4))
    assert pool.compute_floor(FeeLane.CONSUMER) == 0
    for sender in range(3):
        admit(pool, make(sender, tip=400_000))
    assert pool.compute_floor(FeeLane.CONSUMER) == 5000
    assert pool.compute_floor(FeeLane.INDUSTRIAL) == 10_000
    with pytest.raises(InvalidTx) as refused:
        admit(pool, make(3, tip=4000))
    assert refused.value.code == "mempool.fee_below_floor"


def test_one_account_has_a_bounded_share_and_old_ones_expire():
    pool = Pool(Limits(pending_max=2, ttl_ms=1000))
    admit(pool, make(0, 1))
    admit(pool, make(0, 2), now_ms=500)
    with pytest.raises(InvalidTx) as refused:
        admit(pool, make(0, 3))
    assert refused.value.code == "mempool.pending_limit"
    assert len(pool.expire(height=1, now_ms=1001)) == 2
    assert len(pool) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 9), st.sampled_from(["in", "settle"])),
        max_size=30,
    )
)
def test_no_sender_ever_has_a_gap_and_the_sums_agree(steps):
    pool = Pool(Limits(entries_max=6, floor_full_milli=(0, 0, 0, 0)))
    executed = [0] * 5
    for sender, nonce, tip, what in steps:
        name = address_of(KEYS[sender].public_key)
        if what == "settle":
            executed[sender] = pool.pending_nonce(name, executed[sender])
            pool.settle(name, executed[sender])
            continue
        try:
            admit(pool, make(sender, nonce, tip=tip * 10_000), Account(10**12, executed[sender]))
        except InvalidTx:
            continue

    by_sender: dict[str, list[int]] = {}
    for entry in pool.entries():
        by_sender.setdefault(entry.sender, []).append(entry.nonce)
    for sender, key in enumerate(KEYS):
        nonces = sorted(by_sender.get(address_of(key.public_key), []))
        assert nonces == list(range(executed[sender] + 1, executed[sender] + 1 + len(nonces)))
    assert pool.size == sum(len(entry.data) for entry in pool.entries())
    assert len(pool) <= 6
