"""A network of validators in one process, from a seed: the same parts as in a pod, over memory and virtual time.

    run_virtual(scenario(Network(seed=7, count=4)))

A node's disk (engine image and sign-state) outlives its crash. `check_safety` reads what every disk calls final;
two blocks at one height is the one thing that must never be.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from theblock_node.clock import LoopClock
from theblock_node.core.address import address_of
from theblock_node.core.crypto import SigningKey, blake3
from theblock_node.roles.assembly import Genesis, ValidatorNode, read_genesis
from theblock_node.services.chain.service import Snapshots
from theblock_node.services.chain.signer import RamFile
from theblock_node.services.mempool.pool import Limits
from theblock_node.services.p2p import messages
from theblock_node.services.p2p.peers import PeerAddress
from theblock_node.store.chain import FAMILIES, ChainStore
from theblock_node.store.memory import Image, MemoryEngine
from theblock_node.transport.memory import Faults, MemoryNetwork, MemoryProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PORT = 26_656
START_SECONDS = 1_790_000_000
BEFORE_START_MS = 2000
STAKE = 1_000_000_000_000


class SafetyViolation(AssertionError):
    """Two blocks at one height are final."""


@dataclass(slots=True)
class Disk:
    """What survives a crash."""

    image: Image = field(default_factory=dict)
    sign_file: RamFile = field(default_factory=RamFile)


@dataclass(slots=True)
class Member:
    """One process that may run: a key, a host, a disk."""

    host: str
    key: SigningKey
    disk: Disk = field(default_factory=Disk)
    fencing_epoch: int = 1
    node: ValidatorNode | None = None
    task: asyncio.Task[None] | None = None


def make_genesis(keys: list[SigningKey], *, preset: str = "minimal", funded: tuple[str, ...] = ()) -> bytes:
    """A genesis document in which each key is a validator with an equal stake."""
    validators = [
        {
            "name": f"validators-{number}",
            "public_key": key.public_key.hex(),
            "owner": address_of(key.public_key),
            "stake": str(STAKE),
        }
        for number, key in enumerate(keys)
    ]
    document = {
        "version": 1,
        "preset": preset,
        "chain_id": 1_000_002,
        "overrides": {},
        "params": {},
        "time_seconds": START_SECONDS,
        "allocations": [{"address": address, "amount": str(10**12)} for address in funded],
        "funder": None,
        "validators": validators,
    }
    return json.dumps(document).encode()


class Network:
    def __init__(self, *, seed: int, count: int, faults: Faults | None = None, funded: tuple[str, ...] = ()) -> None:
        self.chance = Random(seed)
        self.net = MemoryNetwork(Random(seed + 1), faults or Faults(latency_ms=(1, 40)))
        keys = [SigningKey.from_seed(blake3(f"validator {number}".encode())) for number in range(count)]
        self.genesis: Genesis = read_genesis(make_genesis(keys, funded=funded), pinned=None)
        self.members = [Member(f"host-{number}", key) for number, key in enumerate(keys)]
        self.prepare: Callable[[Member], None] = lambda _member: None
        """Called with each member just before it runs: the place for a planted fault."""
        self.snapshots: Callable[[Member], Snapshots | None] = lambda _member: None

    def add(self, member: Member) -> Member:
        """Add a process, for instance a second one with a key that another has."""
        self.members.append(member)
        return member

    def start(self, member: Member) -> None:
        """Run a member on its disk as it stands."""
        assert member.task is None
        member.node = ValidatorNode(
            genesis=self.genesis,
            engine=MemoryEngine(FAMILIES, member.disk.image),
            key=member.key,
            sign_file=member.disk.sign_file,
            fencing_epoch=member.fencing_epoch,
            provider=MemoryProvider(self.net, member.host, blake3(member.host.encode()), messages.limit_of),
            host=member.host,
            port=PORT,
            clock=LoopClock(START_SECONDS * 1000 - BEFORE_START_MS),
            chance=Random(self.chance.getrandbits(64)),
            limits=Limits(),
            allow_solo=False,
            agent="sim",
            snapshots=self.snapshots(member),
        )
        member.node.p2p.set_addresses(
            [
                PeerAddress(other.host, PORT, other.key.public_key)
                for other in self.members
                if other.key is not member.key
            ]
        )
        self.prepare(member)
        member.task = asyncio.create_task(member.node.run())

    async def crash(self, member: Member) -> None:
        """End a member at once; only its disk stays."""
        assert member.task is not None
        member.task.cancel()
        await asyncio.gather(member.task, return_exceptions=True)
        member.task = member.node = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Network]:
        """All members, from start to end; an error in one is raised here."""
        for member in self.members:
            self.start(member)
        try:
            yield self
        finally:
            for member in self.members:
                if member.task is not None:
                    await self.crash(member)

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and fail with what a member failed of."""
        await asyncio.sleep(seconds)
        for member in self.members:
            if member.task is not None and member.task.done():
                member.task.result()

    async def wait(self, condition: Callable[[], bool], *, limit_s: float) -> float:
        """Seconds until ``condition`` held; TimeoutError after the limit."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while not condition():
            if loop.time() - started > limit_s:
                raise TimeoutError(f"not within {limit_s} s: heights {self.heights()}, final {self.final_heights()}")
            await self.sleep(0.25)
        return loop.time() - started

    def heights(self) -> list[int]:
        return [member.node.chain.head.height for member in self.members if member.node]

    def final_heights(self) -> list[int]:
        return [member.node.chain.final.height for member in self.members if member.node]

    def check_safety(self) -> int:
        """Refuse two final blocks at one height on any two disks; the highest height that was compared."""
        final: dict[int, tuple[bytes, str]] = {}
        for member in self.members:
            for height, block_id in _final_ids(member):
                known, host = final.setdefault(height, (block_id, member.host))
                if known != block_id:
                    raise SafetyViolation(
                        f"height {height}: {known.hex()} on {host}, {block_id.hex()} on {member.host}"
                    )
        return max(final, default=0)


def _final_ids(member: Member) -> list[tuple[int, bytes]]:
    if member.node is None:
        return []
    store: ChainStore = member.node.chain.store
    found = []
    for height in range(store.base_height(), member.node.chain.final.height + 1):
        outcomes = store.outcomes(height)
        assert outcomes is not None
        found.append((height, outcomes.block_id))
    return found
