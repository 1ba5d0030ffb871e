"""What the chain is now: `status`, `blocks`, `params`, `proof`, and any query by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli import catalogue
from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import JSON
from theblock_node.cli.frame import Leaf, acts
from theblock_node.cli.node import describe_members

if TYPE_CHECKING:
    from theblock_node.client.chain import ChainClient
    from theblock_node.core.block import Block

BLOCKS_MAX = 100
BLOCK_BYTES_MAX = 2**24
HEIGHT = click.IntRange(0, 2**64 - 1)


@click.command(cls=Leaf)
@acts
async def status(app: App) -> None:
    """The head, what is final, the validators, and every member that is known."""
    import asyncio

    async with app.chain() as chain:
        (tip, rules), members = await asyncio.gather(
            asyncio.gather(chain.tip(), chain.query("validators.set")), describe_members(app, app.network.members)
        )
    current = rules["current"] or {"members": []}
    told = {
        "network": app.network.name,
        "chain_id": tip.chain_id,
        "height": str(tip.height),
        "finalized_height": str(tip.finalized_height),
        "block_id": tip.block_id,
        "genesis_hash": tip.genesis_hash,
        "timestamp_ms": str(tip.timestamp_ms),
        "base_fee": str(tip.base_fee),
        "validators": len(current["members"]),
        "validators_spare": rules["spare"],
        "explorer": app.network.explorer,
    }
    ready = sum(1 for member in members if member["ready"])
    app.show(
        {**told, "ready": ready, "members": members},
        text={**told, "ready": f"{ready} of {len(members)} members", "members": members},
    )


@click.command(cls=Leaf)
@click.argument("height", type=HEIGHT, required=False)
@click.option("--from", "first", type=HEIGHT, help="First height of a list; its end is the head.")
@click.option("--limit", type=click.IntRange(1, BLOCKS_MAX), default=10, show_default=True)
@acts
async def blocks(app: App, height: int | None, first: int | None, limit: int) -> None:
    """The last blocks, or all that stands in the one at HEIGHT."""
    async with app.chain() as chain:
        if height is not None:
            app.show(_describe(await _block(chain, height)))
            return
        tip = await chain.tip()
        start = max(0, tip.height - limit + 1) if first is None else first
        heights = range(start, min(tip.height + 1, start + limit))
        found = [await _block(chain, each) for each in heights]
    rows = [
        {
            "height": str(block.header.height),
            "id": block.id.hex(),
            "timestamp_ms": str(block.header.timestamp_ms),
            "transactions": len(block.body.transactions),
            "votes": len(block.body.attestations),
            "proposer": block.header.proposer.hex(),
        }
        for block in found
    ]
    app.show({"blocks": rows, "height": str(tip.height), "finalized_height": str(tip.finalized_height)}, text=rows)


@click.command(cls=Leaf)
@click.argument("prefix", default="")
@acts
async def params(app: App, prefix: str) -> None:
    """Numbers that a vote can change, those whose name begins with PREFIX.

    `set` is what the chain says; where nothing is set, the first value of its preset holds: `default`, or what
    stands under `devnet` and `minimal`.
    """
    async with app.chain() as chain:
        page = await chain.query("chain.params")
    held = {row["name"]: row["value"] for row in page["params"]}
    rows = [
        {
            "name": param.name,
            "set": held.get(param.name),
            "default": str(param.default),
            "devnet": str(param.presets.get("devnet", param.default)),
            "minimal": str(param.presets.get("minimal", param.default)),
            "min": str(param.min),
            "max": str(param.max),
            "unit": param.unit,
        }
        for param in catalogue.load().params
        if param.name.startswith(prefix)
    ]
    app.show({"params": rows}, text=rows)


@click.command(cls=Leaf)
@click.argument("name")
@click.argument("arguments", type=JSON, default="{}", metavar="[JSON|@FILE]")
@click.option("--final", is_flag=True, help="Read what is final; without it, the head.")
@acts
async def query(app: App, name: str, arguments: Any, final: bool) -> None:
    """Run the query NAME (as in energy.receipts) with arguments as JSON."""
    if not isinstance(arguments, dict):
        raise Unusable("the arguments of a query are a JSON object", f"see docs/spec/query.{name}.schema.json")
    async with app.chain() as chain:
        app.show(await chain.query(name, arguments, final=final))


@click.command(cls=Leaf)
@click.argument("table")
@click.argument("key", metavar="KEY")
@acts
async def proof(app: App, table: str, key: str) -> None:
    """Prove a row of TABLE, or that it is absent, and check the proof here.

    KEY is the row's key as JSON, or plain text where it is text: `tb-cli proof accounts/account 0000:ab…`. The state
    root is compared with that in the header of the block which was read; who vouches for that header is not checked.
    """
    from theblock_node.client.channel import DEADLINE_S
    from theblock_node.core import codec, light, merkle
    from theblock_node.core.domains import REGISTRY
    from theblock_node.pb.theblock.v1 import chain_pb2, chain_pb2_grpc

    declared = REGISTRY.tables.get(table)
    if declared is None:
        raise Unusable(f"no table is called {table}", f"tables are {', '.join(sorted(REGISTRY.tables))}")
    decoded = codec.from_json(declared.key_type, _parse_key(key))
    asked = chain_pb2.ProofRequest(table=table, key=declared.encode_key(decoded))
    async with app.chain() as chain:
        got = await chain.channels.call(
            lambda channel, timeout: chain_pb2_grpc.ChainStub(channel).Proof(asked, timeout=timeout),
            deadline_s=DEADLINE_S,
        )
        header = (await _block(chain, got.height)).header
    row = light.Row(bytes(got.value) if got.present else None, codec.decode(merkle.Proof, got.proof))
    value = light.check_row(header, declared, decoded, row)
    app.show(
        {
            "table": table,
            "height": str(got.height),
            "state_root": header.state_root.hex(),
            "present": got.present,
            "value": None if value is None else codec.to_json(value),
            "proof": got.proof.hex(),
        }
    )


def _parse_key(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


async def _block(chain: ChainClient, height: int) -> Block:
    from theblock_node.core.block import decode_block

    return decode_block(await chain.block(height), size_max=BLOCK_BYTES_MAX)


def _describe(block: Block) -> dict[str, Any]:
    from theblock_node.core import codec
    from theblock_node.core import tx as txs
    from theblock_node.core.domains import REGISTRY

    sent = [envelope.payload for envelope in block.body.transactions]
    return {
        "id": block.id.hex(),
        "header": codec.to_json(block.header),
        "transactions": [
            {
                "tx_id": txs.tx_id(payload).hex(),
                "call": payload.call,
                "from": payload.from_,
                "nonce": str(payload.nonce),
                "arguments": codec.to_json(REGISTRY.decode_arguments(payload.call, payload.data)),
            }
            for payload in sent
        ],
        "votes": len(block.body.attestations),
        "evidence": len(block.body.evidence),
    }
