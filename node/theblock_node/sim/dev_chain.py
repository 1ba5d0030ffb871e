"""A chain of one validator that makes blocks when it is told to, behind the real gRPC services.

    async with dev_chain(funded=("alice",)) as dev:
        client = dev.client()
        await client.send(dev.wallet("alice"), "accounts.transfer", {...})
        dev.produce()

Core, pool, store and servicers are those of a validator; only the clock, the disk and the peers are not there.
With ``instant`` a block follows each transaction by itself, and more until it is final. For tests of whatever
talks with a chain, and for trying out a domain in a shell.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from random import Random

from theblock_node.client.chain import ChainClient
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.wallet import Wallet
from theblock_node.clock import ManualClock
from theblock_node.core import schedule
from theblock_node.core.block import Block
from theblock_node.core.crypto import SigningKey, blake3
from theblock_node.core.domain import Registry
from theblock_node.core.domains import REGISTRY, supply
from theblock_node.core.transition import propose_block
from theblock_node.roles.assembly import ValidatorNode, read_genesis
from theblock_node.rpc import domains
from theblock_node.rpc.chain import ChainBackend, ChainServicer
from theblock_node.rpc.limits import Rate
from theblock_node.rpc.node import Facts, NodeServicer, SignerFacts
from theblock_node.rpc.server import RpcServer, TlsFiles
from theblock_node.services.chain.producer import plan_turn
from theblock_node.services.chain.signer import RamFile
from theblock_node.services.mempool.pool import Entry, Limits
from theblock_node.services.p2p import messages
from theblock_node.store.chain import FAMILIES
from theblock_node.store.memory import MemoryEngine
from theblock_node.transport.memory import Faults, MemoryNetwork, MemoryProvider

START_SECONDS = 1_790_000_000
STAKE = 10**12
FUNDS = 10**15
"""nBLOCK of each funded name."""
NETWORK = "dev"
FINAL_BLOCKS_MAX = 16
"""How many blocks an instant chain adds at most to make one final."""
UNLIMITED = Rate(10**9, 10**9)


def seed_of(name: str) -> bytes:
    """The seed of the key that is called ``name``; the same every time, so never for anything of worth."""
    return blake3(b"theblock dev key " + name.encode())


def make_document(
    *,
    funded: Iterable[str] = (),
    params: Mapping[str, int] | None = None,
    preset: str = "minimal",
    overrides: Mapping[str, int] | None = None,
    time_seconds: int = START_SECONDS,
) -> bytes:
    """A genesis document with one validator, `owner` as its owner, and funds for each name."""
    owner = Wallet(seed_of("owner")).address
    names = dict.fromkeys(("owner", *funded))
    document = {
        "version": 1,
        "preset": preset,
        "chain_id": 1_000_002,
        "overrides": {name: str(value) for name, value in {"macro_interval": 2, **(overrides or {})}.items()},
        "params": {name: str(value) for name, value in (params or {}).items()},
        "time_seconds": time_seconds,
        "allocations": [{"address": Wallet(seed_of(name)).address, "amount": str(FUNDS)} for name in names],
        "funder": None,
        "validators": [
            {
                "name": "validators-0",
                "public_key": Wallet(seed_of("validators-0")).public_key.hex(),
                "owner": owner,
                "stake": str(STAKE),
            }
        ],
    }
    return json.dumps(document).encode()


class DevChain:
    """The running parts. `produce` makes blocks; the rest is there to be looked at."""

    def __init__(self, document: bytes, registry: Registry, *, instant: bool) -> None:
        genesis = read_genesis(document, pinned=None)
        self.clock = ManualClock(supply.get_origin_ms(genesis.state))
        self.registry = registry
        self.endpoint = Endpoint("", 0)
        """Where it listens; set once it does."""
        self._clients: list[ChainClient] = []
        self._wanted = asyncio.Event()
        net = MemoryNetwork(Random(0), Faults())
        self.node = _Alone(
            genesis=genesis,
            engine=MemoryEngine(FAMILIES, {}),
            key=SigningKey.from_seed(seed_of("validators-0")),
            sign_file=RamFile(),
            fencing_epoch=1,
            provider=MemoryProvider(net, "dev", bytes(32), messages.limit_of),
            host="dev",
            port=1,
            clock=self.clock,
            chance=Random(0),
            limits=Limits(),
            allow_solo=True,
            agent="dev",
            snapshots=None,
        )
        if instant:
            self.node.wanted = self._wanted
        self.chain, self.service, self.pool = self.node.chain, self.node.service, self.node.pool

    @property
    def height(self) -> int:
        return self.chain.head.height

    @property
    def final_height(self) -> int:
        return self.chain.final.height

    def wallet(self, name: str) -> Wallet:
        """The wallet of the key that is called ``name``."""
        return Wallet(seed_of(name))

    def client(self, tls: ClientTls | None = None) -> ChainClient:
        """A client of this chain; closed with it."""
        self._clients.append(ChainClient([self.endpoint], tls))
        return self._clients[-1]

    def produce(self, count: int = 1) -> None:
        """Make ``count`` blocks, each in the next slot, from what waits in the pool."""
        for _ in range(count):
            self._produce()

    def produce_until(self, height: int) -> None:
        """Make blocks until the one at ``height`` is final."""
        for _ in range(FINAL_BLOCKS_MAX + max(0, height - self.height)):
            if self.final_height >= height:
                return
            self._produce()
        raise AssertionError(f"height {height} is not final, {self.final_height} is")

    async def run(self) -> None:
        """Follow the pool until cancelled, on an instant chain."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while len(self.pool):
                before = len(self.pool)
                self.produce()
                if len(self.pool) >= before:
                    break
            self.produce_until(self.height)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        self.node.close()

    def facts(self) -> Facts:
        facts = self.service.facts()
        return Facts(
            genesis_hash=self.service.genesis_hash.hex(),
            height=facts.height,
            finalized_height=facts.finalized_height,
            in_sync=facts.in_sync,
            ready=True,
            signer=SignerFacts(facts.signer.value, facts.sign_floor, facts.fencing_epoch),
        )

    def _produce(self) -> None:
        chain, params, head, signer = self.chain, self.chain.chain, self.chain.head, self.node.signer
        own = signer.public_key
        turn = plan_turn(chain.state, params, head, own, now_ms=self.clock.now_ms(), after_slot=signer.memory.slot)
        assert turn is not None, "the only validator always has a turn"
        self.clock.advance(max(0, turn.at_ms - self.clock.now_ms()))
        offered = self.pool.select(bytes_max=params.block_bytes_max // 2, count_max=params.block_txs_max)
        votes, _ = self.service.pending()
        proposal = propose_block(
            chain.state,
            head,
            schedule.order(offered),
            timestamp_ms=max(self.clock.now_ms(), head.timestamp_ms + 1),
            proposer=own,
            attestations=votes,
            evidence=[],
            chain=params,
            registry=self.registry,
            check_proof=chain.check_proof,
        )
        block_id = Block(proposal.header, proposal.body, None).id
        signature = signer.sign_block(turn.slot, block_id)
        chain.add_own(Block(proposal.header, proposal.body, signature), proposal.applied)
        for tx, _ in proposal.left_out:
            self.pool.drop(tx.id)


class _Alone(ValidatorNode):
    """A validator that tells when its pool has taken something."""

    wanted: asyncio.Event | None = None

    def _admitted(self, entry: Entry) -> None:
        super()._admitted(entry)
        if self.wanted is not None:
            self.wanted.set()


@asynccontextmanager
async def dev_chain(
    genesis: bytes | None = None,
    *,
    funded: Iterable[str] = (),
    params: Mapping[str, int] | None = None,
    instant: bool = False,
    registry: Registry = REGISTRY,
    tls: TlsFiles | None = None,
    rate: Rate = UNLIMITED,
) -> AsyncIterator[DevChain]:
    """A chain that serves on a port of its own choice until the block is left.

    ``genesis`` is a document as every node reads it; without one, `make_document` makes it.
    """
    dev = DevChain(genesis or make_document(funded=funded, params=params), registry, instant=instant)
    server = RpcServer(
        network=NETWORK,
        host="127.0.0.1",
        port=0,
        mutual_port=0,
        health_port=None,
        tls=tls,
        services=[
            ChainServicer(dev.service, registry).service(),
            *domains.make_services(registry, ChainBackend(dev.service)),
            _node(dev, tls).service(),
        ],
        public_rate=rate,
    )
    port = await server.start()
    dev.endpoint = Endpoint("127.0.0.1", port, server.mutual_port if tls else None)
    await server.health.tell_all(True)
    follower = asyncio.create_task(dev.run())
    try:
        yield dev
        if follower.done():
            follower.result()
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        await dev.close()
        await server.stop(0)


def _node(dev: DevChain, tls: TlsFiles | None) -> NodeServicer:
    async def nothing(*_: object) -> None:
        return None

    return NodeServicer(
        role="validator", member="validators-0", facts=dev.facts, drain=nothing, handover=nothing, tls=tls
    )
