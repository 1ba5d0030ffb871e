"""Readings on disk until the chain has them, and the last thing signed for each provider.

A write is on disk when the call returns. Full, the oldest readings go: a later one of the same register covers them.
The signed rows are the guard against signing two things under one nonce, whatever happens in between.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from theblock_node.services.energy.readings import Reading, Signed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reading (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, meter TEXT NOT NULL, total_wh INTEGER NOT NULL, timestamp INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS reading_meter ON reading (meter, sequence);
CREATE TABLE IF NOT EXISTS signed (
  provider_id TEXT PRIMARY KEY, meter_address TEXT NOT NULL, total_wh INTEGER NOT NULL, timestamp INTEGER NOT NULL,
  nonce INTEGER NOT NULL, signature BLOB NOT NULL, sequence INTEGER NOT NULL, tx_id TEXT NOT NULL,
  is_open INTEGER NOT NULL
);
"""


class Spool:
    def __init__(self, database: sqlite3.Connection, entries_max: int) -> None:
        self._database = database
        self._entries_max = entries_max

    def add(self, reading: Reading) -> int:
        """Keep a reading; returns its place."""
        with self._database:
            row = self._database.execute(
                "INSERT INTO reading (meter, total_wh, timestamp) VALUES (?, ?, ?)",
                (reading.meter, reading.total_wh, reading.timestamp),
            )
            sequence = int(row.lastrowid or 0)
            self._database.execute(
                "DELETE FROM reading WHERE sequence <= (SELECT max(sequence) FROM reading) - ?", (self._entries_max,)
            )
        return sequence

    def newest(self, meter: str) -> tuple[int, Reading] | None:
        """The youngest reading of a meter that still waits, and its place."""
        row = self._database.execute(
            "SELECT sequence, meter, total_wh, timestamp FROM reading WHERE meter = ? ORDER BY sequence DESC LIMIT 1",
            (meter,),
        ).fetchone()
        return None if row is None else (row[0], Reading(*row[1:]))

    def forget(self, meter: str, sequence: int) -> None:
        """Drop a meter's readings up to a place."""
        with self._database:
            self._database.execute("DELETE FROM reading WHERE meter = ? AND sequence <= ?", (meter, sequence))

    def signed(self, provider_id: str) -> Signed | None:
        """What was last signed for a provider."""
        row = self._database.execute("SELECT * FROM signed WHERE provider_id = ?", (provider_id,)).fetchone()
        return None if row is None else replace(Signed(*row), is_open=bool(row[-1]))

    def save_signed(self, signed: Signed) -> None:
        """Keep what was signed; a lower nonce, or another word under the same one, is a fault of ours."""
        last = self.signed(signed.provider_id)
        assert last is None or _may_follow(last, signed), "never two words under one nonce"
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO signed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    signed.provider_id,
                    signed.meter_address,
                    signed.total_wh,
                    signed.timestamp,
                    signed.nonce,
                    signed.signature,
                    signed.sequence,
                    signed.tx_id,
                    signed.is_open,
                ),
            )

    @property
    def depth(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM reading").fetchone()[0])

    def close(self) -> None:
        self._database.close()


def open_spool(path: Path, *, entries_max: int) -> Spool:
    """The spool in a file, made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    return Spool(database, entries_max)


def _may_follow(last: Signed, new: Signed) -> bool:
    said = (last.meter_address, last.total_wh, last.timestamp, last.nonce)
    return new.nonce > last.nonce or said == (new.meter_address, new.total_wh, new.timestamp, new.nonce)
