import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.fees import compute_base_fee

TARGET = 1_000_000


@pytest.mark.parametrize(
    ("previous", "used", "following"),
    [
        (350, 0, 307), (350, TARGET, 350), (350, 2 * TARGET, 393), (350, 1_500_000, 371), (10, 2 * TARGET, 11),
        (12, 900_000, 12),
    ],
)  # fmt: skip
def test_the_base_fee_follows_the_gas_used(previous, used, following):
    assert compute_base_fee(previous, used, target=TARGET, floor=10) == following


def test_many_blocks_in_a_row():
    fee = 350
    for _ in range(10):
        fee = compute_base_fee(fee, 2 * TARGET, target=TARGET, floor=10)
    assert fee == 1129

    fee = 350
    for _ in range(30):
        fee = compute_base_fee(fee, 0, target=TARGET, floor=10)
    assert fee == 10


@given(previous=st.integers(10, 2**40), used=st.integers(0, 2 * TARGET))
def test_a_step_is_an_eighth_at_most(previous, used):
    following = compute_base_fee(previous, used, target=TARGET, floor=10)

    assert max(10, previous - previous // 8) <= following <= previous + max(previous // 8, 1)
