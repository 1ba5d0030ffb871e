"""Chains that use every domain, block by block: what a later version must still make of old blocks.

`python -m support.replay`, run in `tests/`, writes `vectors/replay/*.json` anew. That is for rules
of a chain that has not begun: where one runs, a rule changes at a height, and this file stays as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import story
from support.chain import Chain
from support.vectors import FOLDER
from theblock_node.core import codec
from theblock_node.core.block import Block, decode_block
from theblock_node.core.domain import Event
from theblock_node.core.transition import Applied

EVERY_DOMAIN = FOLDER / "replay" / "every_domain.json"
ATTESTED = FOLDER / "replay" / "attested.json"
STORIES = {EVERY_DOMAIN: story.tell, ATTESTED: story.tell_attested}
BLOCK_BYTES_MAX = 2**20


@dataclass(frozen=True)
class Step:
    """One block of the vectors and what became of it."""

    block: Block
    state_root: bytes
    receipts: tuple[tuple[str, str], ...]
    """Call and error code of each transaction."""
    block_events: tuple[tuple[str, bytes], ...]
    tx_events: tuple[tuple[tuple[str, bytes], ...], ...]


@dataclass(frozen=True)
class Story:
    genesis: bytes
    """The document."""
    genesis_root: bytes
    steps: tuple[Step, ...]


def render(chain: Chain) -> str:
    """The file: a block a line, so that a difference shows where it begins."""
    steps = [_step(block, applied) for block, applied in zip(chain.blocks[1:], chain.applied, strict=True)]
    rows = [
        {
            "block": codec.encode(step.block).hex(),
            "state_root": step.state_root.hex(),
            "receipts": step.receipts,
            "block_events": [[name, data.hex()] for name, data in step.block_events],
            "tx_events": [[[name, data.hex()] for name, data in events] for events in step.tx_events],
        }
        for step in steps
    ]
    head = {"genesis": json.dumps(chain.document), "genesis_root": chain.blocks[0].header.state_root.hex()}
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f'{json.dumps(head)[:-1]}, "blocks": [\n{lines}\n]}}\n'


def read(path: Path = EVERY_DOMAIN) -> Story:
    found = json.loads(path.read_text())
    return Story(
        found["genesis"].encode(),
        bytes.fromhex(found["genesis_root"]),
        tuple(
            Step(
                decode_block(bytes.fromhex(row["block"]), size_max=BLOCK_BYTES_MAX),
                bytes.fromhex(row["state_root"]),
                tuple((call, code) for call, code in row["receipts"]),
                _events(row["block_events"]),
                tuple(_events(events) for events in row["tx_events"]),
            )
            for row in found["blocks"]
        ),
    )


def outcome(applied: Applied) -> dict[str, Any]:
    """What a block did, in the words of a `Step`."""
    return {
        "state_root": applied.tree.root,
        "receipts": tuple(
            (tx.payload.call, receipt.error_code) for tx, receipt in zip(applied.txs, applied.receipts, strict=True)
        ),
        "block_events": _plain(applied.block_events),
        "tx_events": tuple(_plain(events) for events in applied.tx_events),
    }


def _step(block: Block, applied: Applied) -> Step:
    return Step(block, **outcome(applied))


def _plain(events: tuple[Event, ...]) -> tuple[tuple[str, bytes], ...]:
    return tuple((event.name, codec.encode(event.record)) for event in events)


def _events(rows: list[list[str]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, bytes.fromhex(data)) for name, data in rows)


if __name__ == "__main__":
    EVERY_DOMAIN.parent.mkdir(parents=True, exist_ok=True)
    for path, tell in STORIES.items():
        path.write_text(render(tell()))
