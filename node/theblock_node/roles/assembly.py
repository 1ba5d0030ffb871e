"""A validator's parts, joined: store, chain, pool, signer, gossip and sessions, each handed what it needs.

`roles/validator.py` runs it in a pod, `sim/network.py` runs many of it in one process. No other place knows more
than one service.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from google.protobuf.message import Message

from theblock_node.clock import Clock
from theblock_node.core import genesis as genesis_documents
from theblock_node.core import header as headers
from theblock_node.core.block import Attestation, Evidence
from theblock_node.core.crypto import SigningKey, blake3
from theblock_node.core.domains import REGISTRY, supply
from theblock_node.core.params import ChainParams
from theblock_node.core.state import State
from theblock_node.pb.theblock.p2p.v2 import p2p_pb2 as pb
from theblock_node.services.chain import snapshots as snapshot_parts
from theblock_node.services.chain import sync
from theblock_node.services.chain.checks import Proofs, Verified
from theblock_node.services.chain.importer import Chain, Move, Standing, genesis_step
from theblock_node.services.chain.service import ChainService, FetchFailed, Snapshots, compute_gas_max
from theblock_node.services.chain.signer import MemoryFile, Signer, open_signer
from theblock_node.services.chain.sync import PeerTip
from theblock_node.services.chain.votes import VotePool
from theblock_node.services.gossip.service import Gossip, Misbehaved, Taken
from theblock_node.services.mempool.pool import Entry, Limits, Pool
from theblock_node.services.mempool.service import Head, Mempool
from theblock_node.services.p2p.handshake import NONCE_BYTES, Local
from theblock_node.services.p2p.service import P2P, Peer, RequestFailed, Violation
from theblock_node.store.chain import ChainStore
from theblock_node.store.engine import Engine
from theblock_node.transport.provider import Provider

VIGIL_EPOCHS = 2


class GenesisMismatch(Exception):
    """The genesis document is not the one that was pinned, or not the one that the store began with."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """A genesis document, built."""

    chain: ChainParams
    state: State
    step_hash: bytes
    document: bytes


def read_genesis(document: bytes, *, pinned: bytes | None) -> Genesis:
    """Build the genesis; refuses one that does not hash to ``pinned``."""
    parsed = genesis_documents.parse(document)
    state, block = genesis_documents.build(parsed)
    if pinned is not None and block.id != pinned:
        raise GenesisMismatch(f"the genesis hashes to {block.id.hex()}, pinned is {pinned.hex()}")
    return Genesis(parsed.chain, state, block.id, document)


def open_chain(engine: Engine, genesis: Genesis) -> tuple[ChainStore, State, bool]:
    """The store and the state of its head, begun at the genesis if it is empty; whether it was not."""
    store = ChainStore(engine)
    if store.head() is None:
        _, block = genesis_documents.build(genesis_documents.parse(genesis.document))
        tables = REGISTRY.tables
        rows = [
            (table, key, tables[table].path(tables[table].decode_key(key), key), value)
            for table, key, value in genesis.state.rows()
        ]
        store.begin(genesis_step(block), base=None, rows=rows)
    if store.genesis_id() != genesis.step_hash:
        raise GenesisMismatch("the store belongs to another genesis")
    head = store.head()
    assert head is not None
    return store, store.load_state(), head[0] > 0


class ValidatorNode:
    """The running parts of one validator; owns its store."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        engine: Engine,
        key: SigningKey,
        sign_file: MemoryFile,
        fencing_epoch: int,
        provider: Provider,
        host: str,
        port: int,
        clock: Clock,
        chance: Random,
        limits: Limits,
        allow_solo: bool,
        agent: str,
        snapshots: Snapshots | None,
    ) -> None:
        store, state, has_history = open_chain(engine, genesis)
        self.clock = clock
        self.messages: Counter[tuple[str, ...]] = Counter()
        """Gossip by (direction, kind of message)."""
        self._verified, self.proofs = Verified(), Proofs()
        self.chain = Chain(
            store,
            state,
            chain=genesis.chain,
            registry=REGISTRY,
            is_verified=self._verified,
            check_proof=self.proofs,
            moved=self._head_moved,
        )
        self.signer: Signer = open_signer(
            key,
            sign_file,
            fencing_epoch=fencing_epoch,
            was_used=has_history or fencing_epoch > 1,
            now_slot=max(0, headers.compute_slot(supply.get_origin_ms(state), clock.now_ms(), genesis.chain)),
            vigil_slots=VIGIL_EPOCHS * genesis.chain.epoch_blocks,
        )
        self.pool = Mempool(
            Pool(limits),
            registry=REGISTRY,
            chain_id=genesis.chain.chain_id,
            head=self._pool_head,
            clock=clock,
            admitted=self._admitted,
        )
        local = Local(genesis.step_hash, genesis.chain.chain_id, key, chance.randbytes(NONCE_BYTES), agent)
        self.p2p = P2P(
            provider=provider, local=local, handler=_Handler(self), clock=clock, chance=chance, host=host, port=port
        )
        self.gossip = Gossip(wire=_Wire(self.p2p, self.messages), chain=_ChainPort(self), clock=clock)
        self.service = ChainService(
            self.chain,
            pool=self.pool,
            votes=VotePool(genesis.chain),
            signer=self.signer,
            net=_Net(self),
            clock=clock,
            genesis_hash=genesis.step_hash,
            allow_solo=allow_solo,
            snapshots=snapshots,
        )
        self.snapshots = snapshots

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.p2p.run())
            tasks.create_task(self.service.run())

    def close(self) -> None:
        self.signer.close()
        self.chain.store.close()

    def _head_moved(self, move: Move) -> None:
        self.service.head_moved(move)

    def _admitted(self, entry: Entry) -> None:
        self._verified.add(entry.tx)
        self.gossip.publish_tx(entry.data)
        chain = self.chain
        self.proofs.look_ahead(entry.tx, chain.state, chain.head, chain=chain.chain, registry=chain.registry)

    def _pool_head(self) -> Head:
        chain = self.chain
        base_fee = supply.get_base_fee(chain.state, chain.chain.initial_base_fee)
        return Head(chain.state, chain.head.height, base_fee, compute_gas_max(chain))


