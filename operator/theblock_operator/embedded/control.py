"""How the command and the controller talk: one line of JSON each way, over a socket that only its owner may open.

The client is plain and blocking, because a command asks one question at a time and should start fast.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

LINE_SIZE_MAX = 8 * 1024 * 1024
DEADLINE_S = 20.0
CONNECTIONS_MAX = 32
log = logging.getLogger(__name__)
Answer = Callable[[str, dict[str, Any]], Awaitable[Any]]


class NotRunning(Exception):
    """Nobody listens: no controller runs for this folder."""


class ControlError(Exception):
    """The controller refused a request."""

    def __init__(self, reason: str, message: str, faults: list[tuple[str, str]]) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.faults = faults


class Refusal(Exception):
    """Raised by an `Answer`: told to the client as it is."""

    def __init__(self, reason: str, message: str, faults: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.faults = faults or []


@asynccontextmanager
async def serve(path: Path, answer: Answer) -> AsyncIterator[None]:
    """Listen at ``path`` until the block is left.

    A request is `{"verb": ..., "arguments": {...}}`; a connection may send several.
    """
    _make_room(path)
    slots = asyncio.Semaphore(CONNECTIONS_MAX)
    talking: set[asyncio.Task[Any]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        async with slots:
            try:
                while line := await reader.readline():
                    writer.write(json.dumps(await _reply(answer, line)).encode() + b"\n")
                    await asyncio.wait_for(writer.drain(), DEADLINE_S)
            except (ValueError, OSError, TimeoutError) as failed:
                log.warning("a control connection ended: %s", failed)
            finally:
                writer.close()
                talking.discard(task)

    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(talk, path, limit=LINE_SIZE_MAX)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        _make_room(path)


def _make_room(path: Path) -> None:
    """The lock of the run says that nobody else listens here: what is left is of a run that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)


async def _reply(answer: Answer, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        verb, arguments = str(request["verb"]), dict(request.get("arguments", {}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _error("Malformed", "a request is a line of JSON with verb and arguments")
    try:
        return {"result": await answer(verb, arguments)}
    except Refusal as refused:
        return _error(refused.reason, refused.message, refused.faults)


def _error(reason: str, message: str, faults: list[tuple[str, str]] | None = None) -> dict[str, Any]:
    return {"error": {"reason": reason, "message": message, "faults": faults or []}}


def call(path: Path, verb: str, *, deadline_s: float = DEADLINE_S, **arguments: Any) -> Any:
    """Ask the controller; `NotRunning`, `ControlError`, or TimeoutError."""
    request = json.dumps({"verb": verb, "arguments": arguments}).encode() + b"\n"
    if len(request) > LINE_SIZE_MAX:
        raise ControlError("TooLarge", f"the request is larger than {LINE_SIZE_MAX} bytes", [])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(deadline_s)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as failed:
            raise NotRunning(str(path)) from failed
        connection.sendall(request)
        with connection.makefile("rb") as replies:
            line = replies.readline(LINE_SIZE_MAX + 1)
    if not line.endswith(b"\n"):
        raise NotRunning("the controller ended before it answered")
    reply = json.loads(line)
    if "error" in reply:
        error = reply["error"]
        raise ControlError(error["reason"], error["message"], [(path, text) for path, text in error["faults"]])
    return reply["result"]
