"""`tb-cli events`: what happened, and what happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli import output
from theblock_node.cli.app import App
from theblock_node.cli.frame import Leaf, acts
from theblock_node.cli.submitting import follow_events

if TYPE_CHECKING:
    from theblock_node.client.chain import Committed, Reverted

BACK = 100
"""How many blocks are looked back, where nobody said from where."""


@click.command(cls=Leaf)
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--final", is_flag=True, help="Only what is final: nothing of it is ever taken back.")
@click.option("--from", "first", type=click.IntRange(0, 2**63 - 1), help=f"First height; {BACK} back, or what comes.")
@click.option("--name", "prefix", default="", metavar="PREFIX", help="Only events whose name begins so: energy.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@acts
async def events(app: App, follow: bool, final: bool, first: int | None, prefix: str, count: int | None) -> None:
    """Events of the last blocks; with --output json one document a line."""
    async with app.chain() as chain:
        tip = await chain.tip()
        last = tip.finalized_height if final else tip.height
        start = (last + 1 if follow else max(0, last - BACK)) if first is None else first
        if start > last and not follow:
            return
        shown = 0
        async with follow_events(chain, start - 1, final=final) as stream:
            async for news in stream:
                for row in rows_of(news, prefix):
                    click.echo(output.to_json(row) if app.is_json else _line(row))
                    shown += "name" in row
                    if shown == count:
                        return
                if not follow and news.height >= last:
                    return


def rows_of(news: Committed | Reverted, prefix: str) -> Iterator[dict[str, Any]]:
    """What is told of one piece of news."""
    from theblock_node.client.chain import Reverted

    if isinstance(news, Reverted):
        yield {"reverted_to": str(news.height)}
        return
    place: dict[str, Any] = {
        "height": str(news.height),
        "block_id": news.block_id,
        "timestamp_ms": str(news.timestamp_ms),
    }
    sources = [(event, "", "") for event in news.events]
    sources += [(event, tx.tx_id, tx.call) for tx in news.txs for event in tx.events]
    for event, tx_id, call in sources:
        if event.name.startswith(prefix):
            yield {**place, "tx_id": tx_id, "call": call, "name": event.name, "record": event.record}


def _line(row: dict[str, Any]) -> str:
    if "reverted_to" in row:
        return f"blocks above {row['reverted_to']} no longer stand"
    return f"{row['height']:>8}  {row['name']}  {output.to_json(row['record'])}"
