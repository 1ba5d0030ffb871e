"""Sessions between validators over the memory transport, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from random import Random

import pytest
from theblock_node.clock import LoopClock
from theblock_node.core.crypto import SigningKey, blake3
from theblock_node.pb.theblock.p2p.v2 import p2p_pb2 as pb
from theblock_node.services.p2p import handshake, messages
from theblock_node.services.p2p.handshake import Local, Refused, judge_duplicate
from theblock_node.services.p2p.peers import Book, Bucket, PeerAddress, compute_backoff_ms, parse_peers
from theblock_node.services.p2p.service import P2P, Peer, RequestFailed, Violation
from theblock_node.sim.loop import run_virtual
from theblock_node.transport.memory import MemoryNetwork, MemoryProvider
from theblock_node.transport.provider import Lane

PORT = 26_656
GENESIS = blake3(b"genesis")


@dataclass
class Recorder:
    got: list[tuple[Peer, object]] = field(default_factory=list)

    def tip(self):
        return 0, bytes(32)

    def joined(self, peer):
        pass

    def left(self, peer):
        pass

    def receive(self, peer, message):
        if isinstance(message, pb.BlockMessage) and message.block == b"bad":
            raise Violation("bad block")
        self.got.append((peer, message))

    async def answer(self, peer, request):
        if request.blocks.limit == 0:
            return pb.Response(refusal="nothing")
        return pb.Response(blocks=pb.Blocks(tip_height=7))


class Node:
    def __init__(self, network, number, *, genesis=GENESIS, fingerprint=None):
        self.host = f"node-{number}"
        self.key = SigningKey.from_seed(bytes([number]) * 32)
        self.handler = Recorder()
        provider = MemoryProvider(network, self.host, fingerprint or blake3(self.host.encode()), messages.limit_of)
        local = Local(genesis, 7, self.key, bytes([number]) * 16, "test")
        chance = Random(number)
        self.provider = provider
        self.p2p = P2P(
            provider=provider,
            local=local,
            handler=self.handler,
            clock=LoopClock(10**9),
            chance=chance,
            host="",
            port=PORT,
        )

    @property
    def address(self):
        return PeerAddress(self.host, PORT, self.key.public_key)

    def names(self):
        return [peer.public_key for peer in self.p2p.peers]


@contextlib.asynccontextmanager
async def running(*nodes):
    for node in nodes:
        node.p2p.set_addresses([other.address for other in nodes if other is not node])
    tasks = [asyncio.create_task(node.p2p.run()) for node in nodes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_until(condition, limit_s=60.0):
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.05)


def test_four_nodes_end_with_one_session_each_and_talk():
    async def main():
        network = MemoryNetwork()
        network.faults.latency_ms = (5, 40)
        nodes = [Node(network, number) for number in range(1, 5)]
        async with running(*nodes):
            await wait_until(lambda: all(len(node.p2p.peers) == 3 for node in nodes))
            await asyncio.sleep(60)
            assert all(len(node.p2p.peers) == 3 for node in nodes)
            for peer in nodes[0].p2p.peers:
                nodes[0].p2p.send(peer, pb.Tip(height=9, block_id=bytes(32)))
            await wait_until(lambda: all(len(node.handler.got) == 1 for node in nodes[1:]))
            peer = nodes[0].p2p.peers[0]
            assert (await nodes[0].p2p.request(peer, pb.Request(blocks=pb.GetBlocks(limit=1)))).blocks.tip_height == 7
            with pytest.raises(RequestFailed):
                await nodes[0].p2p.request(peer, pb.Request(blocks=pb.GetBlocks(limit=0)))

    run_virtual(main())


def test_a_partition_that_heals_ends_joined_again():
    async def main():
        network = MemoryNetwork()
        one, two = Node(network, 1), Node(network, 2)
        async with running(one, two):
            await wait_until(lambda: one.names() and two.names())
            network.cut([one.host])
            await wait_until(lambda: not one.names() and not two.names())
            network.heal()
            await wait_until(lambda: one.names() and two.names())

    run_virtual(main())


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param({"genesis": blake3(b"other")}, id="other-genesis"),
        pytest.param({"number": 3}, id="not-the-key-that-was-dialed"),
    ],
)
def test_strangers_never_join(stranger):
    async def main():
        network = MemoryNetwork()
        one = Node(network, 1)
        two = Node(network, **{"number": 2, **stranger})
        expected = PeerAddress(two.host, PORT, SigningKey.from_seed(bytes([2]) * 32).public_key)
        async with running(one):
            task = asyncio.create_task(two.p2p.run())
            one.p2p.set_addresses([expected])
            await asyncio.sleep(30)
            assert not one.names()
            assert not two.names()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run_virtual(main())


def test_someone_in_the_middle_is_found_out():
    """The relay passes every frame on unchanged; only its certificate differs from the true one."""

    async def main():
        network = MemoryNetwork()
        one, two = Node(network, 1), Node(network, 2)
        middle = MemoryProvider(network, "middle", blake3(b"middle"), messages.limit_of)

        async def relay():
            listener = await middle.listen("middle", PORT)
            near = await listener.accept()
            far = await middle.connect(two.host, PORT, timeout_s=5)

            async def pump(source, target):
                while True:
                    frame = await source.receive()
                    target.send(frame.lane, frame.type, frame.payload)

            await asyncio.gather(pump(near, far), pump(far, near), return_exceptions=True)

        async with running(one, two):
            two.p2p.set_addresses([])
            one.p2p.set_addresses([PeerAddress("middle", PORT, two.key.public_key)])
            task = asyncio.create_task(relay())
            await asyncio.sleep(30)
            assert not one.names()
            assert not two.names()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run_virtual(main())


@pytest.mark.parametrize(
    ("lane", "number", "payload"),
    [
        pytest.param(Lane.GOSSIP, 0x0203, b"\xff\xff\xff", id="not-the-message"),
        pytest.param(Lane.GOSSIP, 0x0203, pb.BlockMessage(block=b"bad").SerializeToString(), id="bad-block"),
        pytest.param(Lane.GOSSIP, 0x0001, b"", id="second-hello"),
    ],
)
def test_garbage_bans_for_a_while(lane, number, payload):
    async def main():
        network = MemoryNetwork()
        one, two = Node(network, 1), Node(network, 2)
        async with running(one, two):
            await wait_until(lambda: one.names() and two.names())
            two.p2p.peers[0].session.send(lane, number, payload)
            await wait_until(lambda: not one.names())
            await asyncio.sleep(30)
            assert not one.names()
            await wait_until(lambda: one.names(), 120)

    run_virtual(main())


def test_unknown_types_are_skipped_and_a_flood_is_punished():
    async def main():
        network = MemoryNetwork()
        one, two = Node(network, 1), Node(network, 2)
        async with running(one, two):
            await wait_until(lambda: one.names() and two.names())
            two.p2p.peers[0].session.send(Lane.GOSSIP, 0x7777, b"from the future")
            await asyncio.sleep(1)
            assert one.names()
            for _ in range(50):
                for _ in range(500):
                    with contextlib.suppress(Exception):
                        two.p2p.peers[0].session.send(Lane.GOSSIP, 0x0206, b"")
                await asyncio.sleep(0.01)
            assert not one.names()

    run_virtual(main())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"genesis_hash": bytes(32)}, "bad_network", id="genesis"),
        pytest.param({"chain_id": 8}, "bad_network", id="chain"),
        pytest.param({"wire_max": 1, "genesis_hash": GENESIS}, "old_proto", id="old"),
        pytest.param({"wire_min": 9, "wire_max": 9}, "new_proto", id="new"),
        pytest.param({"nonce": b"short"}, "malformed", id="nonce"),
        pytest.param({"public_key": SigningKey.from_seed(bytes(32)).public_key}, "self", id="self"),
    ],
)
def test_a_hello_is_refused(change, reason):
    local = Local(GENESIS, 7, SigningKey.from_seed(bytes(32)), bytes(16), "test")
    other = Local(GENESIS, 7, SigningKey.from_seed(b"o" * 32), bytes(16), "test")
    hello = handshake.make_hello(other, nonce=bytes(16), tip_height=0, tip_id=bytes(32), now_ms=0)
    handshake.check_hello(local, hello)
    for name, value in change.items():
        setattr(hello, name, value)
    with pytest.raises(Refused) as refused:
        handshake.check_hello(local, hello)
    assert refused.value.reason == reason


def test_both_ends_keep_the_same_of_two_sessions():
    for own, other in ((b"a", b"b"), (b"b", b"a")):
        keeps_dialed = judge_duplicate(own, other, new_is_ours=True, old_is_ours=False, same_instance=True)
        keeps_accepted = judge_duplicate(own, other, new_is_ours=False, old_is_ours=True, same_instance=True)
        assert keeps_dialed == (own < other)
        assert keeps_accepted == (other < own)
    assert judge_duplicate(b"a", b"b", new_is_ours=False, old_is_ours=True, same_instance=False)


def test_peers_are_the_other_validators():
    data = (
        b'{"peers":[{"name":"v-0","role":"validator","resource":"v","host":"h0","p2p":1,"grpc":2,"peer_id":"00"},'
        b'{"name":"v-1","role":"validator","resource":"v","host":"h1","p2p":1,"grpc":2,"peer_id":"01"},'
        b'{"name":"s-0","role":"storage_provider","resource":"s","host":"h2","p2p":1,"grpc":2,"peer_id":"02"}]}'
    )
    found = parse_peers(data, own_key=b"\x00", bootstrap=("seed:9",))
    assert found == [PeerAddress("h1", 1, b"\x01"), PeerAddress("seed", 9, None)]


def test_backoff_doubles_to_its_cap():
    waits = [compute_backoff_ms(failures, Random(1)) for failures in (0, 1, 2, 30)]
    assert [round(wait, -3) for wait in waits[2:]] == [2000, 20_000] or waits[3] <= 24_000
    assert waits == sorted(waits)


def test_conduct_is_forgiven_with_time_and_bans_end():
    book, key = Book(), b"k"
    assert not book.penalize(key, 60, 0)
    assert not book.penalize(key, 60, 60_000)
    assert book.penalize(key, 60, 60_001)
    assert book.is_banned(key, 60_002)
    assert not book.is_banned(key, 60_001 + 60_000)


def test_a_bucket_refills():
    bucket = Bucket(rate_per_s=10, burst=20)
    assert bucket.take(20, 0)
    assert not bucket.take(6, 500)
    assert bucket.take(10, 1000)
