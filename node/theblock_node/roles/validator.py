"""A validator: makes and checks blocks, votes, keeps the state, and serves the public API."""

from __future__ import annotations

import asyncio
import secrets
from random import Random

import structlog

import theblock_node
from theblock_node.clock import SystemClock
from theblock_node.config import BadConfig, Config, ValidatorSettings
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains import REGISTRY
from theblock_node.keys import load_seed
from theblock_node.roles.assembly import ValidatorNode, read_genesis
from theblock_node.roles.measures import count_final_blocks, measure_validator
from theblock_node.roles.member import Member, watch_file
from theblock_node.rpc import domains
from theblock_node.rpc.chain import ChainBackend, ChainServicer
from theblock_node.rpc.node import Drained, Facts, PeerFacts, SignerFacts
from theblock_node.services.chain.service import Snapshots
from theblock_node.services.chain.signer import DiskFile, SignerState
from theblock_node.services.mempool.pool import Limits
from theblock_node.services.p2p import messages
from theblock_node.services.p2p.peers import parse_peers
from theblock_node.store.chain import FAMILIES
from theblock_node.store.rocks import open_rocks
from theblock_node.store.snapshots import SnapshotFiles
from theblock_node.transport.certificate import make_certificate
from theblock_node.transport.quic import QuicProvider

log = structlog.get_logger("validator")


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run a validator until ``stop``."""
    settings = config.settings
    assert isinstance(settings, ValidatorSettings)
    seed = load_seed(config.paths.key)
    key = SigningKey.from_seed(seed)
    genesis = read_genesis(_read_document(config), pinned=_pinned(config))
    provider = QuicProvider(make_certificate(seed), messages.limit_of)
    node = ValidatorNode(
        genesis=genesis,
        engine=open_rocks(config.paths.data / "chain", FAMILIES),
        key=key,
        sign_file=DiskFile(config.paths.data / "sign-state.json"),
        fencing_epoch=config.fencing_epoch,
        provider=provider,
        host=config.listen.host,
        port=config.listen.p2p,
        clock=SystemClock(),
        chance=Random(secrets.randbits(128)),
        limits=Limits(entries_max=settings.mempool_max_entries),
        allow_solo=config.allow_solo,
        agent=f"theblock/{theblock_node.VERSION}",
        snapshots=Snapshots(
            SnapshotFiles(config.paths.data / "snapshots"),
            interval=settings.snapshot_interval_blocks,
            behind=2 * settings.snapshot_interval_blocks,
            aside=asyncio.to_thread,
        ),
    )
    log.info(
        "validator starts",
        member=config.member,
        public_key=key.public_key.hex(),
        genesis=genesis.step_hash.hex(),
        height=node.chain.head.height,
        signer=node.signer.state.value,
    )

    async def drain(is_on: bool) -> None:
        if is_on:
            await node.service.drain()

    def take_peers(data: bytes) -> None:
        node.p2p.set_addresses(parse_peers(data, own_key=key.public_key, bootstrap=config.bootstrap_peers))

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_file(config.paths.peers, take_peers))
            tasks.create_task(node.run())
            tasks.create_task(count_final_blocks(node.service, REGISTRY, member.metrics))

    chain = ChainServicer(node.service, REGISTRY)
    member = Member(
        config,
        services=[chain.service(), *domains.make_services(REGISTRY, ChainBackend(node.service))],
        facts=lambda: _facts(node),
        drain=drain,
        handover=node.service.drain,
    )
    measure_validator(node, REGISTRY, member.metrics)
    try:
        await member.run(work, stop)
    finally:
        node.close()


def _read_document(config: Config) -> bytes:
    try:
        return config.chain.genesis.read_bytes()
    except OSError as failed:
        raise BadConfig(f"{config.chain.genesis}: {failed.strerror}") from failed


def _pinned(config: Config) -> bytes | None:
    if config.chain.genesis_hash is None:
        return None
    try:
        return bytes.fromhex(config.chain.genesis_hash)
    except ValueError as failed:
        raise BadConfig("chain.genesis_hash is not hexadecimal") from failed


def _facts(node: ValidatorNode) -> Facts:
    facts = node.service.facts()
    reason = _why_not_ready(facts.in_sync, facts.signer)
    return Facts(
        genesis_hash=node.service.genesis_hash.hex(),
        height=facts.height,
        finalized_height=facts.finalized_height,
        in_sync=facts.in_sync,
        ready=not reason,
        reason=reason,
        peers=tuple(
            PeerFacts(peer.public_key.hex(), peer.session.remote, peer.public_key.hex()[:12], 0)
            for peer in node.p2p.peers
        ),
        signer=SignerFacts(facts.signer.value, facts.sign_floor, facts.fencing_epoch),
        drained=Drained(requested=node.service.is_draining, done=node.service.is_draining),
        details={
            "justified_height": facts.justified_height,
            "is_member": facts.is_member,
            "last_vote_height": facts.last_vote_height,
            "vote_floor": facts.vote_floor,
            "mempool": facts.pool,
            "blocks_made": facts.blocks_made,
            "turns_missed": facts.turns_missed,
            "timestamp_ms": facts.timestamp_ms,
        },
    )


def _why_not_ready(in_sync: bool, signer: SignerState) -> str:
    if not in_sync:
        return "NotInSync"
    return "" if signer in (SignerState.READY, SignerState.WAITING) else signer.value
