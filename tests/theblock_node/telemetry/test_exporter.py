"""The page of metrics over real sockets: what it answers, and whom it does not wait for."""

from __future__ import annotations

import asyncio

import pytest
from support.loopback import subnet
from theblock_node.telemetry import exporter
from theblock_node.telemetry.exporter import serve_metrics

HOST = f"{subnet(44)}.11"


async def ask(port, data):
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        pytest.param(b"GET /metrics HTTP/1.1", b"200 OK", b"up 1\n", id="the-page"),
        pytest.param(b"GET /metrics?name=up HTTP/1.0", b"200 OK", b"up 1\n", id="with-a-query"),
        pytest.param(b"HEAD /metrics HTTP/1.1", b"200 OK", b"", id="head-only"),
        pytest.param(b"GET / HTTP/1.1", b"404 Not Found", b"see /metrics\n", id="another-path"),
        pytest.param(b"POST /metrics HTTP/1.1", b"405 Method Not Allowed", b"GET or HEAD\n", id="another-method"),
        pytest.param(b"\x16\x03\x01 nonsense", b"400 Bad Request", b"not HTTP/1.1\n", id="no-http"),
    ],
)
async def test_requests_are_answered(request_line, status, body):
    async with serve_metrics(HOST, 0, lambda: b"up 1\n") as port:
        answer = await ask(port, request_line + b"\r\nhost: x\r\n\r\n")

    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert rest == body


async def test_a_head_without_an_end_is_cut_off_at_the_limit():
    async with serve_metrics(HOST, 0, lambda: b"up 1\n") as port:
        try:
            answer = await ask(port, b"GET /metrics HTTP/1.1\r\nx: " + b"a" * 4 * exporter.HEAD_BYTES_MAX)
        except ConnectionResetError:
            answer = b""  # The rest of the head was never read, so the end may be a reset.
    assert answer == b""


async def test_who_says_nothing_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(exporter, "SECONDS_MAX", 0.05)
    async with serve_metrics(HOST, 0, lambda: b"up 1\n") as port:
        assert await ask(port, b"GET") == b""


async def test_more_scrapes_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(exporter, "CONNECTIONS_MAX", 1)
    async with serve_metrics(HOST, 0, lambda: b"up 1\n") as port:
        _, held = await asyncio.open_connection(HOST, port)
        held.write(b"GET")
        await held.drain()

        refused = await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")

        held.close()
        await held.wait_closed()
    assert refused.startswith(b"HTTP/1.1 503 ")


async def test_a_taken_port_is_said():
    async with serve_metrics(HOST, 0, lambda: b"") as port:
        with pytest.raises(OSError):
            async with serve_metrics(HOST, port, lambda: b""):
                raise AssertionError("two servers on one port")
