"""Assigned slices on disk, until the chain has settled them: what survives whatever happens to the process.

A write is on disk when the call returns. What was computed lies here before it is signed, and what was signed
before it is sent: after a crash the same transaction is sent again, never a second one. Slices that ended are kept
for a while, so that a block which is told twice does not bring them back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from theblock_node.services.compute.slices import LIVE, Entry, Key, State

RETENTION_MS = 7 * 86_400_000
ENDED_MAX = 10_000
"""Slices that ended and are still kept."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS slice (
  job_id BLOB NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, wrong INTEGER NOT NULL,
  not_before_ms INTEGER NOT NULL, taken_ms INTEGER NOT NULL, bundle BLOB NOT NULL, backend TEXT NOT NULL,
  envelope BLOB NOT NULL, tx_id TEXT NOT NULL, error TEXT NOT NULL, changed_ms INTEGER NOT NULL,
  PRIMARY KEY (job_id, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS slice_state ON slice (state, taken_ms);
"""
_COLUMNS = "job_id, place, state, attempts, wrong, not_before_ms, taken_ms, bundle, backend, envelope, tx_id, error"
_LIVE = ", ".join(f"'{state.value}'" for state in LIVE)


class Courier:
    def __init__(self, database: sqlite3.Connection, entries_max: int) -> None:
        self._database = database
        self._entries_max = entries_max

    # What is there.

    def live(self) -> list[Entry]:
        """What is still to be delivered, oldest first."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM slice WHERE state IN ({_LIVE}) ORDER BY taken_ms, job_id, place"
        )
        return [_entry(row) for row in rows]

    def get(self, key: Key) -> Entry | None:
        row = self._database.execute(f"SELECT {_COLUMNS} FROM slice WHERE job_id = ? AND place = ?", key).fetchone()
        return None if row is None else _entry(row)

    def of_txs(self, tx_ids: Iterable[str]) -> list[Entry]:
        """Those whose transaction is among ``tx_ids``."""
        wanted = set(tx_ids)
        return [entry for entry in self.live() if entry.tx_id and entry.tx_id in wanted]

    def counts(self) -> dict[State, int]:
        rows = dict(self._database.execute("SELECT state, count(*) FROM slice GROUP BY state").fetchall())
        return {state: int(rows.get(state.value, 0)) for state in State}

    # What happens to it.

    def take(self, key: Key, now_ms: int) -> bool:
        """Keep an assigned slice; True unless there is no room. One that is known stays as it is."""
        with self._database:
            count = self._database.execute(f"SELECT count(*) FROM slice WHERE state IN ({_LIVE})").fetchone()[0]
            if count >= self._entries_max:
                return self.get(key) is not None
            self._database.execute(
                "INSERT OR IGNORE INTO slice VALUES (?, ?, ?, 0, 0, 0, ?, x'', '', x'', '', '', ?)",
                (*key, State.ASSIGNED.value, now_ms, now_ms),
            )
        return True

    def save_result(self, key: Key, bundle: bytes, backend: str, now_ms: int) -> None:
        """Keep the command that delivers a slice."""
        assert bundle
        self._update(
            key,
            (State.ASSIGNED,),
            State.COMPUTED,
            "attempts = 0, not_before_ms = 0, bundle = ?, backend = ?, error = ''",
            (bundle, backend),
            now_ms,
        )

    def save_envelope(self, key: Key, envelope: bytes, tx_id: str, *, ask_ms: int, now_ms: int) -> None:
        """Keep a signed transaction, before it is sent; from ``ask_ms`` on the chain is asked what became of it."""
        self._update(
            key,
            (State.COMPUTED,),
            State.SUBMITTED,
            "not_before_ms = ?, envelope = ?, tx_id = ?",
            (ask_ms, envelope, tx_id),
            now_ms,
        )

    def ask_later(self, key: Key, ask_ms: int, now_ms: int) -> None:
        """The transaction is on its way; ask for it again then."""
        self._update(key, (State.SUBMITTED,), State.SUBMITTED, "not_before_ms = ?", (ask_ms,), now_ms)

    def back_off(self, key: Key, error: str, again_ms: int, now_ms: int) -> None:
        """An attempt failed; the slice stays where it is."""
        with self._database:
            self._database.execute(
                "UPDATE slice SET attempts = attempts + 1, not_before_ms = ?, error = ?, changed_ms = ? "
                f"WHERE job_id = ? AND place = ? AND state IN ({_LIVE})",
                (again_ms, error, now_ms, *key),
            )

    def sign_again(self, key: Key, error: str, again_ms: int, now_ms: int) -> None:
        """The transaction can never count: the result waits for another one."""
        self._update(
            key,
            (State.SUBMITTED,),
            State.COMPUTED,
            "attempts = attempts + 1, not_before_ms = ?, envelope = x'', tx_id = '', error = ?",
            (again_ms, error),
            now_ms,
        )

    def compute_again(self, key: Key, error: str, now_ms: int) -> None:
        """The result is wrong."""
        self._update(
            key,
            (State.COMPUTED, State.SUBMITTED),
            State.ASSIGNED,
            "attempts = 0, wrong = wrong + 1, not_before_ms = 0, bundle = x'', envelope = x'', tx_id = '', error = ?",
            (error,),
            now_ms,
        )

    def end(self, key: Key, state: State, error: str, now_ms: int) -> None:
        """Delivered, dead or cancelled: it never comes back."""
        assert state not in LIVE
        self._update(key, LIVE, state, "bundle = x'', envelope = x'', error = ?", (error,), now_ms)

    def prune(self, now_ms: int) -> None:
        """Forget what ended long ago."""
        with self._database:
            self._database.execute(
                f"DELETE FROM slice WHERE state NOT IN ({_LIVE}) AND changed_ms < ?", (now_ms - RETENTION_MS,)
            )
            self._database.execute(
                f"DELETE FROM slice WHERE (job_id, place) IN (SELECT job_id, place FROM slice WHERE state NOT IN "
                f"({_LIVE}) ORDER BY changed_ms DESC LIMIT -1 OFFSET ?)",
                (ENDED_MAX,),
            )

    def close(self) -> None:
        self._database.close()

    def _update(
        self, key: Key, before: tuple[State, ...], after: State, changes: str, values: tuple[object, ...], now_ms: int
    ) -> None:
        """Change a slice that is in one of the states ``before``; any other is left as it is."""
        states = ", ".join(f"'{state.value}'" for state in before)
        with self._database:
            self._database.execute(
                f"UPDATE slice SET state = ?, changed_ms = ?, {changes} "
                f"WHERE job_id = ? AND place = ? AND state IN ({states})",
                (after.value, now_ms, *values, *key),
            )


def open_courier(path: Path, *, entries_max: int) -> Courier:
    """The courier in a file, made where there is none. What was under way before is due at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    with database:
        database.execute(f"UPDATE slice SET not_before_ms = 0 WHERE state IN ({_LIVE})")
    return Courier(database, entries_max)


def _entry(row: tuple[object, ...]) -> Entry:
    job_id, index, state, *rest = row
    return Entry(job_id, index, State(state), *rest)  # type: ignore[arg-type]