class _Handler:
    """What the sessions hand up: gossip, and requests that the chain answers."""

    def __init__(self, node: ValidatorNode) -> None:
        self._node = node

    def tip(self) -> tuple[int, bytes]:
        return self._node.chain.head.height, self._node.chain.head_id

    def joined(self, peer: Peer) -> None:
        self._node.gossip.joined(peer)

    def left(self, peer: Peer) -> None:
        pass

    def receive(self, peer: Peer, message: Message) -> None:
        self._node.messages["received", message.DESCRIPTOR.name] += 1
        try:
            self._node.gossip.receive(peer, message)
        except Misbehaved as misbehaved:
            raise Violation(misbehaved.reason, misbehaved.points) from misbehaved

    async def answer(self, peer: Peer, request: pb.Request) -> pb.Response:
        match request.WhichOneof("body"):
            case "blocks":
                return self._answer_blocks(request.blocks)
            case "snapshot":
                return self._answer_snapshot()
            case "snapshot_part":
                return self._answer_part(request.snapshot_part)
            case _:
                return pb.Response(refusal="unknown request")

    def _answer_snapshot(self) -> pb.Response:
        files = self._node.snapshots.files if self._node.snapshots else None
        height = max(files.heights(), default=0) if files else 0
        data = files.read(height) if files and height else None
        if data is None:
            return pb.Response(refusal="no snapshot")
        return pb.Response(
            snapshot=pb.SnapshotOffer(
                height=height, size=len(data), part_size=snapshot_parts.PART_BYTES, digest=blake3(data)
            )
        )

    def _answer_part(self, asked: pb.GetSnapshotPart) -> pb.Response:
        data = self._node.snapshots.files.read(asked.height) if self._node.snapshots else None
        if data is None:
            return pb.Response(refusal="no snapshot")
        return pb.Response(snapshot_part=pb.SnapshotPart(data=snapshot_parts.cut(data, asked.index)))

    def _answer_blocks(self, asked: pb.GetBlocks) -> pb.Response:
        chain = self._node.chain
        start = sync.find_start(asked.locator, chain.store.height_of)
        if start is None:
            return pb.Response(refusal="no common block")
        blocks: list[bytes] = []
        size = 0
        for height in range(start + 1, start + 1 + min(asked.limit, sync.BLOCKS_MAX)):
            data = chain.store.block_bytes(height)
            if data is None or (blocks and size + len(data) > sync.ANSWER_BYTES_MAX):
                break
            blocks.append(data)
            size += len(data)
        return pb.Response(blocks=pb.Blocks(blocks=blocks, tip_height=chain.head.height))


