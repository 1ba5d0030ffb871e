"""RocksDB through rocksdict: the default engine of a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, ColumnFamily, Options, Rdict, ReadOptions, WriteBatch, WriteOptions

from theblock_node.store.engine import Batch, StoreError

WRITE_BYTES = 4 * 2**20
"""Of rows that are not yet in a file, all families together."""
READ_BYTES = 8 * 2**20
"""Of blocks of files, all families together."""


class RocksEngine:
    """Owns the folder until `close`; a second opener gets ``store.locked``."""

    def __init__(self, db: Rdict, families: dict[str, Rdict], handles: dict[str, ColumnFamily]) -> None:
        self._db = db
        self._families = families
        self._handles = handles
        self._durable = WriteOptions()
        self._durable.sync = True

    def get(self, family: str, key: bytes) -> bytes | None:
        try:
            return self._families[family].get(key)
        except Exception as failed:
            raise _store_error(failed) from failed

    def write(self, batch: Batch) -> None:
        native = WriteBatch(raw_mode=True)
        for family, key, value in batch.rows:
            if family not in self._handles:
                raise StoreError("store.family", family=family)
            if value is None:
                native.delete(key, self._handles[family])
            else:
                native.put(key, value, self._handles[family])
        try:
            self._db.write(native, self._durable)
        except Exception as failed:
            raise _store_error(failed) from failed

    def iterate(self, family: str, *, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        options = ReadOptions()
        if stop is not None:
            options.set_iterate_upper_bound(stop)
        rows = self._families[family].iter(options)
        rows.seek(start)
        while rows.valid():
            yield rows.key(), rows.value()
            rows.next()

    def close(self) -> None:
        self._handles.clear()
        for family in self._families.values():
            family.close()
        self._families.clear()
        self._db.close()


def open_rocks(path: Path, families: Iterable[str]) -> RocksEngine:
    """Open or make the store in ``path`` with at least ``families``."""
    path.mkdir(parents=True, exist_ok=True)
    wanted = sorted(set(families))
    try:
        known = [name for name in Rdict.list_cf(str(path)) if name != "default"] if (path / "CURRENT").exists() else []
        cache = Cache(READ_BYTES)
        options = {name: _options(cache) for name in sorted({*known, *wanted})}
        db = Rdict(str(path), _options(cache), column_families={name: options[name] for name in known} or None)
        for name in wanted:
            if name not in known:
                db.create_column_family(name, options[name])
        opened = {name: db.get_column_family(name) for name in options}
        handles = {name: db.get_column_family_handle(name) for name in options}
    except Exception as failed:
        raise _store_error(failed) from failed
    return RocksEngine(db, opened, handles)


def _options(cache: Cache) -> Options:
    """Small: a validator of the starter network has a gigabyte for everything, and its memory is flat at rest."""
    tables = BlockBasedOptions()
    tables.set_block_cache(cache)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_block_based_table_factory(tables)
    options.set_db_write_buffer_size(WRITE_BYTES)
    options.set_write_buffer_size(WRITE_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_total_wal_size(32 * 2**20)
    options.set_keep_log_file_num(2)
    options.set_max_background_jobs(2)
    return options


def _store_error(failed: Exception) -> StoreError:
    text = str(failed)
    if "lock" in text.lower():
        return StoreError("store.locked", reason=text)
    return StoreError("store.corrupt" if "orruption" in text else "store.io", reason=text)
