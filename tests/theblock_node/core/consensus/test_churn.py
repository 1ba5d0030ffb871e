from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.consensus import churn

SETS = st.dictionaries(st.binary(min_size=1, max_size=2), st.integers(1, 100), min_size=1, max_size=12)


@given(before=SETS, wanted=SETS, share=st.integers(0, 3333), seed=st.binary(max_size=8))
def test_a_set_moves_within_the_limit_or_by_one_member(before, wanted, share, seed):
    weight_max = sum(before.values()) * share // 10_000

    after = churn.limit(before, wanted, weight_max, seed=seed)

    moved = {one for one in {*before, *after} if before.get(one, 0) != after.get(one, 0)}
    weight = sum(abs(after.get(one, 0) - before.get(one, 0)) for one in moved)
    assert weight <= weight_max or len(moved) == 1
    assert all(after.get(one, 0) == wanted.get(one, 0) for one in moved)
    assert bool(moved) is (before != wanted)


@given(before=SETS, wanted=SETS)
def test_a_set_arrives_in_the_end(before, wanted):
    steps = 0
    while before != wanted:
        before = churn.limit(before, wanted, 0, seed=b"%d" % steps)
        steps += 1
    assert steps <= 24
