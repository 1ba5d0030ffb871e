"""`tb-cli energy`: sell what a meter measures, buy it, and see both."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli import keyfiles
from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import AMOUNT, HEX, U64, show_amount
from theblock_node.cli.frame import Group, Leaf, acts
from theblock_node.cli.submitting import submit

if TYPE_CHECKING:
    from theblock_node.client.chain import ChainClient

LIMIT = click.IntRange(1, 1000)


@click.group(cls=Group, domain="energy", no_args_is_help=True)
def energy() -> None:
    """The energy market: providers, readings, credits, settlements, disputes."""


@energy.command(cls=Leaf, signs=True)
@click.option("--provider-id", required=True, help="Name of the provider.")
@click.option("--capacity-wh", type=U64, required=True, help="What it can deliver in a window.")
@click.option("--price-per-kwh", type=AMOUNT, required=True, help="nBLOCK, or as 0.002BLOCK.")
@click.option("--meter-address", required=True, help="The meter whose register counts.")
@click.option("--jurisdiction", required=True, help="As in US_CA.")
@click.option("--stake", type=AMOUNT, default="1000BLOCK", show_default=True)
@click.option("--initial-meter-wh", type=U64, help="Register to begin from; the first reading.")
@click.option("--oracle-id", required=True, help="Who will sign its readings.")
@click.option("--oracle-key", required=True, metavar="FILE|-", help="The oracle's key, to show that it is held.")
@acts
async def register(app: App, oracle_id: str, oracle_key: str, **terms: Any) -> None:
    """Register a provider with one oracle; `register-provider` takes proofs that others made."""
    from theblock_node.core.crypto import SigningKey
    from theblock_node.core.domains.energy import attestation

    key = SigningKey.from_seed(keyfiles.read_seed(oracle_key))
    async with app.chain() as chain:
        chain_id = (await chain.tip()).chain_id
        message = attestation.possession_message(chain_id, terms["provider_id"], oracle_id, 1, key.public_key)
        offer = {"oracle_id": oracle_id, "public_key": key.public_key.hex(), "proof": key.sign(message).hex()}
        app.show(await submit(app, chain, "energy.register_provider", {**terms, "keys": [offer]}))


@energy.command(cls=Leaf, signs=True)
@click.option("--provider-id", required=True, help="Whose meter was read.")
@click.option("--total-wh", type=U64, required=True, help="What the register says.")
@click.option("--oracle-id", required=True, help="Who says so.")
@click.option("--oracle-key", required=True, metavar="FILE|-", help="The oracle's key, which signs.")
@click.option("--timestamp", type=U64, metavar="SECONDS", help="When, in seconds since 1970; now.")
@click.option("--nonce", type=U64, help="The next one.")
@acts
async def reading(
    app: App, provider_id: str, total_wh: str, oracle_id: str, oracle_key: str, timestamp: str | None, nonce: str | None
) -> None:
    """Sign a reading as an oracle and submit it; `submit-reading` takes one that is signed already."""
    from theblock_node.core.crypto import SigningKey
    from theblock_node.core.domains.energy import attestation

    key = SigningKey.from_seed(keyfiles.read_seed(oracle_key))
    async with app.chain() as chain:
        provider = await _provider(chain, provider_id)
        said = int(timestamp or time.time())
        number = int(nonce or int(provider["last_nonce"]) + 1)
        meter, chain_id = provider["meter_address"], (await chain.tip()).chain_id
        body = attestation.reading_body(chain_id, provider_id, meter, int(total_wh), said, number)
        arguments = {
            "provider_id": provider_id,
            "meter_address": meter,
            "total_wh": total_wh,
            "timestamp": str(said),
            "nonce": str(number),
            "oracle_id": oracle_id,
            "scheme": 0,
            "signature": key.sign(attestation.attestation_message(body, oracle_id)).hex(),
        }
        app.show(await submit(app, chain, "energy.submit_reading", arguments))


@energy.command(cls=Leaf, signs=True)
@click.option("--credit-id", type=HEX, metavar="HEX", help="What is bought; the provider's oldest that is free.")
@click.option("--provider-id", help="Who sells; the credit's.")
@click.option("--wh", type=U64, help="How much of it; all.")
@click.option("--max-price-per-kwh", type=AMOUNT, help="Most nBLOCK, or as 0.002BLOCK; the present price.")
@acts
async def settle(
    app: App, credit_id: str | None, provider_id: str | None, wh: str | None, max_price_per_kwh: str | None
) -> None:
    """Buy energy from a credit; what is left out is taken from the chain as it stands."""
    if credit_id is None and provider_id is None:
        raise Unusable("neither credit nor provider is named", "give --credit-id or --provider-id")
    async with app.chain() as chain:
        if credit_id is None or provider_id is None or wh is None:
            credit = await _credit(chain, credit_id, provider_id or "")
            credit_id, provider_id, wh = credit["credit_id"], credit["provider_id"], wh or credit["amount_wh"]
        price = max_price_per_kwh or (await _provider(chain, provider_id))["price_per_kwh"]
        arguments = {"provider_id": provider_id, "wh": wh, "credit_id": credit_id, "max_price_per_kwh": price}
        app.show(await submit(app, chain, "energy.settle", arguments))


@energy.command(cls=Leaf)
@click.option("--provider-id", help="Only what this provider sold.")
@click.option("--before", type=U64, default="0", help="Only those with a lower number.")
@click.option("--limit", type=LIMIT, default=100, show_default=True)
@acts
async def receipts(app: App, provider_id: str | None, before: str, limit: int) -> None:
    """The youngest settlements."""
    async with app.chain() as chain:
        page = await chain.query("energy.receipts", {"before": before, "limit": limit})
    rows = [row for row in page["receipts"] if provider_id in (None, row["seller"])]
    columns = ("seq", "seller", "buyer", "wh_delivered", "block_settled")
    text = [{**_pick(row, columns), "price_paid": show_amount(row["price_paid"])} for row in rows]
    app.show({"receipts": rows}, text=text)


@energy.command(cls=Leaf)
@click.option("--provider-id", default="", help="Only of this provider.")
@click.option("--limit", type=LIMIT, default=100, show_default=True)
@acts
async def credits(app: App, provider_id: str, limit: int) -> None:  # noqa: A001 - the name of the command
    """Energy that can be bought, oldest first."""
    async with app.chain() as chain:
        page = await chain.query("energy.credits", {"provider_id": provider_id, "limit": limit})
    columns = ("credit_id", "provider_id", "amount_wh", "created_height", "expires_height", "frozen_by")
    app.show(page, text=[_pick(row, columns) for row in page["credits"]])


@energy.command(cls=Leaf)
@click.option("--after", default="", help="Begin after this id.")
@click.option("--limit", type=LIMIT, default=100, show_default=True)
@acts
async def providers(app: App, after: str, limit: int) -> None:
    """Who sells, and on which terms."""
    async with app.chain() as chain:
        page = await chain.query("energy.providers", {"after": after, "limit": limit})
    columns = ("provider_id", "state", "jurisdiction", "capacity_wh", "meter_address", "last_meter_wh", "credits")
    text = [
        {
            **_pick(row, columns),
            "price_per_kwh": show_amount(row["price_per_kwh"]),
            "staked": show_amount(row["staked"]),
        }
        for row in page["providers"]
    ]
    app.show(page, text=text)


async def _provider(chain: ChainClient, provider_id: str) -> dict[str, Any]:
    from theblock_node.client.errors import RefusedError

    found = (await chain.query("energy.provider", {"provider_id": provider_id}))["provider"]
    if found is None:
        raise RefusedError("energy.unknown_provider", "", {"provider_id": provider_id})
    return found  # type: ignore[no-any-return]


async def _credit(chain: ChainClient, credit_id: str | None, provider_id: str) -> dict[str, Any]:
    """The credit of that id, or the oldest of the provider that no dispute holds."""
    from theblock_node.client.errors import RefusedError

    page = await chain.query("energy.credits", {"provider_id": provider_id, "limit": 0})
    for row in page["credits"]:
        if row["credit_id"] == credit_id or (credit_id is None and row["frozen_by"] == "0"):
            return row  # type: ignore[no-any-return]
    raise RefusedError("energy.unknown_reading", "", {"credit_id": credit_id or "", "provider_id": provider_id})


def _pick(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}
