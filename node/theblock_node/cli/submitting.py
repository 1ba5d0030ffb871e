"""Sending one call and waiting for what becomes of it."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from theblock_node.cli.app import App

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from theblock_node.client.chain import ChainClient, Committed, Reverted, TxStatus

EVENTS_DEADLINE_S = 10.0


async def submit(app: App, chain: ChainClient, call: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Sign and send a call, wait as long as was chosen, and tell what it did; raises its refusal if it fails."""
    wallet, choices = app.wallet(), app.choices
    memo, tip = choices.memo.encode(), int(choices.tip)
    if choices.dry_run:
        import asyncio

        head, account = await asyncio.gather(chain.tip(), chain.account(wallet.address))
        signed = wallet.sign_call(
            call,
            arguments,
            chain_id=head.chain_id,
            nonce=account.next_nonce,
            base_fee=head.base_fee,
            tip=tip,
            memo=memo,
        )
        told = {"tx_id": signed.tx_id.hex(), "state": "not sent", "call": call, "from": wallet.address}
        return {**told, "nonce": str(account.next_nonce), "envelope": signed.envelope.hex()}
    signed = await chain.send(wallet, call, arguments, memo=memo, tip=tip)
    return await follow(app, chain, signed.tx_id.hex(), call)


def follow_events(
    chain: ChainClient, after: int, *, final: bool
) -> aclosing[AsyncGenerator[Committed | Reverted, None]]:
    """The events above a height, closed with the block that reads them."""
    return aclosing(cast("AsyncGenerator[Committed | Reverted, None]", chain.events(after, final=final)))


async def follow(app: App, chain: ChainClient, tx_id: str, call: str) -> dict[str, Any]:
    """Wait for a transaction as long as was chosen, and tell what it did."""
    from theblock_node.client.errors import RefusedError

    wait = app.choices.wait
    if wait == "none":
        return {"tx_id": tx_id, "state": "pending"}
    try:
        status = await chain.wait(tx_id, final=wait == "final", timeout_s=app.choices.timeout)
    except TimeoutError as late:
        raise TimeoutError(f"{call}, see `tb-cli tx status {tx_id}`") from late
    if status.state == "failed":
        raise RefusedError(status.error_code, f"{call} failed", {"tx_id": tx_id, "height": str(status.height)})
    return {**describe(tx_id, status), "events": await _events(chain, tx_id, status)}


def describe(tx_id: str, status: TxStatus) -> dict[str, Any]:
    """Where a transaction stands, as JSON."""
    told: dict[str, Any] = {"tx_id": tx_id, "state": status.state}
    if status.state in ("success", "failed"):
        told |= {"height": str(status.height), "index": status.index, "final": status.final}
    if status.error_code:
        told["error_code"] = status.error_code
    return told


async def _events(chain: ChainClient, tx_id: str, status: TxStatus) -> list[dict[str, Any]]:
    """What the transaction told, from its block."""
    import asyncio

    from theblock_node.client.chain import Committed

    async with asyncio.timeout(EVENTS_DEADLINE_S), follow_events(chain, status.height - 1, final=status.final) as news:
        async for block in news:
            if isinstance(block, Committed):
                found = [tx for tx in block.txs if tx.tx_id == tx_id]
                return [{"name": event.name, "record": event.record} for tx in found for event in tx.events]
    return []


def record_of(told: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The record of the first event of that name that a transaction told."""
    return next((event["record"] for event in told.get("events", ()) if event["name"] == name), None)
