"""From what the chain says to the rows that the explorer keeps. Pure: the service stores what this returns.

Every event is kept as it is; the views of readings and receipts are selections by name, so a new event shows
without a change here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

ADDRESS = re.compile(r"^[0-9a-f]{4}:([0-9a-f]{64}|[a-z][a-z0-9_-]{1,31})$")
MENTIONS_MAX = 64
"""Addresses remembered of one transaction."""
FINALIZED = "validators.finalized"
BLOCK_COLUMNS = "height, id, timestamp_ms, tx_count, event_count, tx_total"


@dataclass(frozen=True, slots=True)
class TxRow:
    id: str
    position: int
    call: str
    sender: str
    error_code: str
    """Empty where it succeeded."""
    events: tuple[tuple[str, str], ...]
    """(name, canonical JSON) in order."""


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    height: int
    id: str
    timestamp_ms: int
    txs: tuple[TxRow, ...]
    block_events: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One change of the database, run for each row of values."""

    sql: str
    rows: Sequence[Sequence[Any]]


def project_block(block: CommittedBlock) -> list[Statement]:
    """The rows of one block."""
    events = list(_events(block))
    mentions = [(address, block.height, tx.position) for tx in block.txs for address in _mentions(tx)]
    count = len(block.txs)
    return [
        Statement(
            f"INSERT INTO block ({BLOCK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ? + COALESCE("
            "(SELECT tx_total FROM block WHERE height < ? ORDER BY height DESC LIMIT 1), 0))",
            [(block.height, block.id, block.timestamp_ms, count, len(events), count, block.height)],
        ),
        Statement(
            "INSERT INTO tx (height, position, id, call, sender, error_code) VALUES (?, ?, ?, ?, ?, ?)",
            [(block.height, tx.position, tx.id, tx.call, tx.sender, tx.error_code) for tx in block.txs],
        ),
        Statement("INSERT INTO event (height, position, tx_id, name, json) VALUES (?, ?, ?, ?, ?)", events),
        Statement("INSERT INTO mention (address, height, position) VALUES (?, ?, ?)", mentions),
    ]


def undo_above(height: int) -> list[Statement]:
    """Forget what was projected above ``height``."""
    return [
        Statement(f"DELETE FROM {table} WHERE height > ?", [(height,)]) for table in ("block", "tx", "event", "mention")
    ]


def find_final(block: CommittedBlock) -> int:
    """The height that the block says has become final, 0 if it says nothing of it."""
    told = [json.loads(text)["height"] for name, text in block.block_events if name == FINALIZED]
    return max((int(height) for height in told), default=0)


def chart_points(blocks: Iterable[tuple[int, int, int]]) -> list[dict[str, int]]:
    """Block time and transactions of consecutive (height, timestamp_ms, tx_count) rows, oldest first."""
    rows = sorted(blocks)
    return [
        {"height": height, "block_ms": time - time_before, "tx_count": count}
        for (before, time_before, _), (height, time, count) in pairwise(rows)
        if height == before + 1
    ]


def _events(block: CommittedBlock) -> Iterator[tuple[int, int, str, str, str]]:
    position = 0
    named = [*((tx.id, tx.events) for tx in block.txs), ("", block.block_events)]
    for tx_id, events in named:
        for name, text in events:
            yield block.height, position, tx_id, name, text
            position += 1


def _mentions(tx: TxRow) -> list[str]:
    found = {tx.sender}
    for _, text in tx.events:
        found.update(value for value in _strings(json.loads(text)) if ADDRESS.match(value))
    return [tx.sender, *sorted(found - {tx.sender})][:MENTIONS_MAX]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
