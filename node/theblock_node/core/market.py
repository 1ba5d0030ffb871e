"""What markets share: what falls due at a height, so that a block looks only at what is due.

A `DueList` is one row a height, for what is bounded by the market itself. A market makes its own record of a
height's items (its `Due`, with its own items) and its own table for it; this is how such a table is used. A
`DueQueue` is one row an item, for what anybody can add to: adding costs the same however many there are, and a
block takes so many and leaves the rest to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from theblock_node.core.domain import Domain
from theblock_node.core.numeric import U8, U64
from theblock_node.core.state import Draft, Table

T = TypeVar("T")


class DueList(Generic[T]):
    """Items by the height at which they fall due; each is handed out once, in the order in which it was added."""

    __slots__ = ("_make", "_table")

    def __init__(self, table: Table[int, Any], make: Callable[[tuple[T, ...]], Any]) -> None:
        """``make`` builds the table's record around its field `items`."""
        self._table = table
        self._make = make

    def add(self, draft: Draft, height: int, item: T) -> None:
        row = draft.get(self._table, height)
        draft.put(self._table, height, self._make((*row.items, item) if row else (item,)))

    def take(self, draft: Draft, height: int) -> tuple[T, ...]:
        """What falls due at ``height``; it is forgotten."""
        row = draft.get(self._table, height)
        if row is None:
            return ()
        draft.delete(self._table, height)
        return row.items  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class DueCount:
    """How many items fall due at one height."""

    version: U8
    count: U64


@dataclass(frozen=True, slots=True)
class DueRest:
    """The first item that was due and is still to be taken; no such row while none is."""

    version: U8
    when: U64
    index: U64


class DueQueue(Generic[T]):
    """Items by when they fall due (a height or an epoch), handed out in that order and then in that of adding."""

    __slots__ = ("_counts", "_items", "_rest")

    def __init__(self, domain: Domain, name: str, item_type: type[T]) -> None:
        """``item_type`` is a state record; the tables are ``name`` and two beside it."""
        self._items = domain.table(name, tuple[U64, U64], item_type)
        self._counts = domain.table(f"{name}_count", U64, DueCount)
        self._rest = domain.table(f"{name}_rest", None, DueRest)

    def add(self, draft: Draft, when: int, item: T) -> None:
        """Have ``item`` handed out at ``when``, which must be yet to come."""
        found = draft.get(self._counts, when)
        index = 0 if found is None else found.count
        draft.put(self._items, (when, index), item)
        draft.put(self._counts, when, DueCount(1, index + 1))

    def take(self, draft: Draft, now: int, *, count_max: int) -> list[T]:
        """The first ``count_max`` items that are due; they are forgotten. Called for every height or epoch."""
        rest = draft.get(self._rest, None)
        when, index = (now, 0) if rest is None else (rest.when, rest.index)
        taken: list[T] = []
        while when <= now:
            found = draft.get(self._counts, when)
            count = 0 if found is None else found.count
            end = min(count, index + count_max - len(taken))
            for at in range(index, end):
                item = draft.get(self._items, (when, at))
                assert item is not None
                taken.append(item)
                draft.delete(self._items, (when, at))
            if end < count:
                draft.put(self._rest, None, DueRest(1, when, end))
                return taken
            if found is not None:
                draft.delete(self._counts, when)
            when, index = when + 1, 0
        if rest is not None:
            draft.delete(self._rest, None)
        return taken
