"""Shards on disk: each a file under its id, and an index of what belongs to which object.

A shard is on disk, name and all, before the index knows it, and the index forgets it before the file goes; so
whatever a kill leaves behind is a file without a row, which opening removes. Everything here blocks: the service
calls it from a thread. Methods may be called from several threads at once.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import PPM
from theblock_node.core.proofs import retrieval
from theblock_node.store.engine import StoreError

TEMPORARY = ".new"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS shard (
  upload_id BLOB NOT NULL, chunk INTEGER NOT NULL, slot INTEGER NOT NULL, shard_id BLOB NOT NULL,
  size INTEGER NOT NULL, added_ms INTEGER NOT NULL, PRIMARY KEY (upload_id, chunk, slot)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shard_by_id ON shard (shard_id);
CREATE TABLE IF NOT EXISTS manifest (
  core_id BLOB PRIMARY KEY, upload_id BLOB NOT NULL, manifest_id BLOB NOT NULL, bytes BLOB NOT NULL,
  contract_id BLOB, ended_height INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS name (manifest_id BLOB PRIMARY KEY, core_id BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A manifest that the provider has signed for, or made."""

    core_id: bytes
    upload_id: bytes
    manifest_id: bytes
    """Of its latest form."""
    data: bytes
    contract_id: bytes | None
    """None until the chain has been seen to have it."""
    ended_height: int | None
    """The height at which the chain was first seen to want nothing of it any more."""


