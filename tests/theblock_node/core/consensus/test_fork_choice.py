from itertools import permutations

import pytest
from theblock_node.core.consensus.fork_choice import TipMeta, choose

LOW, HIGH = bytes(32), b"\xff" * 32


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        pytest.param(TipMeta(5, 100, LOW, 10), TipMeta(6, 110, HIGH, 8), id="checkpoint-before-weight"),
        pytest.param(TipMeta(5, 100, LOW, 10), TipMeta(5, 90, HIGH, 10), id="weight"),
        pytest.param(TipMeta(5, 100, LOW, 10), TipMeta(6, 90, HIGH, 10), id="weight-before-height"),
        pytest.param(TipMeta(6, 100, LOW, 10), TipMeta(5, 100, HIGH, 10), id="height"),
        pytest.param(TipMeta(5, 100, HIGH, 10), TipMeta(5, 100, LOW, 10), id="hash"),
    ],
)
def test_the_better_tip_wins_in_any_order(winner, loser):
    assert choose([winner, loser], lambda _: True) is winner
    assert choose([loser, winner], lambda _: True) is winner


def test_the_choice_does_not_depend_on_the_order_of_arrival():
    tips = [TipMeta(5, 100, HIGH, 8), TipMeta(4, 101, LOW, 8), TipMeta(9, 1, LOW, 12), TipMeta(9, 1, HIGH, 12)]

    assert {choose(order, lambda _: True) for order in permutations(tips)} == {tips[3]}


def test_a_tip_off_the_final_branch_never_wins():
    best, other = TipMeta(9, 100, HIGH, 12), TipMeta(1, 1, LOW, 0)

    assert choose([best, other], lambda tip: tip is other) is other
    assert choose([best], lambda tip: tip is other) is None
