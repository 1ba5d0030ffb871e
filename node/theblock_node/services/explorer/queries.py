"""What the pages read of the database. Every list is bounded and goes on where the last one ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from theblock_node.services.explorer.database import Database, Row
from theblock_node.services.explorer.project import BLOCK_COLUMNS, chart_points
from theblock_node.services.explorer.service import describe_row

TXS_OF_BLOCK_MAX = 1000
EVENTS_OF_BLOCK_MAX = 1000
HEIGHT_MAX = 2**62
TX_COLUMNS = ("height", "position", "id", "call", "sender", "error_code")
TX = "SELECT t.height, t.position, t.id, t.call, t.sender, t.error_code FROM tx t"
EVENT_COLUMNS = ("height", "position", "tx_id", "name")
EVENT = "SELECT height, position, tx_id, name, json FROM event"
NEWEST = "ORDER BY height DESC, position DESC"


@dataclass(frozen=True, slots=True)
class Page:
    """Rows before a place (height, position), newest first."""

    before: tuple[int, int]
    limit: int


Items = dict[str, Any]


async def read_blocks(database: Database, page: Page) -> Items:
    rows = await database.read(
        f"SELECT {BLOCK_COLUMNS} FROM block WHERE height < ? ORDER BY height DESC LIMIT ?",
        (page.before[0], page.limit),
    )
    more = len(rows) == page.limit and rows[-1][0] > 1
    return {"items": [describe_row(row) for row in rows], "next": str(rows[-1][0]) if more else None}


async def find_block(database: Database, name: str) -> Items | None:
    """A block with all it holds, by its height or its id."""
    by, value = ("height", int(name)) if name.isdigit() and len(name) < 19 else ("id", name)
    rows = await database.read(f"SELECT {BLOCK_COLUMNS} FROM block WHERE {by} = ?", (value,))
    if not rows:
        return None
    height = rows[0][0]
    txs = await database.read(f"{TX} WHERE height = ? ORDER BY position LIMIT {TXS_OF_BLOCK_MAX}", (height,))
    events = await database.read(f"{EVENT} WHERE height = ? ORDER BY position LIMIT {EVENTS_OF_BLOCK_MAX}", (height,))
    return {
        "block": describe_row(rows[0]),
        "transactions": [_tx(row) for row in txs],
        "events": [_event(row) for row in events],
    }


async def read_transactions(database: Database, page: Page) -> Items:
    rows = await database.read(
        f"{TX} WHERE (t.height, t.position) < (?, ?) {NEWEST} LIMIT ?", (*page.before, page.limit)
    )
    return _listed([_tx(row) for row in rows], page)


async def find_transaction(database: Database, tx_id: str) -> Items | None:
    rows = await database.read(f"{TX} WHERE id = ?", (tx_id,))
    if not rows:
        return None
    events = await database.read(
        f"{EVENT} WHERE height = ? AND tx_id = ? ORDER BY position LIMIT {EVENTS_OF_BLOCK_MAX}", (rows[0][0], tx_id)
    )
    return {"transaction": _tx(rows[0]), "events": [_event(row) for row in events]}


async def read_mentions(database: Database, address: str, page: Page) -> Items:
    """Transactions in which an address has a part."""
    rows = await database.read(
        f"{TX} JOIN mention m ON m.height = t.height AND m.position = t.position "
        "WHERE m.address = ? AND (m.height, m.position) < (?, ?) ORDER BY m.height DESC, m.position DESC LIMIT ?",
        (address, *page.before, page.limit),
    )
    return _listed([_tx(row) for row in rows], page)


async def read_events(database: Database, names: Sequence[str], page: Page) -> Items:
    """Events of these names, or all; each name is read by its index, so rare ones cost no more than common ones."""
    where = "WHERE (height, position) < (?, ?)"
    if not names:
        rows = await database.read(f"{EVENT} {where} {NEWEST} LIMIT ?", (*page.before, page.limit))
    else:
        parts = [f"SELECT * FROM ({EVENT} {where} AND name = ? {NEWEST} LIMIT ?) AS p{at}" for at in range(len(names))]
        values = [value for name in names for value in (*page.before, name, page.limit)]
        rows = await database.read(f"{' UNION ALL '.join(parts)} {NEWEST} LIMIT ?", (*values, page.limit))
    return _listed([_event(row) for row in rows], page)


async def read_chart(database: Database, limit: int) -> Items:
    rows = await database.read(
        "SELECT height, timestamp_ms, tx_count FROM block ORDER BY height DESC LIMIT ?", (limit + 1,)
    )
    return {"items": chart_points((row[0], row[1], row[2]) for row in rows)}


async def read_totals(database: Database) -> Items:
    rows = await database.read("SELECT height, tx_total, timestamp_ms FROM block ORDER BY height DESC LIMIT 1")
    height, total, time = rows[0] if rows else (0, 0, 0)
    return {"height": height, "tx_total": total, "timestamp_ms": time}


async def find_height(database: Database, block_id: str) -> int | None:
    rows = await database.read("SELECT height FROM block WHERE id = ?", (block_id,))
    return rows[0][0] if rows else None


def _listed(items: list[Items], page: Page) -> Items:
    last = items[-1] if len(items) == page.limit else None
    return {"items": items, "next": f"{last['height']}.{last['position']}" if last else None}


def _tx(row: Row) -> Items:
    made = dict(zip(TX_COLUMNS, row, strict=True))
    return {**made, "success": not made["error_code"]}


def _event(row: Row) -> Items:
    return {**dict(zip(EVENT_COLUMNS, row[:4], strict=True)), "record": json.loads(row[4])}
