"""`tb-cli accounts`: balances and payments."""

from __future__ import annotations

import click

from theblock_node.cli.app import App
from theblock_node.cli.forms import AMOUNT, show_amount
from theblock_node.cli.frame import Group, Leaf, acts
from theblock_node.cli.submitting import submit


@click.group(cls=Group, domain="accounts", no_args_is_help=True)
def accounts() -> None:
    """Balances and payments."""


@accounts.command(cls=Leaf)
@click.argument("address", required=False)
@click.option("--key", metavar="FILE|-", help="Show the account of this key, where no ADDRESS is given.")
@acts
async def show(app: App, address: str | None, key: str | None) -> None:
    """What an account has; without ADDRESS that of the key which would sign."""
    if address is None:
        app.choices.key = key
        address = app.wallet().address
    async with app.chain() as chain:
        found = await chain.account(address)
    told = {"address": found.address, "balance": str(found.balance), "nonce": str(found.nonce)}
    told["next_nonce"] = str(found.next_nonce)
    app.show(told, text={**told, "balance": f"{found.balance} nBLOCK ({show_amount(found.balance)})"})


@accounts.command("list", cls=Leaf)
@click.option("--after", default="", help="Begin after this address.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--final", is_flag=True, help="Read what is final; without it, the head.")
@acts
async def list_accounts(app: App, after: str, limit: int, final: bool) -> None:
    """Accounts in the order of their addresses."""
    async with app.chain() as chain:
        page = await chain.query("accounts.list", {"after": after, "limit": limit}, final=final)
    rows = [
        {"address": row["address"], "nonce": row["nonce"], "balance": show_amount(row["balance"])}
        for row in page["accounts"]
    ]
    app.show(page, text=rows)


@accounts.command(cls=Leaf, signs=True)
@click.option("--to", required=True, metavar="ADDRESS", help="Who is paid.")
@click.option("--amount", "--amount-consumer", "amount", type=AMOUNT, default="0", help="nBLOCK, or as 1.5BLOCK.")
@click.option("--amount-industrial", type=AMOUNT, default="0", help="Further nBLOCK, through the industrial lane.")
@acts
async def transfer(app: App, to: str, amount: str, amount_industrial: str) -> None:
    """Pay an address."""
    arguments = {"to": to, "amount_consumer": amount, "amount_industrial": amount_industrial}
    async with app.chain() as chain:
        app.show(await submit(app, chain, "accounts.transfer", arguments))