class ShardFiles:
    def __init__(self, folder: Path, database: sqlite3.Connection, capacity_bytes: int) -> None:
        self._folder = folder
        self._database = database
        self._capacity = capacity_bytes
        self._lock = threading.RLock()
        self._used = 0
        self._count = 0
        self._reserved = 0

    @property
    def used_bytes(self) -> int:
        return self._used

    @property
    def capacity_bytes(self) -> int:
        return self._capacity

    @property
    def count(self) -> int:
        return self._count

    def free_ppm(self) -> int:
        """How much of the volume is free, whoever uses the rest."""
        found = os.statvfs(self._folder)
        return found.f_bavail * PPM // max(1, found.f_blocks)

    # Shards.

    def add(self, upload_id: bytes, chunk: int, slot: int, shard_id: bytes, data: bytes, *, now_ms: int) -> None:
        """Keep a shard; it is on disk when this returns. Adding it again changes nothing."""
        if retrieval.shard_id(slot, data) != shard_id:
            raise InvalidRecord("storage.shard_mismatch", chunk=chunk, slot=slot)
        with self._lock:
            known = self._row(upload_id, chunk, slot)
            if known == shard_id and self._path(shard_id).exists():
                return
            if known is not None and known != shard_id:
                raise InvalidRecord("storage.shard_exists", chunk=chunk, slot=slot)
            if self._used + self._reserved + len(data) > self._capacity:
                raise InvalidRecord("storage.capacity_exhausted", used=self._used, capacity=self._capacity)
            self._reserved += len(data)
        try:
            with disk_may_fail():
                self._write(shard_id, data)
            with self._lock, self._transaction():
                is_new = not self._is_referred(shard_id)
                self._database.execute(
                    "INSERT OR REPLACE INTO shard VALUES (?, ?, ?, ?, ?, ?)",
                    (upload_id, chunk, slot, shard_id, len(data), now_ms),
                )
                if is_new:
                    self._used += len(data)
                    self._count += 1
        finally:
            with self._lock:
                self._reserved -= len(data)

    def read(self, shard_id: bytes) -> bytes:
        """A shard, checked against its id; one that the disk has spoiled is forgotten and refused as unknown."""
        with self._lock:
            row = self._database.execute("SELECT slot FROM shard WHERE shard_id = ? LIMIT 1", (shard_id,)).fetchone()
        if row is None:
            raise InvalidRecord("storage.unknown_shard", shard_id=shard_id.hex())
        try:
            data = self._path(shard_id).read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as failed:
            raise StoreError("store.io", reason=failed.strerror) from failed
        if not data or retrieval.shard_id(row[0], data) != shard_id:
            self._forget(shard_id)
            raise InvalidRecord("storage.unknown_shard", shard_id=shard_id.hex(), reason="spoiled")
        return data

    def missing(
        self, upload_id: bytes, shards: Iterable[tuple[int, int, bytes, int]]
    ) -> list[tuple[int, int, bytes, int]]:
        """Those of ``shards`` (chunk, slot, id, size) that are not kept for the upload."""
        with self._lock:
            rows = self._database.execute("SELECT chunk, slot, shard_id FROM shard WHERE upload_id = ?", (upload_id,))
            kept = set(rows.fetchall())
        return [shard for shard in shards if shard[:3] not in kept]

    def drop(self, upload_id: bytes, shard_id: bytes) -> None:
        """Forget one shard of an upload."""
        self._delete("upload_id = ? AND shard_id = ?", (upload_id, shard_id))

    def drop_upload(self, upload_id: bytes, *, kept_slots: Sequence[int] = ()) -> None:
        """Forget every shard of an upload but those of ``kept_slots``."""
        marks = ",".join("?" * len(kept_slots))
        self._delete(f"upload_id = ? AND slot NOT IN ({marks})", (upload_id, *kept_slots))

    def stale_uploads(self, *, before_ms: int) -> list[bytes]:
        """Uploads to which nothing was added since ``before_ms``."""
        with self._lock:
            rows = self._database.execute(
                "SELECT upload_id FROM shard GROUP BY upload_id HAVING max(added_ms) < ?", (before_ms,)
            )
            return [row[0] for row in rows]

    def slots_of(self, upload_id: bytes) -> set[int]:
        with self._lock:
            rows = self._database.execute("SELECT DISTINCT slot FROM shard WHERE upload_id = ?", (upload_id,))
            return {row[0] for row in rows}

    # Manifests.

    def keep_manifest(self, kept: Kept) -> None:
        """Keep a manifest, or a newer form of it; the names of its older forms still find it."""
        with self._lock, self._transaction():
            known = self.manifest(kept.core_id)
            contract_id = kept.contract_id or (known.contract_id if known else None)
            self._database.execute(
                "INSERT OR REPLACE INTO manifest VALUES (?, ?, ?, ?, ?, ?)",
                (kept.core_id, kept.upload_id, kept.manifest_id, kept.data, contract_id, kept.ended_height),
            )
            self._database.execute("INSERT OR REPLACE INTO name VALUES (?, ?)", (kept.manifest_id, kept.core_id))

    def manifest(self, core_id: bytes) -> Kept | None:
        with self._lock:
            row = self._database.execute("SELECT * FROM manifest WHERE core_id = ?", (core_id,)).fetchone()
        return None if row is None else Kept(*row)

    def named(self, manifest_id: bytes) -> Kept | None:
        """The manifest that has, or once had, this name."""
        with self._lock:
            row = self._database.execute("SELECT core_id FROM name WHERE manifest_id = ?", (manifest_id,)).fetchone()
        return None if row is None else self.manifest(row[0])

    def manifests(self) -> list[Kept]:
        with self._lock:
            return [Kept(*row) for row in self._database.execute("SELECT * FROM manifest ORDER BY core_id")]

    def sealed(self, upload_id: bytes) -> list[Kept]:
        """Manifests over the shards of an upload."""
        with self._lock:
            rows = self._database.execute("SELECT * FROM manifest WHERE upload_id = ?", (upload_id,))
            return [Kept(*row) for row in rows]

    def drop_manifest(self, core_id: bytes) -> None:
        with self._lock, self._transaction():
            self._database.execute("DELETE FROM manifest WHERE core_id = ?", (core_id,))
            self._database.execute("DELETE FROM name WHERE core_id = ?", (core_id,))

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # Opening.

    def recover(self) -> None:
        """Bring index and files together after whatever happened to the last process."""
        on_disk = self._scan()
        with self._lock, self._transaction():
            rows = dict(self._database.execute("SELECT shard_id, size FROM shard GROUP BY shard_id").fetchall())
            lost = [shard_id for shard_id, size in rows.items() if on_disk.get(shard_id) != size]
            self._database.executemany("DELETE FROM shard WHERE shard_id = ?", [(shard_id,) for shard_id in lost])
        for shard_id in lost:
            del rows[shard_id]
        for shard_id in on_disk.keys() - rows.keys():
            self._path(shard_id).unlink()
        self._used, self._count = sum(rows.values()), len(rows)

    def _scan(self) -> dict[bytes, int]:
        """Sizes of the files; half-written ones are removed."""
        found: dict[bytes, int] = {}
        for path in sorted(self._folder.glob("??/*")):
            if path.name.endswith(TEMPORARY) or len(path.name) != 64:
                path.unlink()
            else:
                found[bytes.fromhex(path.name)] = path.stat().st_size
        return found

    # Below.

    def _row(self, upload_id: bytes, chunk: int, slot: int) -> bytes | None:
        row = self._database.execute(
            "SELECT shard_id FROM shard WHERE upload_id = ? AND chunk = ? AND slot = ?", (upload_id, chunk, slot)
        ).fetchone()
        return None if row is None else row[0]

    def _is_referred(self, shard_id: bytes) -> bool:
        found = self._database.execute("SELECT 1 FROM shard WHERE shard_id = ? LIMIT 1", (shard_id,)).fetchone()
        return found is not None

    def _delete(self, condition: str, values: tuple[object, ...]) -> None:
        """Forget the rows that match, then the files that nothing refers to any more."""
        with self._lock:
            with self._transaction():
                gone = dict(
                    self._database.execute(f"SELECT shard_id, size FROM shard WHERE {condition}", values).fetchall()
                )
                self._database.execute(f"DELETE FROM shard WHERE {condition}", values)
            for shard_id, size in gone.items():
                if not self._is_referred(shard_id):
                    self._used -= size
                    self._count -= 1
                    with disk_may_fail():
                        self._path(shard_id).unlink(missing_ok=True)

    def _forget(self, shard_id: bytes) -> None:
        self._delete("shard_id = ?", (shard_id,))

    def _write(self, shard_id: bytes, data: bytes) -> None:
        path = self._path(shard_id)
        is_new_folder = not path.parent.exists()
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f"{path.name}.{threading.get_ident()}{TEMPORARY}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        if is_new_folder:
            _sync_folder(self._folder)

    def _path(self, shard_id: bytes) -> Path:
        name = shard_id.hex()
        return self._folder / name[:2] / name

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._database:
                yield
        except sqlite3.Error as failed:
            raise StoreError("store.io", reason=str(failed)) from failed


def open_files(folder: Path, *, capacity_bytes: int) -> ShardFiles:
    """The shards under a folder, made where there is none."""
    with disk_may_fail():
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(folder / "index.sqlite", check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(_SCHEMA)
        files = ShardFiles(folder / "shards", database, capacity_bytes)
        files.recover()
    return files


@contextmanager
def disk_may_fail() -> Iterator[None]:
    """What the disk refuses is the store's failure, not the caller's."""
    try:
        yield
    except OSError as failed:
        raise StoreError("store.io", reason=failed.strerror or str(failed)) from failed


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
