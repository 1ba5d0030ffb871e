"""The rules of the bridge: relayers with a bond, light clients, and which foreign headers stand."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core.address import address_of
from theblock_node.core.domain import Context
from theblock_node.core.domains import escrow
from theblock_node.core.domains.bridge import pow as work
from theblock_node.core.domains.bridge import records as r
from theblock_node.core.domains.bridge.records import domain
from theblock_node.core.errors import InvalidTx
from theblock_node.core.market import DueList

BOND = "bridge/bond"
NOTHING = bytes(32)
DUE: DueList[str] = DueList(r.DUE, lambda items: r.Due(1, items))


@domain.rule(r.RegisterRelayer)
def register_relayer(ctx: Context, command: r.RegisterRelayer) -> None:
    known = ctx.draft.get(r.RELAYERS, command.relayer)
    if known is not None and known.owner != ctx.sender:
        raise InvalidTx("bridge.relayer_exists", relayer=command.relayer)
    if known is not None and known.retired and known.bond:
        raise InvalidTx("bridge.unbonding", relayer=command.relayer, until=known.unbonding_until)
    member = ctx.draft.get(r.MEMBERS, address_of(command.member_key))
    if member is not None and member.relayer != command.relayer:
        raise InvalidTx("bridge.member_taken", relayer=member.relayer)
    held = known.bond if known else 0
    if command.bond < max(held, ctx.param(r.MIN_BOND)):
        raise InvalidTx("bridge.bond_low", bond=command.bond, min=max(held, ctx.param(r.MIN_BOND)))

    if command.bond > held:
        escrow.hold(ctx, BOND, command.relayer.encode(), ctx.sender, command.bond - held)
    relayer = known or r.Relayer(
        1, command.relayer, ctx.sender, command.member_key, command.asset, 0, 0, False, 0, ctx.height
    )
    terms = {"member_key": command.member_key, "asset": command.asset, "bond": command.bond}
    ctx.draft.delete(r.MEMBERS, address_of(relayer.member_key))
    ctx.draft.put(r.MEMBERS, address_of(command.member_key), r.MemberRef(1, command.relayer))
    ctx.draft.put(r.RELAYERS, command.relayer, replace(relayer, retired=False, unbonding_until=0, **terms))
    ctx.emit(r.RelayerRegistered(command.relayer, relayer.owner, command.asset, command.bond))


@domain.rule(r.RetireRelayer)
def retire_relayer(ctx: Context, command: r.RetireRelayer) -> None:
    relayer = ctx.draft.get(r.RELAYERS, command.relayer)
    if relayer is None:
        raise InvalidTx("bridge.unknown_relayer", relayer=command.relayer)
    if relayer.owner != ctx.sender:
        raise InvalidTx("bridge.not_owner", relayer=command.relayer)
    if relayer.retired:
        raise InvalidTx("bridge.already_retired", relayer=command.relayer)
    until = ctx.height + ctx.param(r.UNBOND_BLOCKS)
    ctx.draft.delete(r.MEMBERS, address_of(relayer.member_key))
    ctx.draft.put(r.RELAYERS, command.relayer, replace(relayer, retired=True, unbonding_until=until))
    DUE.add(ctx.draft, until, command.relayer)
    ctx.emit(r.RelayerRetired(command.relayer, until))


@domain.rule(r.StartLightClient)
def start_light_client(ctx: Context, command: r.StartLightClient) -> None:
    if ctx.draft.get(r.CLIENTS, command.chain_id) is not None:
        raise InvalidTx("bridge.client_exists", chain_id=command.chain_id)
    if not any(ctx.sender == row.owner and not row.retired for _, row in ctx.draft.items(r.RELAYERS)):
        raise InvalidTx("bridge.not_owner", reason="the sender owns no relayer", sender=ctx.sender)
    profile = work.Profile(command.profile)
    is_bitcoin = (command.chain_id, profile) == ("bitcoin", work.Profile.BITCOIN)
    genesis = work.parse_header(work.Profile.BITCOIN, "bitcoin", work.BITCOIN_GENESIS)
    if command.checkpoint is None and not is_bitcoin:
        raise InvalidTx("bridge.checkpoint_needed", chain_id=command.chain_id)
    start = command.checkpoint or r.Checkpoint(0, genesis.hash)
    if profile is work.Profile.BITCOIN and not work.starts_period(start.height):
        # The next retarget needs the time at which its period began.
        raise InvalidTx("bridge.checkpoint_height", height=start.height, multiple_of=work.RETARGET_INTERVAL)

    client = r.LightClient(
        1, command.chain_id, command.profile, start.height, start.hash, start.height, start.hash, NOTHING, 0,
        ctx.height, 0,
    )  # fmt: skip
    ctx.draft.put(r.CLIENTS, command.chain_id, client)
    if start.hash == genesis.hash:
        _begin(ctx, client, genesis, None)
    ctx.emit(r.LightClientStarted(command.chain_id, command.profile, start.height, start.hash))


@domain.rule(r.SubmitHeader, gas=500)
def submit_header(ctx: Context, command: r.SubmitHeader) -> None:
    submit_headers(ctx, r.SubmitHeaders(command.chain_id, (command.header,)))


@domain.rule(r.SubmitHeaders, gas=5000)
def submit_headers(ctx: Context, command: r.SubmitHeaders) -> None:
    member = ctx.draft.get(r.MEMBERS, ctx.sender)
    if member is None:
        raise InvalidTx("bridge.not_owner", reason="the sender is no relayer's member", sender=ctx.sender)
    if ctx.draft.get(r.CLIENTS, command.chain_id) is None:
        raise InvalidTx("bridge.unknown_chain", chain_id=command.chain_id)
    accepted: list[r.HeaderRecord] = []
    for index, data in enumerate(command.headers):
        try:
            record = _accept(ctx, command.chain_id, data, member.relayer)
        except InvalidTx as refused:
            if not accepted:
                raise InvalidTx(refused.code, index=index, **refused.facts) from refused
            ctx.emit(r.HeaderRefused(command.chain_id, member.relayer, index, refused.code))
            break
        if record is not None:
            accepted.append(record)
    if not accepted:
        return  # All of them were known.
    client = _move_tip(ctx, command.chain_id, accepted)
    relayer = ctx.draft.get(r.RELAYERS, member.relayer)
    assert relayer is not None, "whoever is a member has a relayer"
    count = relayer.headers_submitted + len(accepted)
    ctx.draft.put(r.RELAYERS, member.relayer, replace(relayer, headers_submitted=count))
    ctx.emit(
        r.HeadersAccepted(
            command.chain_id,
            member.relayer,
            len(accepted),
            accepted[0].height,
            client.tip_height,
            client.tip_hash,
        )
    )


@domain.begin_block
def fall_due(ctx: Context) -> None:
    """Pay back the bonds of this height."""
    for name in DUE.take(ctx.draft, ctx.height):
        relayer = ctx.draft.get(r.RELAYERS, name)
        if relayer is None or not relayer.retired or relayer.unbonding_until != ctx.height:
            continue
        escrow.release(ctx, BOND, name.encode(), relayer.owner, relayer.bond)
        ctx.draft.put(r.RELAYERS, name, replace(relayer, bond=0))
        ctx.emit(r.BondReleased(name, relayer.bond))


def _accept(ctx: Context, chain_id: str, data: bytes, relayer: str) -> r.HeaderRecord | None:
    """Store one header; None if it was known."""
    client = ctx.draft.get(r.CLIENTS, chain_id)
    assert client is not None
    profile = work.Profile(client.profile)
    header = work.parse_header(profile, chain_id, data)
    if ctx.draft.get(r.HEADERS, (chain_id, header.hash)) is not None:
        return None
    if header.hash == client.checkpoint_hash and not client.limit_bits:
        if header.height not in (None, client.checkpoint_height):
            raise InvalidTx("bridge.bad_height", height=header.height, expected=client.checkpoint_height)
        work.check_work(header)
        return _begin(ctx, client, header, relayer)
    parent = ctx.draft.get(r.HEADERS, (chain_id, header.parent))
    if parent is None:
        raise InvalidTx("bridge.unknown_parent", parent=header.parent.hex())
    if parent.height + 1 + r.HEADERS_KEPT <= client.tip_height:
        raise InvalidTx("bridge.too_deep", height=parent.height + 1, tip_height=client.tip_height)
    before = work.Before(parent.hash, parent.height, parent.bits, parent.period_time, parent.recent)
    work.check_header(profile, header, before, limit_bits=client.limit_bits, now_seconds=ctx.timestamp_ms // 1000)
    total = int.from_bytes(parent.cumulative_work, "big") + work.compute_work(header.bits)
    return _store(ctx, chain_id, header, work.follow(before, header), total, relayer)


def _begin(ctx: Context, client: r.LightClient, header: work.ForeignHeader, relayer: str | None) -> r.HeaderRecord:
    """Take the checkpoint's header: the chain's limit is now known."""
    limit = work.limit_of(work.Profile(client.profile), header.bits)
    ctx.draft.put(r.CLIENTS, client.chain_id, replace(client, limit_bits=limit))
    after = work.begin(header, client.checkpoint_height)
    ctx.draft.put(r.BEST, (client.chain_id, after.height), r.BestRow(1, header.hash))
    return _store(ctx, client.chain_id, header, after, 0, relayer)


def _store(
    ctx: Context, chain_id: str, header: work.ForeignHeader, after: work.Before, total: int, relayer: str | None
) -> r.HeaderRecord:
    where = (chain_id, after.height)
    branches = ctx.draft.get(r.BRANCHES, where) or r.Branches(1, ())
    if len(branches.hashes) >= r.BRANCHES_MAX:
        raise InvalidTx("bridge.too_many_branches", height=after.height, max=r.BRANCHES_MAX)
    record = r.HeaderRecord(
        1,
        header.hash,
        header.parent,
        after.height,
        header.bits,
        total.to_bytes(32, "big"),
        header.timestamp,
        header.merkle_root,
        after.period_time,
        after.recent,
        relayer,
        ctx.height,
    )
    ctx.draft.put(r.BRANCHES, where, replace(branches, hashes=(*branches.hashes, header.hash)))
    ctx.draft.put(r.HEADERS, (chain_id, header.hash), record)
    return record


def _move_tip(ctx: Context, chain_id: str, accepted: list[r.HeaderRecord]) -> r.LightClient:
    """Follow the most work; of equals the lower hash. Rewrites the index down to the fork."""
    client: r.LightClient | None = ctx.draft.get(r.CLIENTS, chain_id)
    assert client is not None
    best = max(accepted, key=lambda record: _rank(record.cumulative_work, record.hash))
    if _rank(best.cumulative_work, best.hash) <= _rank(client.tip_work, client.tip_hash):
        return client
    record = best
    while True:
        row = ctx.draft.get(r.BEST, (chain_id, record.height))
        if row is not None and row.hash == record.hash:
            break
        ctx.draft.put(r.BEST, (chain_id, record.height), r.BestRow(1, record.hash))
        parent = ctx.draft.get(r.HEADERS, (chain_id, record.parent))
        if parent is None:
            # The branch left the best chain below what is kept: it never becomes the best one.
            raise InvalidTx("bridge.too_deep", height=record.height, tip_height=client.tip_height)
        record = parent
    depth = client.tip_height - record.height
    for height in range(best.height + 1, client.tip_height + 1):
        ctx.draft.delete(r.BEST, (chain_id, height))
    _forget(ctx, client, best.height)
    if depth:
        ctx.emit(r.Reorganised(chain_id, depth, best.height, best.hash))
    moved = replace(
        client,
        tip_height=best.height,
        tip_hash=best.hash,
        tip_work=best.cumulative_work,
        last_reorg_depth=depth or client.last_reorg_depth,
        updated_height=ctx.height,
    )
    ctx.draft.put(r.CLIENTS, chain_id, moved)
    return moved


def _forget(ctx: Context, client: r.LightClient, tip_height: int) -> None:
    """Drop every header, on the best chain or not, that is now too deep to matter."""
    first = max(client.checkpoint_height, client.tip_height - r.HEADERS_KEPT)
    for height in range(first, tip_height - r.HEADERS_KEPT):
        where = (client.chain_id, height)
        branches = ctx.draft.get(r.BRANCHES, where)
        if branches is None:
            continue
        for digest in branches.hashes:
            ctx.draft.delete(r.HEADERS, (client.chain_id, digest))
        ctx.draft.delete(r.BRANCHES, where)
        ctx.draft.delete(r.BEST, where)


def _rank(cumulative_work: bytes, digest: bytes) -> tuple[bytes, int]:
    return cumulative_work, -int.from_bytes(digest, "big")
