"""`tb-cli node`: the members themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli import failures, finding
from theblock_node.cli.app import App
from theblock_node.cli.finding import Member
from theblock_node.cli.frame import Group, Leaf, acts

if TYPE_CHECKING:
    from theblock_node.client.node import NodeStatus

DEADLINE_S = 3.0


@click.group(cls=Group, no_args_is_help=True)
def node() -> None:
    """The members of the network: how each is, whom it talks with, and draining it."""


@node.command(cls=Leaf)
@click.argument("member", required=False)
@acts
async def status(app: App, member: str | None) -> None:
    """How MEMBER (a name, or host:port) is; without one, all of them."""
    if member is None:
        rows = await describe_members(app, app.network.members)
        app.show({"members": rows}, text=rows)
        return
    chosen = finding.select(app.network, member)
    found = await _status(app, chosen)
    app.show({**_describe(chosen, found), **_details(found)})


@node.command(cls=Leaf)
@click.argument("member", required=False)
@acts
async def peers(app: App, member: str | None) -> None:
    """The peers of MEMBER; without one, of the first validator."""
    from theblock_node.pb.theblock.v1 import node_pb2, node_pb2_grpc

    async with app.member(finding.select(app.network, member), app.tls()) as channels:
        got = await channels.call(
            lambda channel, timeout: node_pb2_grpc.NodeStub(channel).ListPeers(
                node_pb2.ListPeersRequest(), timeout=timeout
            ),
            deadline_s=DEADLINE_S,
        )
    rows = [
        {"peer_id": peer.peer_id, "address": peer.address, "name": peer.name, "round_trip_ms": peer.round_trip_ms}
        for peer in got.peers
    ]
    app.show({"peers": rows}, text=rows)


@node.command(cls=Leaf)
@click.argument("member")
@click.option("--off", is_flag=True, help="Take new work again.")
@click.option("--admin-cert", metavar="FILE", help="An administrator's certificate; the context's.")
@click.option("--admin-key", metavar="FILE", help="Its key.")
@acts
async def drain(app: App, member: str, off: bool, admin_cert: str | None, admin_key: str | None) -> None:
    """Let MEMBER take no new work, and finish what it has."""
    from theblock_node.pb.theblock.v1 import node_pb2, node_pb2_grpc

    chosen = finding.select(app.network, member)
    asked = node_pb2.DrainRequest(on=not off)
    async with app.member(chosen, app.admin_tls(admin_cert, admin_key)) as channels:
        got = await channels.call(
            lambda channel, timeout: node_pb2_grpc.NodeStub(channel).Drain(asked, timeout=timeout),
            deadline_s=DEADLINE_S,
        )
    draining = got.draining
    told = {"draining": draining.requested, "drained": draining.done, "drain_left": str(draining.left)}
    app.show({"member": chosen.name, **told})
    if off and draining.requested:
        app.note(
            f"{chosen.name} goes on draining: this role takes work again only once it is restarted; delete its pod"
        )
        click.get_current_context().exit(failures.EXIT_REFUSED)


async def describe_members(app: App, members: Sequence[Member]) -> list[dict[str, Any]]:
    """A row for each member; one that does not answer says so."""
    import asyncio

    return list(await asyncio.gather(*(_row(app, member) for member in members)))


async def _row(app: App, member: Member) -> dict[str, Any]:
    from theblock_node.client.errors import RefusedError, UnavailableError

    try:
        return _describe(member, await _status(app, member))
    except (UnavailableError, RefusedError) as failed:
        code = failed.code if isinstance(failed, RefusedError) else "Unreachable"
        return {"name": member.name, "role": member.role, "ready": False, "reason": code} | dict.fromkeys(
            ("height", "finalized_height", "peers", "in_sync", "version")
        )


async def _status(app: App, member: Member) -> NodeStatus:
    from theblock_node.client.node import NodeClient

    (endpoint,), names = app.endpoints([member], "member")
    client = NodeClient(endpoint, app.tls(), name=names[endpoint])
    try:
        return await client.status(deadline_s=DEADLINE_S)
    finally:
        await client.close()


def _describe(member: Member, found: NodeStatus) -> dict[str, Any]:
    return {
        "name": found.member or member.name,
        "role": found.role or member.role,
        "ready": found.ready,
        "reason": found.reason,
        "height": str(found.height),
        "finalized_height": str(found.finalized_height),
        "peers": found.peers,
        "in_sync": found.in_sync,
        "version": found.version,
    }


def _details(found: NodeStatus) -> dict[str, Any]:
    signer = {"state": found.signer_state, "floor_slot": str(found.signer_floor)}
    return {
        "genesis_hash": found.genesis_hash,
        "signer": {**signer, "fencing_epoch": str(found.fencing_epoch)} if found.signer_state else None,
        "certificate": {"not_after": found.cert_not_after, "fingerprint": found.cert_fingerprint},
        "draining": found.draining,
        "drained": found.drained,
        "drain_left": str(found.drain_left),
        "details": found.details,
    }
