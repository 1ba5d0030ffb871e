"""What can be read of the bridge."""

from __future__ import annotations

from theblock_node.core.domain import Reading
from theblock_node.core.domains.bridge import records as r
from theblock_node.core.domains.bridge.inclusion import check_inclusion
from theblock_node.core.domains.bridge.pow import Profile
from theblock_node.core.domains.bridge.records import domain
from theblock_node.core.errors import InvalidTx
from theblock_node.core.state import View


@domain.query("relayers", r.ListRelayers, r.RelayerPage)
def relayers(reading: Reading, request: r.ListRelayers) -> r.RelayerPage:
    return r.RelayerPage(tuple(row for _, row in reading.view.items(r.RELAYERS))[: r.PAGE_MAX])


@domain.query("clients", r.ListClients, r.ClientPage)
def clients(reading: Reading, request: r.ListClients) -> r.ClientPage:
    return r.ClientPage(tuple(row for _, row in reading.view.items(r.CLIENTS))[: r.PAGE_MAX])


@domain.query("headers", r.ListHeaders, r.HeaderPage)
def headers(reading: Reading, request: r.ListHeaders) -> r.HeaderPage:
    client = reading.view.get(r.CLIENTS, request.chain_id)
    if client is None:
        return r.HeaderPage(None, ())
    top = client.tip_height if request.from_height is None else min(request.from_height, client.tip_height)
    limit = min(request.limit or 100, r.PAGE_MAX)
    heights = range(top, max(client.checkpoint_height - 1, top - limit), -1)
    found = (_best(reading.view, request.chain_id, height) for height in heights)
    return r.HeaderPage(client, tuple(row for row in found if row is not None))


@domain.query("inclusion", r.GetInclusion, r.Inclusion)
def inclusion(reading: Reading, request: r.GetInclusion) -> r.Inclusion:
    """Whether something stands in a foreign block, and how deep that block lies."""
    client = reading.view.get(r.CLIENTS, request.chain_id)
    if client is None:
        raise InvalidTx("bridge.unknown_chain", chain_id=request.chain_id)
    record = reading.view.get(r.HEADERS, (request.chain_id, request.header))
    if record is None:
        raise InvalidTx("bridge.unknown_header", header=request.header.hex())
    check_inclusion(
        Profile(client.profile),
        record.merkle_root,
        request.leaf,
        index=request.index,
        count=request.count,
        path=request.path,
    )
    best = _best(reading.view, request.chain_id, record.height)
    is_best = best is not None and best.hash == record.hash
    return r.Inclusion(record.height, client.tip_height - record.height + 1 if is_best else 0)


def _best(view: View, chain_id: str, height: int) -> r.HeaderRecord | None:
    row = view.get(r.BEST, (chain_id, height))
    return None if row is None else view.get(r.HEADERS, (chain_id, row.hash))
