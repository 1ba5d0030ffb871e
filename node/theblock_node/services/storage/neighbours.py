"""The other providers: where they listen, and calls to them with the node's own certificate.

Who they are comes from the operator's ``peers.json``; what they are worth, from the chain. A neighbour that did not
answer is asked last for a while.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.errors import UnavailableError
from theblock_node.client.storage import StorageClient
from theblock_node.clock import Clock

ROLE = "storage_provider"
REST_MS = 15_000
"""How long one that did not answer is asked last."""
ANSWER_S = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Neighbour:
    name: str
    endpoint: Endpoint
    resource: str


def parse_neighbours(data: bytes) -> list[Neighbour]:
    """The storage providers of ``peers.json``."""
    return [
        Neighbour(str(peer["name"]), Endpoint(str(peer["host"]), int(peer["grpc"])), str(peer["resource"]))
        for peer in json.loads(data)["peers"]
        if peer["role"] == ROLE
    ]


class Neighbours:
    def __init__(self, tls: ClientTls | None, clock: Clock) -> None:
        self._tls = tls
        self._clock = clock
        self._known: dict[str, Neighbour] = {}
        self._clients: dict[Neighbour, StorageClient] = {}
        self._silent_since: dict[str, int] = {}

    def set(self, neighbours: Iterable[Neighbour]) -> None:
        """Know these from now on."""
        self._known = {neighbour.name: neighbour for neighbour in neighbours}

    def names(self, resource: str | None = None) -> list[str]:
        """All of them, or those of one resource."""
        return sorted(name for name, found in self._known.items() if resource in (None, found.resource))

    def is_silent(self, name: str) -> bool:
        """Whether it is unknown, or did not answer a moment ago."""
        since = self._silent_since.get(name)
        return name not in self._known or (since is not None and self._clock.now_ms() - since < REST_MS)

    async def ask(
        self, name: str, question: Callable[[StorageClient], Awaitable[T]], *, within_s: float = ANSWER_S
    ) -> T:
        """The answer of one neighbour; `UnavailableError` where it is unknown or does not answer in time."""
        neighbour = self._known.get(name)
        if neighbour is None:
            raise UnavailableError(f"no address of {name} is known")
        if neighbour not in self._clients:
            self._clients[neighbour] = StorageClient([neighbour.endpoint], self._tls)
        try:
            async with asyncio.timeout(within_s):
                answer = await question(self._clients[neighbour])
        except (UnavailableError, TimeoutError) as failed:
            self._silent_since[name] = self._clock.now_ms()
            raise UnavailableError(f"{name} does not answer: {failed}") from failed
        self._silent_since.pop(name, None)
        return answer

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()
