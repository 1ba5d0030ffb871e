"""Sessions with other validators: dial, accept, shake hands, keep alive, hand messages on, answer requests.

It knows nothing of what the messages say: `Handler` does (services/gossip). A peer that breaks the protocol
loses its session and, past a score, may not return for a minute.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import structlog
from google.protobuf.message import DecodeError, Message

from theblock_node.clock import Clock
from theblock_node.pb.theblock.p2p.v2 import p2p_pb2 as pb
from theblock_node.services.p2p import handshake, messages
from theblock_node.services.p2p.handshake import Local, Refused
from theblock_node.services.p2p.peers import Book, Bucket, PeerAddress, compute_backoff_ms
from theblock_node.transport.provider import (
    CloseCode,
    DialFailed,
    Frame,
    Listener,
    Provider,
    Session,
    SessionBusy,
    SessionClosed,
)

HANDSHAKE_TIMEOUT_S = 5.0
DIAL_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 15.0
QUIET_PING_S = 6.0
"""After so long without a word from a peer it is asked for one."""
QUIET_DEAD_S = 18.0
LIVENESS_PERIOD_S = 4.0
PEERS_MAX = 128
ANSWERS_MAX = 4
"""Requests of one peer that are answered at a time; more are refused."""
MESSAGES_PER_S, MESSAGES_BURST = 400, 2000
BYTES_PER_S, BYTES_BURST = 8 * 2**20, 64 * 2**20

log = structlog.get_logger("p2p")


class Violation(Exception):
    """A peer's message breaks the protocol; ``points`` count towards a ban (100)."""

    def __init__(self, reason: str, points: int = 100) -> None:
        super().__init__(reason, points)
        self.reason = reason
        self.points = points


class RequestFailed(Exception):
    """No usable answer came; ask someone else."""


class Handler(Protocol):
    """What is done with what peers say."""

    def tip(self) -> tuple[int, bytes]:
        """Our height and block id, for Hello."""
        ...

    def joined(self, peer: Peer) -> None: ...

    def left(self, peer: Peer) -> None: ...

    def receive(self, peer: Peer, message: Message) -> None:
        """Act on a message; `Violation` if it should not have been sent."""
        ...

    async def answer(self, peer: Peer, request: pb.Request) -> pb.Response: ...


@dataclass(eq=False, slots=True)
class Peer:
    """One live session with a node that proved its key."""

    public_key: bytes
    instance: bytes
    agent: str
    session: Session
    height: int
    """Of its tip, as it last told."""
    tip_id: bytes
    heard_at: float = 0.0
    messages: Bucket = field(default_factory=lambda: Bucket(MESSAGES_PER_S, MESSAGES_BURST))
    bytes_: Bucket = field(default_factory=lambda: Bucket(BYTES_PER_S, BYTES_BURST))
    pending: dict[int, asyncio.Future[pb.Response]] = field(default_factory=dict)
    answering: int = 0

    @property
    def name(self) -> str:
        return self.public_key.hex()[:12]


