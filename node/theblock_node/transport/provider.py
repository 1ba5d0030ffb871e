"""What carries frames between two nodes, whatever does it: QUIC, or a pair of queues in one process.

A session is two ordered, bounded lanes of frames between a dialer and an acceptor. It says nothing of who the
other end is: `services/p2p/handshake.py` finds that out, with `server_fingerprint` as the channel's own fact.
A frame is the 10-byte header of the specification (§2.2) and a payload; the header's type bounds the payload
before a byte of it is kept.

Two long-lived lanes stand in for a stream a message: small messages never wait behind a block range, and no
stream has to be opened, credited and forgotten for each of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

MAGIC = b"TB"
WIRE_VERSION = 2
HEADER = struct.Struct(">2sBBHI")
"""magic, wire version, flags (zero), message type, payload length."""
LANE_OPEN = 0
"""Type of the empty frame by which a dialer opens a lane; never delivered."""
QUEUED_FRAMES_MAX = 1024
QUEUED_BYTES_MAX = 32 * 2**20
SEND_BYTES_MAX = 24 * 2**20
"""Bytes that may wait for the other end; above, `Session.send` refuses."""

LimitOf = Callable[[int], int]
"""Message type -> largest payload in bytes."""


class Lane(IntEnum):
    GOSSIP = 0
    """Handshake, liveness, announcements, transactions, blocks, votes."""
    BULK = 1
    """Requests and their responses."""


class CloseCode(IntEnum):
    """Application close codes (§3.4)."""

    NONE = 0
    VERSION = 1000
    FEATURES = 1001
    NETWORK = 1002
    IDENTITY = 1003
    FRAME_TOO_LARGE = 1004
    MALFORMED = 1005
    DUPLICATE = 1007
    RATE_LIMITED = 2000
    BANNED = 2001
    GOING_AWAY = 3000


class SessionClosed(Exception):
    """The session is over; ``code`` says why, as far as it is known."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class SessionBusy(Exception):
    """The other end takes too little: nothing of this frame was sent."""


class DialFailed(Exception):
    """No session came of a dial; the text says why."""


class FrameError(Exception):
    """The other end broke the framing; the session ends with ``code``."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    lane: Lane
    type: int
    payload: bytes


class Session(Protocol):
    @property
    def is_dialer(self) -> bool: ...

    @property
    def remote(self) -> str:
        """Address of the other end, for logs and limits."""
        ...

    @property
    def server_fingerprint(self) -> bytes:
        """BLAKE3 of the acceptor's certificate: as presented there, as seen here."""
        ...

    def send(self, lane: Lane, type_: int, payload: bytes) -> None:
        """Queue a frame; `SessionBusy` when too much waits, `SessionClosed` when it is over."""
        ...

    async def receive(self) -> Frame:
        """The next frame of either lane; `SessionClosed` when none will come."""
        ...

    def close(self, code: CloseCode, reason: str = "") -> None: ...


class Listener(Protocol):
    async def accept(self) -> Session: ...

    async def close(self) -> None: ...


class Provider(Protocol):
    async def listen(self, host: str, port: int) -> Listener: ...

    async def connect(self, host: str, port: int, *, timeout_s: float) -> Session:
        """A session to ``host``, or `DialFailed`."""
        ...


def encode_frame(type_: int, payload: bytes) -> bytes:
    return HEADER.pack(MAGIC, WIRE_VERSION, 0, type_, len(payload)) + payload


class Splitter:
    """Cuts the bytes of a lane into frames."""

    def __init__(self, lane: Lane, limit_of: LimitOf) -> None:
        self._lane = lane
        self._limit_of = limit_of
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes; refuses a header that breaks the rules."""
        self._rest += data
        frames: list[Frame] = []
        start = 0
        while len(self._rest) - start >= HEADER.size:
            type_, size = self._check_header(start)
            end = start + HEADER.size + size
            if len(self._rest) < end:
                break
            if type_ != LANE_OPEN:
                frames.append(Frame(self._lane, type_, bytes(self._rest[start + HEADER.size : end])))
            start = end
        del self._rest[:start]
        return frames

    def _check_header(self, start: int) -> tuple[int, int]:
        magic, version, flags, type_, size = HEADER.unpack_from(self._rest, start)
        if magic != MAGIC or flags != 0:
            raise FrameError(CloseCode.MALFORMED, "frame header")
        if version != WIRE_VERSION:
            raise FrameError(CloseCode.VERSION, f"wire version {version}")
        if size > self._limit_of(type_):
            raise FrameError(CloseCode.FRAME_TOO_LARGE, f"type {type_:#06x}, {size} bytes")
        return type_, size
