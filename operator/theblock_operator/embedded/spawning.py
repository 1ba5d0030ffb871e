"""The controller's side of the spawner: programs started by it, and how they end.

async with open_spawner(modules) as spawner:
    program = await spawner.start(...)
    code = await program.wait()
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from theblock_operator.embedded.spawner import REQUEST_SIZE_MAX

log = logging.getLogger(__name__)
SPAWNER = "theblock_operator.embedded.spawner"
PRELOADED = (
    "theblock_node.roles.validator",
    "theblock_node.roles.energy_oracle",
    "theblock_node.roles.bridge",
    "theblock_node.roles.storage_provider",
    "theblock_node.roles.compute_provider",
    "theblock_node.roles.explorer",
)
"""What members import: named here, imported in the spawner alone."""
START_S = 60.0
"""Until the spawner answers: it imports everything first."""
LOST = 255
"""Exit code of a program whose spawner is gone: nobody can tell how it ended."""


class SpawnerLost(OSError):
    """The spawner has ended; the programs that it had started got SIGTERM."""


class Program:
    """A running program."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        """Its exit code, negative where a signal ended it."""
        return await asyncio.shield(self._ended)

    def signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended: its number may be another's by now."""
        if not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


class Spawner:
    """Owned by one event loop."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._tags = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Program]] = {}
        self._programs: dict[int, Program] = {}
        self.lost = asyncio.Event()

    async def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        output: int,
        held: Sequence[int],
    ) -> Program:
        """Run `python -m module arguments`; ``held`` are descriptors that it keeps open while it lives."""
        tag = next(self._tags)
        request = {
            "tag": tag,
            "module": module,
            "arguments": list(arguments),
            "name": name,
            "folder": str(folder),
            "environment": dict(environment),
        }
        data = json.dumps(request).encode()
        assert len(data) < REQUEST_SIZE_MAX
        if self.lost.is_set():
            raise SpawnerLost("the spawner has ended")
        answer: asyncio.Future[Program] = asyncio.get_running_loop().create_future()
        self._asked[tag] = answer
        socket.send_fds(self._channel, [data], [output, *held])
        async with asyncio.timeout(START_S):
            return await answer

    async def listen(self) -> None:
        """Take answers until the spawner ends."""
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._channel, REQUEST_SIZE_MAX):
            for line in data.splitlines():
                self._take(json.loads(line))
        self.lost.set()
        for answer in self._asked.values():
            answer.set_exception(SpawnerLost("the spawner has ended"))
        self._asked.clear()
        for program in self._programs.values():
            program.end(LOST)
        self._programs.clear()

    def _take(self, message: dict[str, int]) -> None:
        tag = message["tag"]
        if "started" in message:
            program = self._programs[tag] = Program(message["started"])
            self._asked.pop(tag).set_result(program)
        elif tag in self._programs:
            self._programs.pop(tag).end(message["code"])


@dataclass(frozen=True, slots=True)
class Launched:
    """A spawner's process, and our end of the socket to it."""

    process: subprocess.Popen[bytes]
    channel: socket.socket

    def end(self) -> None:
        """Close the socket, which ends the spawner, and wait for that."""
        self.channel.close()
        self.process.wait()


def launch(modules: Sequence[str] = PRELOADED) -> Launched:
    """Begin a spawner; it imports ``modules`` while the caller goes on, and takes requests after that."""
    # A request is one message of a sequenced socket: it is sent whole or not at all.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "theblock_operator.embedded.spawner",
                str(theirs.fileno()),
                str(os.getpid()),
                *modules,
            ],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            # As in the images: each thread of a member would have a heap of its own that never shrinks.
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        )
    return Launched(process, ours)


@asynccontextmanager
async def open_spawner(launched: Launched) -> AsyncIterator[Spawner]:
    """The spawner that was launched; it ends, with all it started, when the block is left."""
    launched.channel.setblocking(False)
    spawner = Spawner(launched.channel)
    listening = asyncio.create_task(spawner.listen())
    try:
        yield spawner
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await asyncio.to_thread(launched.end)