class P2P:
    def __init__(
        self,
        *,
        provider: Provider,
        local: Local,
        handler: Handler,
        clock: Clock,
        chance: Random,
        host: str,
        port: int,
    ) -> None:
        self._provider = provider
        self._local = local
        self._handler = handler
        self._clock = clock
        self._chance = chance
        self._host = host
        self._port = port
        self._peers: dict[bytes, Peer] = {}
        self._gone: dict[bytes, asyncio.Event] = {}
        self._book = Book()
        self._addresses: list[PeerAddress] = []
        self._addresses_changed = asyncio.Event()
        self._request_ids = itertools.count(1)
        self._handshakes = 0

    @property
    def peers(self) -> list[Peer]:
        """Live peers by public key."""
        return [self._peers[key] for key in sorted(self._peers)]

    def set_addresses(self, addresses: list[PeerAddress]) -> None:
        """Whom to stay connected to from now on."""
        self._addresses = addresses
        self._addresses_changed.set()

    def send(self, peer: Peer, message: Message) -> None:
        """Send if the peer can take it; gossip that cannot be sent is dropped."""
        found = messages.type_of(message)
        try:
            peer.session.send(found.lane, found.number, message.SerializeToString())
        except (SessionBusy, SessionClosed):
            log.debug("dropped", peer=peer.name, message=found.record.__name__)

    async def request(self, peer: Peer, request: pb.Request) -> pb.Response:
        """Ask ``peer``; `RequestFailed` if it refuses, is silent or goes."""
        request.id = next(self._request_ids)
        future: asyncio.Future[pb.Response] = asyncio.get_running_loop().create_future()
        peer.pending[request.id] = future
        try:
            found = messages.type_of(request)
            peer.session.send(found.lane, found.number, request.SerializeToString())
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                response = await future
        except (SessionBusy, SessionClosed) as failed:
            raise RequestFailed("not sent") from failed
        except TimeoutError as failed:
            raise RequestFailed("no answer in time") from failed
        finally:
            peer.pending.pop(request.id, None)
        if response.refusal:
            raise RequestFailed(response.refusal)
        return response

    def punish(self, peer: Peer, reason: str, points: int) -> None:
        """Count against a peer, and end its session where that bans it."""
        banned = self._book.penalize(peer.public_key, points, self._clock.now_ms())
        log.warning("peer misbehaved", peer=peer.name, reason=reason, points=points, banned=banned)
        if banned:
            peer.session.close(CloseCode.BANNED, reason)

    async def run(self) -> None:
        """Listen and dial until cancelled; sessions end with it."""
        listener = await self._provider.listen(self._host, self._port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._accept(listener, tasks))
                tasks.create_task(self._keep_addresses(tasks))
                tasks.create_task(self._watch_liveness())
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    for peer in self.peers:
                        peer.session.close(CloseCode.GOING_AWAY)
        finally:
            await listener.close()

    async def _accept(self, listener: Listener, tasks: asyncio.TaskGroup) -> None:
        while True:
            session = await listener.accept()
            if len(self._peers) + self._handshakes >= PEERS_MAX:
                session.close(CloseCode.RATE_LIMITED, "too_many")
                continue
            tasks.create_task(self._serve(session, self._shake_as_acceptor, tasks))

    async def _keep_addresses(self, tasks: asyncio.TaskGroup) -> None:
        """One task for each address, started and ended as the list changes."""
        keepers: dict[PeerAddress, asyncio.Task[None]] = {}
        while True:
            self._addresses_changed.clear()
            for address in [address for address in keepers if address not in self._addresses]:
                keepers.pop(address).cancel()
            for address in self._addresses:
                if address not in keepers:
                    keepers[address] = tasks.create_task(self._keep(address, tasks))
            await self._addresses_changed.wait()

    async def _keep(self, address: PeerAddress, tasks: asyncio.TaskGroup) -> None:
        """Stay connected to one address: dial, and dial again with back-off."""
        failures = 0
        key = address.public_key
        if key is not None and key < self._local.key.public_key:
            await self._sleep(compute_backoff_ms(1, self._chance))  # The smaller key dials; we only if it does not.
        while True:
            if key is not None and key in self._peers:
                failures = 0
                await self._gone.setdefault(key, asyncio.Event()).wait()
                await self._sleep(compute_backoff_ms(0, self._chance))
                continue
            try:
                session = await self._provider.connect(address.host, address.port, timeout_s=DIAL_TIMEOUT_S)
            except DialFailed as failed:
                log.debug("dial failed", host=address.host, port=address.port, reason=str(failed))
            else:
                shake = self._shake_as_dialer(key)
                if await self._serve(session, shake, tasks):
                    failures = 0
            await self._sleep(compute_backoff_ms(failures, self._chance))
            failures += 1

    async def _sleep(self, duration_ms: int) -> None:
        await asyncio.sleep(duration_ms / 1000)

    async def _serve(
        self, session: Session, shake: Callable[[Session], Awaitable[Peer]], tasks: asyncio.TaskGroup
    ) -> bool:
        """Shake hands and run the session to its end; whether there was one."""
        self._handshakes += 1
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                peer = await shake(session)
            self._register(peer)
        except Refused as refused:
            log.info("handshake refused", remote=session.remote, reason=refused.reason)
            session.close(refused.code, refused.reason)
            return False
        except TimeoutError:
            session.close(CloseCode.NONE, "handshake timeout")
            return False
        except (SessionClosed, SessionBusy):
            return False
        except asyncio.CancelledError:
            session.close(CloseCode.GOING_AWAY)
            raise
        finally:
            self._handshakes -= 1
        try:
            await self._read(peer, tasks)
        finally:
            self._unregister(peer)
            session.close(CloseCode.GOING_AWAY)
        return True

    async def _read(self, peer: Peer, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                frame = await peer.session.receive()
            except SessionClosed:
                return
            peer.heard_at = loop.time()
            try:
                self._take(peer, frame, tasks)
            except Violation as violation:
                self.punish(peer, violation.reason, violation.points)

    def _take(self, peer: Peer, frame: Frame, tasks: asyncio.TaskGroup) -> None:
        now_ms = self._clock.now_ms()
        if not (peer.messages.take(1, now_ms) and peer.bytes_.take(len(frame.payload), now_ms)):
            raise Violation("rate_limit", 5)
        try:
            message = messages.decode(frame.type, frame.payload)
        except messages.Malformed as refused:
            raise Violation("malformed") from refused
        match message:
            case None | pb.Pong():
                pass
            case pb.Ping():
                self.send(peer, pb.Pong(nonce=message.nonce))
            case pb.Request():
                if peer.answering >= ANSWERS_MAX:
                    self.send(peer, pb.Response(id=message.id, refusal="busy"))
                    return
                peer.answering += 1
                tasks.create_task(self._answer(peer, message))
            case pb.Response():
                future = peer.pending.get(message.id)
                if future is not None and not future.done():
                    future.set_result(message)
            case pb.Hello() | pb.HelloAck() | pb.HelloConfirm():
                raise Violation("malformed")
            case _:
                self._handler.receive(peer, message)

    async def _answer(self, peer: Peer, request: pb.Request) -> None:
        try:
            response = await self._handler.answer(peer, request)
            response.id = request.id
            self.send(peer, response)
        except Violation as violation:
            self.punish(peer, violation.reason, violation.points)
        finally:
            peer.answering -= 1

    async def _watch_liveness(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LIVENESS_PERIOD_S)
            for peer in self.peers:
                quiet = loop.time() - peer.heard_at
                if quiet > QUIET_DEAD_S:
                    peer.session.close(CloseCode.NONE, "silent")
                elif quiet > QUIET_PING_S:
                    self.send(peer, pb.Ping(nonce=self._chance.getrandbits(32)))

    def _register(self, peer: Peer) -> None:
        old = self._peers.get(peer.public_key)
        if old is not None:
            keep_new = handshake.judge_duplicate(
                self._local.key.public_key,
                peer.public_key,
                new_is_ours=peer.session.is_dialer,
                old_is_ours=old.session.is_dialer,
                same_instance=old.instance == peer.instance,
            )
            if not keep_new:
                raise Refused("duplicate")
            self._unregister(old)
            old.session.close(CloseCode.DUPLICATE, "replaced")
        peer.heard_at = asyncio.get_running_loop().time()
        self._peers[peer.public_key] = peer
        log.info("peer joined", peer=peer.name, remote=peer.session.remote, height=peer.height)
        self._handler.joined(peer)

    def _unregister(self, peer: Peer) -> None:
        if self._peers.get(peer.public_key) is not peer:
            return
        del self._peers[peer.public_key]
        self._gone.pop(peer.public_key, asyncio.Event()).set()
        for future in peer.pending.values():
            if not future.done():
                future.set_result(pb.Response(refusal="gone"))
        log.info("peer left", peer=peer.name)
        self._handler.left(peer)

    def _make_hello(self) -> pb.Hello:
        height, tip_id = self._handler.tip()
        nonce = self._chance.randbytes(handshake.NONCE_BYTES)
        return handshake.make_hello(
            self._local, nonce=nonce, tip_height=height, tip_id=tip_id, now_ms=self._clock.now_ms()
        )

    def _check(self, hello: pb.Hello, expected: bytes | None) -> None:
        handshake.check_hello(self._local, hello)
        if expected is not None and hello.public_key != expected:
            raise Refused("identity")
        if self._book.is_banned(hello.public_key, self._clock.now_ms()):
            raise Refused("banned")

    def _shake_as_dialer(self, expected: bytes | None) -> Callable[[Session], Awaitable[Peer]]:
        async def shake(session: Session) -> Peer:
            own = self._make_hello().SerializeToString()
            _send(session, pb.Hello, own)
            ack = pb.HelloAck()
            _parse(ack, await _receive(session, pb.HelloAck))
            if ack.refusal:
                raise Refused(ack.refusal if ack.refusal in ("banned", "duplicate", "too_many") else "refused")
            hello = pb.Hello()
            _parse(hello, ack.hello)
            self._check(hello, expected)
            fingerprint, genesis = session.server_fingerprint, self._local.genesis_hash
            theirs = handshake.binding(genesis, own, ack.hello, fingerprint, by_dialer=False)
            handshake.check_binding(hello.public_key, theirs, ack.binding)
            ours = handshake.binding(genesis, own, ack.hello, fingerprint, by_dialer=True)
            confirm = pb.HelloConfirm(binding=self._local.key.sign(ours))
            _send(session, pb.HelloConfirm, confirm.SerializeToString())
            return _peer(hello, session)

        return shake

    async def _shake_as_acceptor(self, session: Session) -> Peer:
        theirs = await _receive(session, pb.Hello)
        hello = pb.Hello()
        try:
            _parse(hello, theirs)
            self._check(hello, None)
        except Refused as refused:
            ack = pb.HelloAck(refusal=refused.reason, min_backoff_ms=handshake.REJECT_BACKOFF_MS)
            _send(session, pb.HelloAck, ack.SerializeToString())
            raise
        own = self._make_hello().SerializeToString()
        fingerprint, genesis = session.server_fingerprint, self._local.genesis_hash
        ours = handshake.binding(genesis, theirs, own, fingerprint, by_dialer=False)
        ack = pb.HelloAck(hello=own, binding=self._local.key.sign(ours))
        _send(session, pb.HelloAck, ack.SerializeToString())
        confirm = pb.HelloConfirm()
        _parse(confirm, await _receive(session, pb.HelloConfirm))
        message = handshake.binding(genesis, theirs, own, fingerprint, by_dialer=True)
        handshake.check_binding(hello.public_key, message, confirm.binding)
        return _peer(hello, session)


def _send(session: Session, record: type[Message], payload: bytes) -> None:
    found = messages.BY_RECORD[record]
    session.send(found.lane, found.number, payload)


async def _receive(session: Session, record: type[Message]) -> bytes:
    """The payload of the next frame, which must be a ``record``."""
    frame = await session.receive()
    if frame.type != messages.BY_RECORD[record].number:
        raise Refused("malformed")
    return frame.payload


def _parse(message: Message, payload: bytes) -> None:
    try:
        message.ParseFromString(payload)
    except DecodeError as refused:
        raise Refused("malformed") from refused


def _peer(hello: pb.Hello, session: Session) -> Peer:
    return Peer(
        public_key=hello.public_key,
        instance=hello.instance,
        agent=hello.agent,
        session=session,
        height=hello.tip_height,
        tip_id=hello.tip_id,
    )
