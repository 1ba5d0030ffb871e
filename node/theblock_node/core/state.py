"""Tables, the committed state, and drafts that overlay it.

A block runs on `Draft(state)`, each of its transactions on `Draft(draft)`; a refused
transaction's draft is dropped, an accepted one is absorbed. `Draft.changes()` is what the
block did: storing it is committing, `State.undo` takes it back. The state root is the sparse
Merkle root over the encoded rows (`merkle`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Generic, Protocol, TypeVar

from theblock_node.core import codec, merkle
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import MaxLen

KEYS_MAX = 4096
"""Encoded keys that a table keeps."""
K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """A named, typed map in the state. Rows of one table live in one shard unless `shard_of` says otherwise.

    ``key_type`` is any codec annotation (``str``, ``U64``, ``tuple[str, U64]``, ``None`` for a single row);
    ``value_type`` is a frozen dataclass that starts with ``version: U8``.
    """

    __slots__ = ("_prefix", "encode_key", "key_type", "name", "shard_of", "value_type")

    def __init__(
        self, name: str, key_type: Any, value_type: type[V], *, shard_of: Callable[[K], int] = lambda _key: 0
    ) -> None:
        self.name = name
        self.key_type = key_type
        self.value_type = value_type
        self.shard_of = shard_of
        self.encode_key: Callable[[K], bytes] = lru_cache(KEYS_MAX)(codec.encoder_of(key_type))
        """The canonical bytes of a key; those last asked for are kept, since rules name a row again and again."""
        self._prefix = merkle.table_prefix(name)

    def decode_key(self, data: bytes) -> K:
        return codec.decode_as(self.key_type, data)  # type: ignore[no-any-return]

    def path(self, key: K, key_bytes: bytes) -> bytes:
        """The 40-byte path of a row in the state tree."""
        return merkle.path_in(self.shard_of(key), self._prefix, key_bytes)

    def __repr__(self) -> str:
        return f"Table({self.name!r})"


@dataclass(frozen=True, slots=True)
class Change:
    """One row that a block wrote: its value before and after as canonical bytes, None where there was no row."""

    table: Annotated[str, MaxLen(80)]
    key: bytes
    path: bytes
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a block did to the state, in path order; apply `after` to commit, `before` to undo."""

    rows: tuple[Change, ...]

    def leaves(self) -> dict[bytes, bytes | None]:
        return {row.path: row.after for row in self.rows}


class View(Protocol):
    """What a rule or a query may read."""

    def get(self, table: Table[K, V], key: K) -> V | None: ...

    def items(self, table: Table[K, V]) -> list[tuple[K, V]]:
        """Every row of ``table`` by ascending key."""
        ...


def _key(pair: tuple[Any, bytes]) -> Any:
    return pair[0]


def get_page(view: View, table: Table[K, V], after: K | None, count_max: int) -> list[tuple[K, V]]:
    """As `State.page`, of any view; only a committed state finds the place without looking at every row."""
    if isinstance(view, State):
        return view.page(table, after, count_max)
    rows = [row for row in view.items(table) if after is None or row[0] > after]  # type: ignore[operator]
    return rows[:count_max]


