from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.numeric import U8, U64
from theblock_node.core.state import Draft, State, Table, get_page


@dataclass(frozen=True, slots=True)
class Row:
    version: U8
    value: U64


TABLE: Table[tuple[int, str], Row] = Table("probe/row", tuple[U64, str], Row)
KEYS = st.tuples(st.sampled_from([0, 1, 255, 256]), st.sampled_from(["", "a", "aa", "b"]))
WRITES = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 3)), max_size=8)


def write(draft: Draft, writes) -> None:
    for key, value in writes:
        if value is None:
            draft.delete(TABLE, key)
        else:
            draft.put(TABLE, key, Row(1, value))


@given(st.lists(st.tuples(WRITES, st.booleans()), max_size=8))
def test_a_state_is_what_was_committed_and_not_undone(blocks):
    state, expected, history = State(), {}, []
    for writes, is_undone in blocks:
        state.items(TABLE)
        draft = Draft(state)
        write(draft, writes)
        changes, root = draft.changes(), state.root
        after = dict(expected)
        for key, value in writes:
            after[key] = value
        after = {key: value for key, value in after.items() if value is not None}

        assert {key: row.value for key, row in draft.items(TABLE)} == after
        assert state.root_with(changes) != root or not changes.rows
        state.commit(changes)
        if is_undone:
            state.undo(changes)
            assert state.root == root
        else:
            expected = after
            history.append(changes)
        assert [(key, row.value) for key, row in state.items(TABLE)] == sorted(expected.items())

    fresh = State()
    fresh.load((row.table, row.key, row.path, row.after) for row in _last(history) if row.after is not None)
    assert fresh.root == state.root
    assert fresh.items(TABLE) == state.items(TABLE)


def _last(history):
    return {row.path: row for changes in history for row in changes.rows}.values()


@given(WRITES, st.none() | KEYS, st.integers(0, 5))
def test_a_page_is_a_part_of_all_rows(writes, after, count_max):
    state = State()
    draft = Draft(state)
    write(draft, writes)
    state.commit(draft.changes())

    rows = [row for row in state.items(TABLE) if after is None or row[0] > after][:count_max]

    assert state.page(TABLE, after, count_max) == rows
    assert get_page(draft, TABLE, after, count_max) == rows


def test_a_dropped_draft_leaves_nothing():
    below = Draft(State())
    below.put(TABLE, (0, "a"), Row(1, 1))
    dropped, kept = Draft(below), Draft(below)
    dropped.delete(TABLE, (0, "a"))
    kept.put(TABLE, (1, "b"), Row(1, 2))

    below.absorb(kept)

    assert below.items(TABLE) == [((0, "a"), Row(1, 1)), ((1, "b"), Row(1, 2))]
    assert dropped.get(TABLE, (0, "a")) is None


def test_a_row_that_ends_as_it_began_is_no_change():
    draft = Draft(State())
    draft.put(TABLE, (0, "a"), Row(1, 1))
    draft.delete(TABLE, (0, "a"))
    draft.delete(TABLE, (0, "b"))

    assert draft.changes().rows == ()
