"""An ordered key-value store with named families: what every engine promises.

`tests/theblock_node/store/test_engines.py` is the promise as tests, run over each engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


class StoreError(Exception):
    """The disk failed us: ``store.io``, ``store.locked``, ``store.corrupt``. Nothing of the write was kept."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code, facts)
        self.code = code
        self.facts = facts


@dataclass(slots=True)
class Batch:
    """Writes that become visible together, or not at all; later ones win."""

    rows: list[tuple[str, bytes, bytes | None]] = field(default_factory=list)
    """(family, key, value); None deletes."""

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self.rows.append((family, key, value))

    def delete(self, family: str, key: bytes) -> None:
        self.rows.append((family, key, None))


class Engine(Protocol):
    def get(self, family: str, key: bytes) -> bytes | None: ...

    def write(self, batch: Batch) -> None:
        """Apply all of ``batch`` or nothing, and return once it would survive a power cut."""
        ...

    def iterate(self, family: str, *, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < stop, ascending, as they were when the iteration began."""
        ...

    def close(self) -> None: ...