class State:
    """The committed rows, in memory, and their tree.

    It owns its changes alone: `commit` and `undo` are the only ways to alter it. Values are
    decoded once and cached; they are frozen, so handing them out is safe.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[bytes, bytes]] = {}
        self._order: dict[str, tuple[Table[Any, Any], list[tuple[Any, bytes]]]] = {}
        """(key, its bytes) by ascending key, of the tables that somebody has listed."""
        self._decoded: dict[tuple[str, bytes], Any] = {}
        self._tree = merkle.EMPTY

    @property
    def root(self) -> bytes:
        return self._tree.root

    @property
    def tree(self) -> merkle.Tree:
        return self._tree

    def get(self, table: Table[K, V], key: K) -> V | None:
        return self._get_row(table, table.encode_key(key))

    def items(self, table: Table[K, V]) -> list[tuple[K, V]]:
        return [(key, self._get_row(table, data)) for key, data in self._ordered(table)]  # type: ignore[misc]

    def page(self, table: Table[K, V], after: Any, count_max: int) -> list[tuple[K, V]]:
        """At most ``count_max`` rows above the key ``after`` (None: from the first), by ascending key."""
        ordered = self._ordered(table)
        start = 0 if after is None else bisect_right(ordered, after, key=_key)
        return [(key, self._get_row(table, data)) for key, data in ordered[start : start + count_max]]  # type: ignore[misc]

    def row(self, table_name: str, key: bytes) -> bytes | None:
        """The canonical bytes of one row, for proofs and snapshots."""
        return self._rows.get(table_name, {}).get(key)

    def rows(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every row as (table, key, value), by table and key bytes."""
        for name in sorted(self._rows):
            for key in sorted(self._rows[name]):
                yield name, key, self._rows[name][key]

    def root_with(self, changes: Changes) -> bytes:
        """The root after ``changes``, without making them."""
        return self.tree_with(changes).root

    def tree_with(self, changes: Changes) -> merkle.Tree:
        return self._tree.update(changes.leaves())

    def commit(self, changes: Changes) -> None:
        self._swap(changes, [(row, row.after) for row in changes.rows])

    def undo(self, changes: Changes) -> None:
        self._swap(changes, [(row, row.before) for row in changes.rows])

    def load(self, rows: Iterator[tuple[str, bytes, bytes, bytes]]) -> None:
        """Fill an empty state from stored (table, key, path, value) rows."""
        leaves: dict[bytes, bytes | None] = {}
        for name, key, path, value in rows:
            self._rows.setdefault(name, {})[key] = value
            leaves[path] = value
        self._order.clear()
        self._tree = self._tree.update(leaves)

    def _get_row(self, table: Table[K, V], key: bytes) -> V | None:
        data = self._rows.get(table.name, {}).get(key)
        if data is None:
            return None
        where = (table.name, key)
        value = self._decoded.get(where)
        if value is None:
            value = self._decoded[where] = codec.decode(table.value_type, data)
        return value

    def _ordered(self, table: Table[Any, Any]) -> list[tuple[Any, bytes]]:
        found = self._order.get(table.name)
        if found is None:
            keys = [(table.decode_key(data), data) for data in self._rows.get(table.name, {})]
            found = self._order[table.name] = (table, sorted(keys, key=_key))
        return found[1]

    def _reorder(self, name: str, key: bytes, *, was: bool, stays: bool) -> None:
        """Keep the order of a table, where there is one, as a row comes or goes."""
        if was == stays or name not in self._order:
            return
        table, ordered = self._order[name]
        pair = (table.decode_key(key), key)
        if stays:
            insort(ordered, pair, key=_key)
        else:
            del ordered[bisect_left(ordered, pair[0], key=_key)]

    def _swap(self, changes: Changes, values: list[tuple[Change, bytes | None]]) -> None:
        for row, value in values:
            self._decoded.pop((row.table, row.key), None)
            rows = self._rows.setdefault(row.table, {})
            self._reorder(row.table, row.key, was=row.key in rows, stays=value is not None)
            if value is None:
                rows.pop(row.key, None)
            else:
                rows[row.key] = value
        self._tree = self._tree.update({row.path: value for row, value in values})


class Draft:
    """An overlay over a state or over another draft; nothing below it changes until it is absorbed."""

    __slots__ = ("_below", "_encoded", "_written")

    def __init__(self, below: State | Draft) -> None:
        self._below = below
        self._written: dict[tuple[str, bytes], tuple[Table[Any, Any], Any, Any]] = {}
        self._encoded: dict[tuple[str, bytes], tuple[Any, bytes]] = {}
        """Values as they were when `check` encoded them, and their bytes."""

    def get(self, table: Table[K, V], key: K) -> V | None:
        return self._get_row(table, table.encode_key(key), key)

    def items(self, table: Table[K, V]) -> list[tuple[K, V]]:
        merged: dict[Any, Any] = dict(self._below.items(table))
        for owner, key, value in self._written.values():
            if owner.name != table.name:
                continue
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return sorted(merged.items(), key=lambda row: row[0])

    def put(self, table: Table[K, V], key: K, value: V) -> None:
        self._written[(table.name, table.encode_key(key))] = (table, key, value)

    def delete(self, table: Table[K, V], key: K) -> None:
        self._written[(table.name, table.encode_key(key))] = (table, key, None)

    def absorb(self, above: Draft) -> None:
        """Take over what a draft of this draft wrote."""
        self._written.update(above._written)
        self._encoded.update(above._encoded)

    def check(self) -> None:
        """Refuse a value that its table's record does not allow; what was checked can be stored and read again."""
        for where, (table, _, value) in self._written.items():
            if value is None:
                continue
            data = codec.encode(value)
            if len(data) > codec.CANONICAL.size_max:
                raise InvalidRecord("codec.too_large", table=table.name, max=codec.CANONICAL.size_max)
            self._encoded[where] = (value, data)

    def changes(self) -> Changes:
        """What this draft, over a committed state, would do; rows that end as they began are left out."""
        below = self._below
        if not isinstance(below, State):
            raise TypeError("only a draft over a committed state yields changes")
        rows = []
        for (name, key_bytes), (table, key, value) in self._written.items():
            before = below.row(name, key_bytes)
            after = None if value is None else self._bytes_of((name, key_bytes), value)
            if before != after:
                rows.append(Change(name, key_bytes, table.path(key, key_bytes), before, after))
        return Changes(tuple(sorted(rows, key=lambda row: row.path)))

    def written(self) -> Mapping[tuple[str, bytes], tuple[Table[Any, Any], Any, Any]]:
        """(table name, key bytes) -> (table, key, value) of this layer alone."""
        return self._written

    def _bytes_of(self, where: tuple[str, bytes], value: Any) -> bytes:
        checked = self._encoded.get(where)
        return checked[1] if checked is not None and checked[0] is value else codec.encode(value)

    def _get_row(self, table: Table[K, V], key_bytes: bytes, key: K) -> V | None:
        found = self._written.get((table.name, key_bytes))
        if found is not None:
            return found[2]  # type: ignore[no-any-return]
        if isinstance(self._below, Draft):
            return self._below._get_row(table, key_bytes, key)
        return self._below._get_row(table, key_bytes)
