"""Sessions inside one process, with faults from a seed: the twin of QUIC for tests and the simulator.

Frames arrive in order after the link's latency. A frame may be lost where QUIC would have repeated it: what is
built above must bear that. `MemoryNetwork.cut` parts hosts; their sessions stay, silent, until they time out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from theblock_node.transport.inbox import Inbox
from theblock_node.transport.provider import (
    SEND_BYTES_MAX,
    CloseCode,
    DialFailed,
    Frame,
    FrameError,
    Lane,
    LimitOf,
    Listener,
    Session,
    SessionBusy,
    SessionClosed,
    Splitter,
    encode_frame,
)


@dataclass(slots=True)
class Faults:
    latency_ms: tuple[int, int] = (0, 0)
    """Least and most, one way."""
    loss_ppm: int = 0
    """Frames lost, in parts per million; the handshake of the transport itself is never lost."""


@dataclass(slots=True)
class MemoryNetwork:
    """The hosts of one process that can reach each other."""

    chance: Random = field(default_factory=lambda: Random(0))
    faults: Faults = field(default_factory=Faults)
    listeners: dict[tuple[str, int], _MemoryListener] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    """host -> side of the partition; hosts that are not named are on side 0."""

    def cut(self, *sides: Iterable[str]) -> None:
        """Part the hosts of each side from all others."""
        self.groups = {host: number for number, side in enumerate(sides, start=1) for host in side}

    def heal(self) -> None:
        self.groups = {}

    def is_reachable(self, one: str, other: str) -> bool:
        return self.groups.get(one, 0) == self.groups.get(other, 0)

    def drops(self) -> bool:
        return self.faults.loss_ppm > 0 and self.chance.randrange(1_000_000) < self.faults.loss_ppm

    def latency_s(self) -> float:
        low, high = self.faults.latency_ms
        return self.chance.randint(low, high) / 1000 if high else 0.0


class MemoryProvider:
    def __init__(self, network: MemoryNetwork, host: str, fingerprint: bytes, limit_of: LimitOf) -> None:
        self._network = network
        self._host = host
        self._fingerprint = fingerprint
        self._limit_of = limit_of

    async def listen(self, host: str, port: int) -> Listener:
        if (self._host, port) in self._network.listeners:
            raise OSError(f"{self._host}:{port} is taken")
        made = _MemoryListener(self._network, (self._host, port), self._fingerprint, self._limit_of)
        self._network.listeners[self._host, port] = made
        return made

    async def connect(self, host: str, port: int, *, timeout_s: float) -> Session:
        await asyncio.sleep(self._network.latency_s())
        listener = self._network.listeners.get((host, port))
        if listener is None or not self._network.is_reachable(self._host, host):
            raise DialFailed("unreachable")
        near = _MemorySession(self._network, self._host, host, listener.fingerprint, self._limit_of, is_dialer=True)
        far = _MemorySession(self._network, host, self._host, listener.fingerprint, listener.limit_of, is_dialer=False)
        near.other, far.other = far, near
        listener.offer(far)
        return near


class _MemoryListener:
    def __init__(self, network: MemoryNetwork, address: tuple[str, int], fingerprint: bytes, limit_of: LimitOf) -> None:
        self._network = network
        self._address = address
        self._waiting: asyncio.Queue[Session] = asyncio.Queue(64)
        self._sessions: list[_MemorySession] = []
        self.fingerprint = fingerprint
        self.limit_of = limit_of

    def offer(self, session: _MemorySession) -> None:
        self._sessions = [*(kept for kept in self._sessions if kept.is_open), session]
        try:
            self._waiting.put_nowait(session)
        except asyncio.QueueFull:
            session.close(CloseCode.RATE_LIMITED, "too many new sessions")

    async def accept(self) -> Session:
        return await self._waiting.get()

    async def close(self) -> None:
        self._network.listeners.pop(self._address, None)
        for session in self._sessions:
            session.close(CloseCode.GOING_AWAY)


class _MemorySession:
    def __init__(
        self,
        network: MemoryNetwork,
        host: str,
        remote: str,
        server_fingerprint: bytes,
        limit_of: LimitOf,
        *,
        is_dialer: bool,
    ) -> None:
        self._network = network
        self._host = host
        self._remote = remote
        self._server_fingerprint = server_fingerprint
        self._is_dialer = is_dialer
        self._inbox = Inbox()
        self._splitters = {lane: Splitter(lane, limit_of) for lane in Lane}
        self._arrives_at = 0.0
        self._under_way = 0
        self._pipe: deque[Callable[[], None]] = deque()
        self.other: _MemorySession | None = None

    @property
    def is_dialer(self) -> bool:
        return self._is_dialer

    @property
    def is_open(self) -> bool:
        return self._inbox.ended is None

    @property
    def remote(self) -> str:
        return self._remote

    @property
    def server_fingerprint(self) -> bytes:
        return self._server_fingerprint

    def send(self, lane: Lane, type_: int, payload: bytes) -> None:
        if self._inbox.ended is not None:
            raise SessionClosed(self._inbox.ended.code, self._inbox.ended.reason)
        if self._under_way + len(payload) > SEND_BYTES_MAX:
            raise SessionBusy
        if not self._network.is_reachable(self._host, self._remote) or self._network.drops():
            return
        self._under_way += len(payload)
        self._later(lambda: self._deliver(lane, encode_frame(type_, payload), len(payload)))

    async def receive(self) -> Frame:
        return await self._inbox.get()

    def close(self, code: CloseCode, reason: str = "") -> None:
        if self._inbox.ended is not None:
            return
        self._inbox.end(code, reason)
        other = self.other
        if other is not None and self._network.is_reachable(self._host, self._remote):
            self._later(lambda: other._inbox.end(code, reason))

    def _later(self, act: Callable[[], None]) -> None:
        """Run ``act`` after the link's latency, never before what was sent earlier."""
        loop = asyncio.get_running_loop()
        self._arrives_at = max(self._arrives_at, loop.time() + self._network.latency_s())
        self._pipe.append(act)
        loop.call_at(self._arrives_at, lambda: self._pipe.popleft()())

    def _deliver(self, lane: Lane, data: bytes, size: int) -> None:
        self._under_way -= size
        if self.other is not None:
            self.other._take(lane, data)

    def _take(self, lane: Lane, data: bytes) -> None:
        if self._inbox.ended is not None:
            return
        try:
            frames = self._splitters[lane].feed(data)
        except FrameError as refused:
            self.close(refused.code, refused.reason)
            return
        if not all(self._inbox.put(frame) for frame in frames):
            self.close(CloseCode.RATE_LIMITED, "too far behind")
