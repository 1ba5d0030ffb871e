"""`tb-cli tx`: any call by its name, and what became of a transaction."""

from __future__ import annotations

from typing import Any

import click

from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import HEX, JSON
from theblock_node.cli.frame import Group, Leaf, acts
from theblock_node.cli.submitting import describe, follow, submit


@click.group(cls=Group, no_args_is_help=True)
def tx() -> None:
    """Send any call, and see what became of a transaction."""


@tx.command(cls=Leaf, signs=True)
@click.argument("call")
@click.argument("arguments", type=JSON, default="{}", metavar="[JSON|@FILE]")
@acts
async def send(app: App, call: str, arguments: Any) -> None:
    """Send CALL (as in accounts.transfer) with arguments as JSON."""
    if not isinstance(arguments, dict):
        raise Unusable("the arguments of a call are a JSON object", f"see docs/spec/{call}.schema.json")
    async with app.chain() as chain:
        app.show(await submit(app, chain, call, arguments))


@tx.command("submit", cls=Leaf)
@click.argument("envelope", type=HEX, metavar="HEX|@FILE")
@click.option("--wait", type=click.Choice(["none", "committed", "final"]), default="final", show_default=True)
@acts
async def submit_envelope(app: App, envelope: str, wait: str) -> None:
    """Send an envelope that is signed already, as `--dry-run` prints it."""
    app.choices.wait = wait
    async with app.chain() as chain:
        tx_id = await chain.submit(bytes.fromhex(envelope))
        app.show(await follow(app, chain, tx_id, "the envelope"))


@tx.command(cls=Leaf)
@click.argument("tx_id", type=HEX, metavar="TX_ID")
@acts
async def status(app: App, tx_id: str) -> None:
    """Where a transaction stands: unknown, pending, success or failed."""
    async with app.chain() as chain:
        app.show(describe(tx_id, await chain.status(tx_id)))