class _Wire:
    def __init__(self, p2p: P2P, messages: Counter[tuple[str, ...]]) -> None:
        self._p2p = p2p
        self._messages = messages

    def peers(self) -> Iterable[Peer]:
        return self._p2p.peers

    def send(self, peer: Peer, message: Message) -> None:
        self._messages["sent", message.DESCRIPTOR.name] += 1
        self._p2p.send(peer, message)


class _ChainPort:
    """The chain as gossip sees it."""

    def __init__(self, node: ValidatorNode) -> None:
        self._node = node

    def take_block(self, data: bytes) -> Taken:
        block, standing = self._node.service.take_block(data)
        return Taken(block.id, block.header.height, standing is Standing.HEAD, standing is Standing.ORPHAN)

    def take_vote(self, vote: Attestation) -> bool:
        return self._node.service.take_vote(vote)

    def take_evidence(self, evidence: Evidence) -> bool:
        return self._node.service.take_evidence(evidence)

    def submit(self, envelope: bytes) -> bytes:
        return self._node.service.submit(envelope)

    def tip(self) -> tuple[int, bytes]:
        return self._node.chain.head.height, self._node.chain.head_id

    def heard_tip(self) -> None:
        self._node.service.heard_tip()

    def pending(self) -> tuple[list[Attestation], list[Evidence]]:
        return self._node.service.pending()


class _Net:
    """The network as the chain sees it."""

    def __init__(self, node: ValidatorNode) -> None:
        self._node = node

    def publish_block(self, data: bytes, block_id: bytes, height: int) -> None:
        self._node.gossip.publish_block(data, block_id, height)

    def publish_votes(self, votes: list[Attestation]) -> None:
        self._node.gossip.publish_votes(votes)

    def publish_evidence(self, evidence: list[Evidence]) -> None:
        self._node.gossip.publish_evidence(evidence)

    def tips(self) -> list[PeerTip]:
        return [PeerTip(peer.public_key, peer.height, peer.tip_id) for peer in self._node.p2p.peers]

    def settle_tip(self, key: bytes, height: int, block_id: bytes) -> None:
        for peer in self._node.p2p.peers:
            if peer.public_key == key:
                peer.height, peer.tip_id = height, block_id

    async def fetch_blocks(self, key: bytes, locator: list[bytes], limit: int) -> list[bytes]:
        request = pb.Request(blocks=pb.GetBlocks(locator=locator, limit=limit))
        response = await self._request(key, request)
        return list(response.blocks.blocks)

    async def fetch_snapshot(self, key: bytes) -> bytes:
        offer = (await self._request(key, pb.Request(snapshot=pb.GetSnapshot()))).snapshot
        if not 0 < offer.size <= snapshot_parts.SIZE_MAX or offer.part_size != snapshot_parts.PART_BYTES:
            raise FetchFailed("the offer makes no sense")
        data = bytearray()
        for index in range(-(-offer.size // offer.part_size)):
            asked = pb.GetSnapshotPart(height=offer.height, index=index)
            data += (await self._request(key, pb.Request(snapshot_part=asked))).snapshot_part.data
        if len(data) != offer.size or blake3(bytes(data)) != offer.digest:
            raise FetchFailed("the parts are not what was offered")
        return bytes(data)

    def punish(self, key: bytes, reason: str, points: int) -> None:
        for peer in self._node.p2p.peers:
            if peer.public_key == key:
                self._node.p2p.punish(peer, reason, points)

    async def _request(self, key: bytes, request: pb.Request) -> pb.Response:
        peer = next((peer for peer in self._node.p2p.peers if peer.public_key == key), None)
        if peer is None:
            raise FetchFailed("gone")
        try:
            return await self._node.p2p.request(peer, request)
        except RequestFailed as failed:
            raise FetchFailed(str(failed)) from failed
