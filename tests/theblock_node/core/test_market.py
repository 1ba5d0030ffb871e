from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.domain import Domain
from theblock_node.core.market import DueQueue
from theblock_node.core.numeric import U8, U64
from theblock_node.core.state import Draft, State


@dataclass(frozen=True, slots=True)
class Item:
    version: U8
    name: U64


QUEUE: DueQueue[Item] = DueQueue(Domain("probe", service="Probe"), "probe/due", Item)


@given(
    added=st.lists(st.lists(st.integers(1, 4), max_size=5), max_size=20),
    count_max=st.integers(1, 4),
)
def test_everything_is_handed_out_once_in_order_and_never_too_early(added, count_max):
    """``added`` is, for each height, how far ahead of it each of some items falls due."""
    draft, due, taken = Draft(State()), {}, []
    for height in range(len(added) + 100):
        found = [item.name for item in QUEUE.take(draft, height, count_max=count_max)]
        assert len(found) <= count_max
        assert all(due[name] <= height for name in found)
        taken += found
        for ahead in added[height] if height < len(added) else ():
            due[len(due)] = height + ahead
            QUEUE.add(draft, height + ahead, Item(1, len(due) - 1))

    assert taken == sorted(due, key=lambda name: (due[name], name))
    assert draft.changes().rows == ()
