"""A finalized state in one file: written whole, verified by recomputing its root, and handed to nodes that join.

``TBSN``, version, then zstd of: the block whose state it is, the attestations that finalize it, and every row as
(table, key, value) in order; last a BLAKE3 of all before. Paths are not stored: they are computed from the table
and the key, so that a row cannot stand at another's place under the right root.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import zstandard

from theblock_node.core import codec
from theblock_node.core.block import Attestation, Block
from theblock_node.core.crypto import blake3
from theblock_node.core.domain import Registry
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import MaxLen
from theblock_node.core.state import State
from theblock_node.store.engine import StoreError

MAGIC = b"TBSN"
VERSION = 1
DIGEST_BYTES = 32
BYTES_MAX = 2**31
KEPT = 3


@dataclass(frozen=True, slots=True)
class Row:
    table: Annotated[str, MaxLen(80)]
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    block: Block
    certificate: tuple[Attestation, ...]
    rows: tuple[Row, ...]


_PROFILE = codec.Profile("snapshot", BYTES_MAX)


def encode(snapshot: Snapshot) -> bytes:
    body = zstandard.ZstdCompressor(level=3).compress(codec.encode(snapshot))
    data = MAGIC + struct.pack("<H", VERSION) + body
    return data + blake3(data)


def decode(data: bytes) -> Snapshot:
    """The snapshot in ``data``; `StoreError` for anything damaged. Its root and certificate are not yet checked."""
    if len(data) < 6 + DIGEST_BYTES or data[:6] != MAGIC + struct.pack("<H", VERSION):
        raise StoreError("snapshot.format")
    if blake3(data[:-DIGEST_BYTES]) != data[-DIGEST_BYTES:]:
        raise StoreError("snapshot.digest")
    try:
        body = zstandard.ZstdDecompressor().decompress(data[6:-DIGEST_BYTES], max_output_size=BYTES_MAX)
        return codec.decode(Snapshot, body, profile=_PROFILE)
    except (zstandard.ZstdError, InvalidRecord) as refused:
        raise StoreError("snapshot.format", cause=str(refused)) from refused


def restore(snapshot: Snapshot, registry: Registry) -> tuple[State, list[tuple[str, bytes, bytes, bytes]]]:
    """The state and its (table, key, path, value) rows; refuses rows whose root is not the header's."""
    rows = []
    for row in snapshot.rows:
        table = registry.tables.get(row.table)
        if table is None:
            raise StoreError("snapshot.table", table=row.table)
        rows.append((row.table, row.key, table.path(table.decode_key(row.key), row.key), row.value))
    state = State()
    state.load(iter(rows))
    if state.root != snapshot.block.header.state_root:
        raise StoreError("snapshot.root", root=state.root.hex(), wanted=snapshot.block.header.state_root.hex())
    return state, rows


class SnapshotFiles:
    """The snapshots in one folder, by height."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def heights(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.full") if path.stem.isdigit())

    def read(self, height: int) -> bytes | None:
        try:
            return self._path(height).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, snapshot: Snapshot, registry: Registry) -> None:
        """Write, read back, verify; only then drop the oldest beyond `KEPT`."""
        height = snapshot.block.header.height
        self._folder.mkdir(parents=True, exist_ok=True)
        temp = self._path(height).with_suffix(".new")
        with temp.open("wb") as file:
            file.write(encode(snapshot))
            file.flush()
            os.fsync(file.fileno())
        restore(decode(temp.read_bytes()), registry)
        os.replace(temp, self._path(height))
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._drop(self.heights()[:-KEPT])

    def _drop(self, heights: Iterable[int]) -> None:
        for height in heights:
            self._path(height).unlink()

    def _path(self, height: int) -> Path:
        return self._folder / f"{height:010d}.full"
