from hypothesis import given
from hypothesis import strategies as st
from support.chain import Chain, address
from theblock_node.core import schedule
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.tx import CheckedTx, FeeLane

CHAIN = Chain()
NAMES = ("alice", "bob", "owner", "v-1")


def waiting(*rows: tuple[str, int, FeeLane, int]) -> list[CheckedTx]:
    made = [
        CHAIN.tx(name, "accounts.transfer", Transfer(address("bob"), 1, 0), nonce=nonce, lane=lane, tip=tip)
        for name, nonce, lane, tip in rows
    ]
    return [CHAIN.check(envelope) for envelope in made]


def test_no_lane_crowds_out_another():
    crowd = waiting(*[("alice", nonce, FeeLane.CONSUMER, 1000) for nonce in range(1, 101)])
    few = waiting(*[("bob", nonce, FeeLane.INDUSTRIAL, 0) for nonce in range(1, 8)])

    ordered = schedule.order([*crowd, *few])

    assert [tx.payload.lane for tx in ordered[:7]] == [FeeLane.INDUSTRIAL] * 7
    assert len(ordered) == 107


def test_within_a_lane_the_higher_tip_comes_first():
    ordered = schedule.order(waiting(*[(name, 1, FeeLane.PRIORITY, tip) for tip, name in enumerate(NAMES)]))

    assert [tx.payload.tip for tx in ordered] == [3, 2, 1, 0]


ROWS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(1, 9), st.sampled_from(FeeLane), st.integers(0, 3)), max_size=30
)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_keeps_nonces_and_does_not_depend_on_arrival(rows, random):
    offered = waiting(*dict.fromkeys(rows))
    ordered = schedule.order(offered)

    random.shuffle(offered)
    again = schedule.order(offered)

    assert [tx.id for tx in ordered] == [tx.id for tx in again]
    assert sorted(tx.id for tx in ordered) == sorted(tx.id for tx in offered)
    for name in NAMES:
        nonces = [tx.payload.nonce for tx in ordered if tx.payload.from_ == address(name)]
        assert nonces == sorted(nonces)
