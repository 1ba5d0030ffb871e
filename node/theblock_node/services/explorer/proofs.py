"""How slices of compute jobs ended, and their proofs: copied from the chain's final history, each proof judged here.

The chain's history is read from its youngest entry down to what was copied before; a page and the place at which it
goes on are stored together, so a walk that was cut goes on, and one that is repeated changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from theblock_node.core import codec
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import bundle as bundles
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.services.explorer.database import KEEP, UNREACHABLE, Database, Row
from theblock_node.services.explorer.project import Statement
from theblock_node.services.explorer.service import Follower

PAGE = 64
PAGE_MAX = 256
CIRCUITS_MAX = 1024
CURSOR = "sla"
"""Under which name of ``meta`` the place is kept."""
NEWS_SECONDS = 30.0
BUNDLES = tuple[ProofBundle, ...]
HISTORY = (
    "sequence", "job_id", "slice", "provider", "buyer", "outcome", "outcome_reason", "burned", "refunded", "payout",
    "deadline", "resolved_at",
)  # fmt: skip
PROOFS = ("sequence", "job_id", "circuit_hash", "backend", "fingerprint", "latency_ms", "verdict", "bundles")

log = structlog.get_logger("explorer")


class Chain(Protocol):
    """The chain's queries at its final height. `ConnectionError` while it does not answer."""

    async def query(self, name: str, request: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the history is copied, by its sequence numbers."""

    mark: int = 0
    """Everything up to it is copied."""
    top: int = 0
    """The youngest entry of the walk that is under way; 0 between walks."""
    before: int = 0
    """Where that walk goes on."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What one run copied."""

    entries: int = 0
    proofs: int = 0
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """A circuit's verifying key, as the chain has it."""

    key_hash: bytes
    verifying_key: bytes


class Keys:
    """The verifying keys of circuits, each asked for once."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._known: dict[str, Key] = {}

    async def find(self, circuit_hash: str) -> Key | None:
        if circuit_hash not in self._known:
            reply = await self._chain.query("compute.circuit", {"circuit_hash": circuit_hash})
            if reply["circuit"] is None:
                return None
            if len(self._known) >= CIRCUITS_MAX:
                self._known.clear()
            key_hash, key = bytes.fromhex(reply["circuit"]["key_hash"]), bytes.fromhex(reply["verifying_key"])
            self._known[circuit_hash] = Key(key_hash, key)
        return self._known[circuit_hash]


class Keeper:
    """Copies what is new in the history whenever blocks become final, for the replica that writes."""

    def __init__(self, chain: Chain, database: Database, follower: Follower) -> None:
        self._chain = chain
        self._database = database
        self._follower = follower
        self._keys = Keys(chain)

    async def run(self) -> None:
        """Follow until cancelled; what fails is tried again with the next block."""
        told, final = 0, -1
        while True:
            news = await self._follower.wait_news(told, NEWS_SECONDS)
            told = news[-1][0] if news else told
            now = self._follower.position.final
            if now == final or not self._follower.is_writer:
                continue
            try:
                is_behind = await has_more(self._chain, self._database)
                copied = await copy_history(self._chain, self._database, self._keys, PAGE) if is_behind else Copied()
                final = now
            except (ConnectionError, InvalidRecord, *UNREACHABLE) as failed:
                log.warning("proofs are not copied", reason=type(failed).__name__, detail=str(failed)[:200])
                continue
            if copied.entries:
                self._follower.tell_proofs(copied.entries)


async def has_more(chain: Chain, database: Database) -> bool:
    """Whether the chain's history has what the database has not; asks for one entry, where a page may be large."""
    cursor = await read_cursor(database)
    youngest = await chain.query("compute.sla_history", {"limit": 1, "before": "0"})
    return cursor.before > 0 or any(int(entry["sequence"]) > cursor.mark for entry in youngest["entries"])


async def copy_history(chain: Chain, database: Database, keys: Keys, limit: int) -> Copied:
    """Copy what the chain's history has and the database has not, a page of ``limit`` in each transaction."""
    cursor = await read_cursor(database)
    entries = proofs = 0
    while True:
        reply = await chain.query("compute.sla_history", {"limit": limit, "before": str(cursor.before)})
        fresh = [entry for entry in reply["entries"] if int(entry["sequence"]) > cursor.mark]
        found = [(entry, codec.from_json(ProofBundle, entry["bundle"])) for entry in fresh if entry["bundle"]]
        verdicts = [await _judge(keys, bundle) for _, bundle in found]
        rows = [_proof_row(entry, bundle, verdict) for (entry, bundle), verdict in zip(found, verdicts, strict=True)]
        cursor = advance(cursor, [int(entry["sequence"]) for entry in reply["entries"]], int(reply["before"]))
        kept = Statement(KEEP, [(CURSOR, json.dumps([cursor.mark, cursor.top, cursor.before]))])
        history = [_history_row(entry) for entry in fresh]
        await database.write([_upsert("compute_sla_history", HISTORY, history),
                              _upsert("compute_sla_proofs", PROOFS, rows), kept], None)  # fmt: skip
        entries, proofs = entries + len(fresh), proofs + len(rows)
        if not cursor.before:
            return Copied(entries, proofs, cursor.mark)


def advance(cursor: Cursor, sequences: Sequence[int], before: int) -> Cursor:
    """Where to go on after a page of ``sequences``, youngest first, below which the chain has more if ``before``."""
    top = cursor.top or max(sequences, default=0)
    if before == 0 or before <= cursor.mark + 1:
        return Cursor(mark=max(cursor.mark, top))
    return Cursor(cursor.mark, top, before)


async def read_cursor(database: Database) -> Cursor:
    rows = await database.read("SELECT value FROM meta WHERE name = ?", (CURSOR,))
    return Cursor(*json.loads(rows[0][0])) if rows else Cursor()


def judge(bundle: ProofBundle, key: Key | None) -> str:
    """Empty where the proof shows what it claims under the circuit's key; else why not."""
    if key is None:
        return "compute.circuit_unknown"
    if bundle.vk_hash != key.key_hash:
        return "snark.key_not_registered"
    try:
        bundles.verify(bundle, key.verifying_key)
    except InvalidRecord as refusal:
        return refusal.code
    return ""


async def read_proofs(database: Database, *, before: int, limit: int, job_id: str = "") -> dict[str, Any]:
    """Proofs below a sequence number, youngest first; of one job where it is given."""
    columns = ("sequence", "job_id", "index", "provider_id", "height", "circuit_hash", "backend", "fingerprint",
               "latency_ms", "verdict")  # fmt: skip
    rows = await database.read(
        "SELECT p.sequence, p.job_id, h.slice, h.provider, h.resolved_at, p.circuit_hash, p.backend, p.fingerprint, "
        "p.latency_ms, p.verdict FROM compute_sla_proofs p JOIN compute_sla_history h ON h.sequence = p.sequence "
        f"WHERE p.sequence < ? {'AND p.job_id = ?' if job_id else ''} ORDER BY p.sequence DESC LIMIT ?",
        (before, *([job_id] if job_id else []), limit),
    )
    items = [dict(zip(columns, row, strict=True)) for row in rows]
    return {"items": items, "next": str(items[-1]["sequence"]) if len(items) == limit else None}


async def read_history(database: Database, *, before: int, limit: int) -> dict[str, Any]:
    """How slices ended, youngest first, each with its proofs in full."""
    shown = ", ".join(f"h.{name}" for name in HISTORY)
    rows = await database.read(
        f"SELECT {shown}, p.verdict, p.bundles FROM compute_sla_history h "
        "LEFT JOIN compute_sla_proofs p ON p.sequence = h.sequence "
        "WHERE h.sequence < ? ORDER BY h.sequence DESC LIMIT ?",
        (before, limit),
    )
    items = [_history_item(row) for row in rows]
    return {"items": items, "next": str(items[-1]["sequence"]) if len(items) == limit else None}


async def _judge(keys: Keys, bundle: ProofBundle) -> str:
    key = await keys.find(bundle.circuit_hash.hex())
    return await asyncio.to_thread(judge, bundle, key)


def _history_row(entry: Mapping[str, Any]) -> Row:
    names = ("job_id", "index", "provider_id", "buyer", "outcome", "reason", "burned", "refunded", "payout")
    heights = (int(entry["deadline_height"]), int(entry["resolved_height"]))
    return (int(entry["sequence"]), *(entry[name] for name in names), *heights)


def _proof_row(entry: Mapping[str, Any], bundle: ProofBundle, verdict: str) -> Row:
    return (
        int(entry["sequence"]),
        entry["job_id"],
        bundle.circuit_hash.hex(),
        bundle.backend.name,
        bundles.fingerprint(bundle).hex(),
        bundle.latency_ms,
        verdict,
        codec.encode_as(BUNDLES, (bundle,)),
    )


def _history_item(row: Row) -> dict[str, Any]:
    *values, verdict, stored = row
    kept = codec.decode_as(BUNDLES, bytes(stored)) if stored is not None else ()
    return {
        **dict(zip(HISTORY, values, strict=True)),
        "proofs": [_describe(bundle, verdict) for bundle in kept],
    }


def _describe(bundle: ProofBundle, verdict: str) -> dict[str, Any]:
    told = codec.to_json(bundle)
    names = ("backend", "latency_ms", "circuit_hash", "vk_hash", "program_commitment", "output_commitment",
             "witness_commitment", "artifact", "proof")  # fmt: skip
    return {
        **{name: told[name] for name in names},
        "public_inputs": [str(value) for value in bundles.read_inputs(bundle)],
        "fingerprint": bundles.fingerprint(bundle).hex(),
        "statement_id": bundles.statement_id(bundle).hex(),
        "verified": not verdict,
        "verdict": verdict,
    }


def _upsert(table: str, columns: Sequence[str], rows: Sequence[Row]) -> Statement:
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    return Statement(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({columns[0]}) DO UPDATE SET {changes}",
        rows,
    )
