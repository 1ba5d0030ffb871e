"""`tb-cli bridge`: headers of foreign chains."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import click

from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import HEX, read_file
from theblock_node.cli.frame import Group, Leaf, acts
from theblock_node.cli.submitting import follow, submit

BATCH = 100
"""Headers in one call."""
HEADERS_MAX = 10_000
BITCOIN_HEADER_BYTES = 80
_TEXT = re.compile(rb"[\x20-\x7e\s]*")


@click.group(cls=Group, domain="bridge", no_args_is_help=True)
def bridge() -> None:
    """Foreign chains that this one follows by their headers."""


@bridge.command("submit-header", cls=Leaf, signs=True)
@click.argument("header", type=HEX, metavar="HEX|@FILE")
@click.option("--chain-id", required=True, help="The foreign chain, as in `tb-cli bridge clients`.")
@acts
async def submit_header(app: App, header: str, chain_id: str) -> None:
    """Submit one header."""
    async with app.chain() as chain:
        app.show(await submit(app, chain, "bridge.submit_header", {"chain_id": chain_id, "header": header}))


@bridge.command("submit-headers", cls=Leaf, signs=True)
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--headers", type=HEX, multiple=True, metavar="HEX|@FILE", help="A header; may be repeated.")
@click.option("--chain-id", required=True, help="The foreign chain, as in `tb-cli bridge clients`.")
@acts
async def submit_headers(app: App, file: str | None, headers: tuple[str, ...], chain_id: str) -> None:
    """Submit headers in order, those in FILE before those given as options, a hundred in a call.

    FILE is hex a line, JSON with `headers` (a list of hex), or Bitcoin's headers one after the other, 80 bytes each.
    """
    found = [*(_read_headers(file) if file else ()), *headers]
    if not 0 < len(found) <= HEADERS_MAX:
        raise Unusable(f"{len(found)} headers are given", f"give between 1 and {HEADERS_MAX}")
    calls = [{"chain_id": chain_id, "headers": found[at : at + BATCH]} for at in range(0, len(found), BATCH)]
    if app.choices.dry_run and len(calls) > 1:
        raise Unusable("a dry run is of one call", f"give at most {BATCH} headers")
    wait = app.choices.wait
    async with app.chain() as chain:
        # All are on their way before the first is waited for: their nonces keep them in order.
        app.choices.wait = "none"
        sent = [await submit(app, chain, "bridge.submit_headers", arguments) for arguments in calls]
        app.choices.wait = wait
        if not app.choices.dry_run:
            sent = [await follow(app, chain, row["tx_id"], "bridge.submit_headers") for row in sent]
    app.show({"headers": len(found), "transactions": sent})


def _read_headers(name: str) -> Sequence[str]:
    try:
        return parse_headers(read_file(name))
    except ValueError as wrong:
        raise Unusable(
            f"no headers in {name}: {wrong}", "`tb-cli bridge submit-headers --help` says what a file holds"
        ) from wrong


def parse_headers(data: bytes) -> list[str]:
    """Headers as hex; a ValueError says why the bytes are none."""
    text = data.decode("ascii").strip() if _TEXT.fullmatch(data) else ""
    if text.startswith("{"):
        rows = json.loads(text).get("headers")
        if not isinstance(rows, list):
            raise ValueError("the JSON has no list `headers`")
        return [bytes.fromhex(str(row)).hex() for row in rows]
    if text:
        return [bytes.fromhex(line.strip()).hex() for line in text.splitlines() if line.strip()]
    if not data or len(data) % BITCOIN_HEADER_BYTES:
        raise ValueError(f"{len(data)} bytes are not headers of {BITCOIN_HEADER_BYTES}")
    return [data[at : at + BITCOIN_HEADER_BYTES].hex() for at in range(0, len(data), BITCOIN_HEADER_BYTES)]
