"""What every transport promises, over each provider."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from blake3 import blake3
from support.loopback import subnet
from theblock_node.transport.certificate import make_certificate
from theblock_node.transport.memory import MemoryNetwork, MemoryProvider
from theblock_node.transport.provider import (
    CloseCode,
    DialFailed,
    Frame,
    FrameError,
    Lane,
    Listener,
    Provider,
    Session,
    SessionBusy,
    SessionClosed,
    Splitter,
    encode_frame,
)
from theblock_node.transport.quic import QuicProvider

PORT = 26_656
LIMIT = 6 * 2**20


def limit_of(type_: int) -> int:
    return 16 if type_ == 9 else LIMIT


@dataclass
class Ends:
    host: str
    server: Provider
    client: Provider
    fingerprint: bytes


@pytest.fixture(params=["memory", "quic"])
def ends(request: pytest.FixtureRequest) -> Ends:
    if request.param == "memory":
        network, mark = MemoryNetwork(), blake3(b"server").digest()
        return Ends(
            "b", MemoryProvider(network, "b", mark, limit_of), MemoryProvider(network, "a", mark, limit_of), mark
        )
    certificate = make_certificate(bytes(31) + b"b")
    client = QuicProvider(make_certificate(bytes(31) + b"a"), limit_of)
    return Ends(f"{subnet(47)}.1", QuicProvider(certificate, limit_of), client, certificate.fingerprint)


@contextlib.asynccontextmanager
async def joined(ends: Ends) -> AsyncIterator[tuple[Session, Session, Listener]]:
    """(dialer's session, acceptor's session, listener)"""
    listener = await ends.server.listen(ends.host, PORT)
    async with asyncio.timeout(10):
        near = await ends.client.connect(ends.host, PORT, timeout_s=5)
        far = await listener.accept()
        yield near, far, listener
        near.close(CloseCode.NONE)
        with contextlib.suppress(SessionClosed):
            while True:
                await far.receive()
    await listener.close()


async def test_frames_arrive_in_order_on_each_lane_both_ways(ends):
    async with joined(ends) as (near, far, _):
        for number in range(50):
            near.send(Lane.GOSSIP, 1, bytes([number]))
            near.send(Lane.BULK, 2, bytes([number]) * 3000)
        got = [await far.receive() for _ in range(100)]
        far.send(Lane.GOSSIP, 3, b"answer")
        far.send(Lane.BULK, 4, b"range")
        answers = {frame async for frame in _frames(near, 2)}

    assert [frame.payload[0] for frame in got if frame.lane is Lane.GOSSIP] == list(range(50))
    assert [frame.payload[0] for frame in got if frame.lane is Lane.BULK] == list(range(50))
    assert answers == {Frame(Lane.GOSSIP, 3, b"answer"), Frame(Lane.BULK, 4, b"range")}


async def test_both_ends_know_the_same_server_fingerprint(ends):
    async with joined(ends) as (near, far, _):
        assert near.is_dialer
        assert not far.is_dialer
        assert near.server_fingerprint == far.server_fingerprint == ends.fingerprint


async def test_a_large_frame_arrives_whole(ends):
    payload = bytes(range(256)) * 16_384
    async with joined(ends) as (near, far, _):
        near.send(Lane.BULK, 2, payload)
        assert (await far.receive()).payload == payload


async def test_a_frame_above_its_limit_ends_the_session(ends):
    async with joined(ends) as (near, far, _):
        near.send(Lane.GOSSIP, 9, bytes(17))
        with pytest.raises(SessionClosed) as closed:
            await far.receive()
        assert closed.value.code == CloseCode.FRAME_TOO_LARGE
        with pytest.raises(SessionClosed) as closed:
            await near.receive()
        assert closed.value.code == CloseCode.FRAME_TOO_LARGE


async def test_what_waits_to_be_sent_is_bounded(ends):
    async with joined(ends) as (near, _, _):
        with pytest.raises(SessionBusy):
            flood(near)


async def test_closing_tells_the_other_end_why(ends):
    async with joined(ends) as (near, far, _):
        far.close(CloseCode.BANNED, "enough")
        with pytest.raises(SessionClosed) as closed:
            await near.receive()
        assert (closed.value.code, closed.value.reason) == (CloseCode.BANNED, "enough")
        with pytest.raises(SessionClosed):
            near.send(Lane.GOSSIP, 1, b"")


async def test_dialing_nobody_fails_in_time(ends):
    with pytest.raises(DialFailed):
        await ends.client.connect(f"{subnet(47)}.9" if ends.host != "b" else "nobody", PORT, timeout_s=0.3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"XX" + encode_frame(1, b"")[2:], CloseCode.MALFORMED, id="magic"),
        pytest.param(b"TB\x01" + encode_frame(1, b"")[3:], CloseCode.VERSION, id="version"),
        pytest.param(b"TB\x02\x01" + encode_frame(1, b"")[4:], CloseCode.MALFORMED, id="flags"),
        pytest.param(encode_frame(9, bytes(17))[:10], CloseCode.FRAME_TOO_LARGE, id="size-before-the-body"),
    ],
)
def test_a_bad_header_is_refused(data, code):
    with pytest.raises(FrameError) as refused:
        Splitter(Lane.GOSSIP, limit_of).feed(data)
    assert refused.value.code == code


def test_the_certificate_is_the_same_whenever_it_is_made():
    seed = bytes(range(32))
    assert make_certificate(seed).fingerprint == make_certificate(seed).fingerprint
    assert make_certificate(seed).fingerprint != make_certificate(bytes(32)).fingerprint


def flood(session: Session) -> None:
    for _ in range(100):
        session.send(Lane.BULK, 2, bytes(LIMIT))


async def _frames(session: Session, count: int) -> AsyncIterator[Frame]:
    for _ in range(count):
        yield await session.receive()
