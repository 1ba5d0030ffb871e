"""The engine of tests and of the simulator: dictionaries, and an image that outlives `close`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from theblock_node.store.engine import Batch, StoreError

Image = dict[str, dict[bytes, bytes]]
"""What a memory engine holds; open another engine over it to see what a restart would see."""


class MemoryEngine:
    def __init__(self, families: Iterable[str], image: Image | None = None) -> None:
        self.image: Image = {} if image is None else image
        for family in families:
            self.image.setdefault(family, {})
        self._closed = False

    def get(self, family: str, key: bytes) -> bytes | None:
        self._check_open()
        return self.image[family].get(key)

    def write(self, batch: Batch) -> None:
        self._check_open()
        unknown = [family for family, _, _ in batch.rows if family not in self.image]
        if unknown:
            raise StoreError("store.family", family=unknown[0])
        for family, key, value in batch.rows:
            if value is None:
                self.image[family].pop(key, None)
            else:
                self.image[family][key] = value

    def iterate(self, family: str, *, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        rows = self.image[family]
        keys = sorted(rows)
        first = bisect_left(keys, start)
        last = len(keys) if stop is None else bisect_left(keys, stop)
        return iter([(key, rows[key]) for key in keys[first:last]])

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("store.io", reason="closed")
