"""Sessions over QUIC with aioquic; the only module that knows it, its private attributes included.

TLS 1.3 encrypts and keeps order; who is at the other end is settled above, by the signed binding in Hello.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent, StreamDataReceived, StreamReset

from theblock_node.transport.certificate import SERVER_NAME, NodeCertificate, fingerprint_of
from theblock_node.transport.inbox import Inbox
from theblock_node.transport.provider import (
    LANE_OPEN,
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

ALPN = "theblock/2"
IDLE_TIMEOUT_S = 20.0
STREAM_OF = {Lane.GOSSIP: 0, Lane.BULK: 4}
"""Both opened by the dialer, in this order; the numbers follow from QUIC."""
LANE_OF = {stream: lane for lane, stream in STREAM_OF.items()}
WAITING_SESSIONS_MAX = 64


class QuicProvider:
    def __init__(self, certificate: NodeCertificate, limit_of: LimitOf) -> None:
        self._certificate = certificate
        self._limit_of = limit_of

    async def listen(self, host: str, port: int) -> Listener:
        waiting: asyncio.Queue[Session] = asyncio.Queue(WAITING_SESSIONS_MAX)

        def create(connection: QuicConnection, stream_handler: Any = None) -> _Protocol:
            return _Protocol(connection, self._limit_of, self._certificate.fingerprint, waiting)

        server = await serve(host, port, configuration=self._configuration(is_client=False), create_protocol=create)
        return _Listener(server, waiting)

    async def connect(self, host: str, port: int, *, timeout_s: float) -> Session:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._dial(host, port)
        except TimeoutError as failed:
            raise DialFailed(f"no answer in {timeout_s} s") from failed
        except (OSError, ConnectionError) as failed:
            raise DialFailed(str(failed) or type(failed).__name__) from failed

    async def _dial(self, host: str, port: int) -> Session:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        any_host = "::" if family == socket.AF_INET6 else "0.0.0.0"
        connection = QuicConnection(configuration=self._configuration(is_client=True))
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: _Protocol(connection, self._limit_of, None, None), local_addr=(any_host, 0), family=family
        )
        try:
            protocol.connect(address)
            await protocol.wait_connected()
        except BaseException:
            protocol.close()
            transport.close()
            raise
        return protocol.open_lanes()

    def _configuration(self, *, is_client: bool) -> QuicConfiguration:
        configuration = QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            idle_timeout=IDLE_TIMEOUT_S,
            max_data=16 * 2**20,
            max_stream_data=4 * 2**20,
            server_name=SERVER_NAME if is_client else None,
            verify_mode=ssl.CERT_NONE,
        )
        if not is_client:
            configuration.certificate = self._certificate.certificate
            configuration.private_key = self._certificate.private_key
        return configuration


class _Listener:
    def __init__(self, server: QuicServer, waiting: asyncio.Queue[Session]) -> None:
        self._server = server
        self._waiting = waiting

    async def accept(self) -> Session:
        return await self._waiting.get()

    async def close(self) -> None:
        self._server.close()


class _Protocol(QuicConnectionProtocol):
    """One QUIC connection; itself the session once the handshake is done."""

    def __init__(
        self,
        connection: QuicConnection,
        limit_of: LimitOf,
        own_fingerprint: bytes | None,
        waiting: asyncio.Queue[Session] | None,
    ) -> None:
        super().__init__(connection)
        self._inbox = Inbox()
        self._splitters = {stream: Splitter(lane, limit_of) for stream, lane in LANE_OF.items()}
        self._own_fingerprint = own_fingerprint
        self._waiting = waiting

    @property
    def is_dialer(self) -> bool:
        return self._own_fingerprint is None

    @property
    def remote(self) -> str:
        address = self._quic._network_paths[0].addr
        return f"{address[0]}:{address[1]}"

    @property
    def server_fingerprint(self) -> bytes:
        if self._own_fingerprint is not None:
            return self._own_fingerprint
        certificate = self._quic.tls._peer_certificate
        assert certificate is not None, "a server always shows one"
        return fingerprint_of(certificate)

    def open_lanes(self) -> _Protocol:
        for lane in Lane:
            assert self._quic.get_next_available_stream_id() == STREAM_OF[lane]
            self.send(lane, LANE_OPEN, b"")
        return self

    def send(self, lane: Lane, type_: int, payload: bytes) -> None:
        if self._inbox.ended is not None:
            raise SessionClosed(self._inbox.ended.code, self._inbox.ended.reason)
        stream = STREAM_OF[lane]
        if self._unsent(stream) + len(payload) > SEND_BYTES_MAX:
            raise SessionBusy
        try:
            self._quic.send_stream_data(stream, encode_frame(type_, payload))
        except ValueError as failed:  # The dialer has not opened the lane yet.
            raise SessionBusy from failed
        self._transmit_soon()

    async def receive(self) -> Frame:
        return await self._inbox.get()

    def close(self, code: CloseCode = CloseCode.NONE, reason: str = "") -> None:  # type: ignore[override]
        self._inbox.end(code, reason)
        super().close(error_code=int(code), reason_phrase=reason[:64])
        if self.is_dialer and self._transport is not None:
            self._transport.close()  # What was queued, the closing packet included, still goes out.

    def quic_event_received(self, event: QuicEvent) -> None:
        match event:
            case StreamDataReceived():
                self._take(event.stream_id, event.data, ended=event.end_stream)
            case StreamReset():
                self.close(CloseCode.MALFORMED, "stream reset")
            case HandshakeCompleted():
                self._offer()
            case ConnectionTerminated():
                self._inbox.end(event.error_code, event.reason_phrase)
                if self.is_dialer and self._transport is not None:
                    self._transport.close()

    def _take(self, stream: int, data: bytes, *, ended: bool) -> None:
        if self._inbox.ended is not None:
            return
        if stream not in self._splitters or ended:
            self.close(CloseCode.MALFORMED, f"stream {stream}")
            return
        try:
            frames = self._splitters[stream].feed(data)
        except FrameError as refused:
            self.close(refused.code, refused.reason)
            return
        if not all(self._inbox.put(frame) for frame in frames):
            self.close(CloseCode.RATE_LIMITED, "too far behind")

    def _offer(self) -> None:
        if self._waiting is None:
            return
        try:
            self._waiting.put_nowait(self)
        except asyncio.QueueFull:
            self.close(CloseCode.RATE_LIMITED, "too many new sessions")

    def _unsent(self, stream: int) -> int:
        found = self._quic._streams.get(stream)
        return 0 if found is None else len(found.sender._buffer)
