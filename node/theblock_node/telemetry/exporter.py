"""Serves ``/metrics`` over plain HTTP: one small page, read by few, so a few lines of asyncio do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

CONNECTIONS_MAX = 16
HEAD_BYTES_MAX = 8192
SECONDS_MAX = 5.0
"""How long a scrape may take, from the connection to its end."""
PATH = "/metrics"
BUSY = b"too many scrapes\n"
CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


@asynccontextmanager
async def serve_metrics(host: str, port: int, render: Callable[[], bytes]) -> AsyncIterator[int]:
    """Answer scrapes until the block is left; yields the port. `OSError` where it is taken."""
    answering: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering[task] = writer
        try:
            async with asyncio.timeout(SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                is_busy = len(answering) > CONNECTIONS_MAX
                writer.write(_respond("503 Service Unavailable", BUSY) if is_busy else _answer(head, render))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # Whoever asks slowly, too much or goes away gets no answer.
        finally:
            del answering[task]
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=HEAD_BYTES_MAX)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in answering.values():
            writer.transport.abort()
        await asyncio.gather(*answering, return_exceptions=True)


def _answer(head: bytes, render: Callable[[], bytes]) -> bytes:
    """The response to a request's head."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _respond("400 Bad Request", b"not HTTP/1.1\n")
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        return _respond("405 Method Not Allowed", b"GET or HEAD\n")
    if target.partition("?")[0] != PATH:
        return _respond("404 Not Found", b"see /metrics\n", is_head=method == "HEAD")
    return _respond("200 OK", render(), is_head=method == "HEAD")


def _respond(status: str, body: bytes, *, is_head: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {CONTENT_TYPE}\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else body)
