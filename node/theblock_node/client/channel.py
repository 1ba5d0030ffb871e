"""Channels to one or several servers, with TLS from files that may change and a deadline on every call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc

from theblock_node.client.errors import RefusedError, UnavailableError, translate

T = TypeVar("T")
DEADLINE_S = 10.0
ROUNDS = 2
"""How often each endpoint is tried."""
BACK_OFF_S = 0.2
MUTUAL_BELOW = 1
OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 3_000),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens: host and public port."""

    host: str
    port: int
    mutual_port: int | None = None
    """Where it asks for a client certificate; None is one below ``port``."""

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """``host:port``; refuses anything else with a ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdigit():
            raise ValueError(f"not host:port: {text}")
        return cls(host, int(port))

    @classmethod
    def of_socket(cls, path: str) -> Endpoint:
        """A socket in the file system."""
        return cls(f"unix:{path}", 0)

    def __str__(self) -> str:
        return self.host if self.host.startswith("unix:") else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Files of the authorities that are trusted, and of the client's own certificate where it shows one."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_mutual(self) -> bool:
        return self.certificate is not None and self.key is not None

    def read(self) -> tuple[bytes, bytes | None, bytes | None]:
        certificate = self.certificate.read_bytes() if self.certificate else None
        return self.ca.read_bytes(), certificate, self.key.read_bytes() if self.key else None


def open_channel(endpoint: Endpoint, tls: ClientTls | None, *, name: str | None = None) -> grpc.aio.Channel:
    """A channel to the public port, or with a client certificate to the mutual port below it.

    ``name`` is what the server's certificate must be for, where it is not the host.
    """
    options = [*OPTIONS, *([("grpc.ssl_target_name_override", name)] if name else [])]
    if tls is None:
        return grpc.aio.insecure_channel(str(endpoint), options=options)
    ca, certificate, key = tls.read()
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    mutual = endpoint.port - MUTUAL_BELOW if endpoint.mutual_port is None else endpoint.mutual_port
    port = mutual if tls.is_mutual else endpoint.port
    return grpc.aio.secure_channel(f"{endpoint.host}:{port}", credentials, options=options)


class Channels:
    """Channels to servers that are alike; a call goes to the one that last answered, then to the others."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        tls: ClientTls | None,
        *,
        names: Callable[[Endpoint], str | None] = lambda _endpoint: None,
    ) -> None:
        if not endpoints:
            raise ValueError("at least one endpoint")
        self._tls = tls
        self._names = names
        self._endpoints = list(endpoints)
        self._open: dict[Endpoint, tuple[object, grpc.aio.Channel]] = {}

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Use these from now on; the one in use stays first if it is among them."""
        if not endpoints:
            return
        kept = [endpoint for endpoint in self._endpoints if endpoint in endpoints]
        self._endpoints = kept + [endpoint for endpoint in endpoints if endpoint not in kept]

    @property
    def current(self) -> Endpoint:
        return self._endpoints[0]

    async def call(self, act: Callable[[grpc.aio.Channel, float], Any], *, deadline_s: float = DEADLINE_S) -> Any:
        """Run ``act(channel, timeout)`` on the first endpoint that answers."""
        last: Exception = UnavailableError("no endpoint")
        for attempt in range(ROUNDS * len(self._endpoints)):
            try:
                return await act(self._channel(self._endpoints[0]), deadline_s)
            except grpc.RpcError as failed:
                translated = translate(failed)
                if isinstance(translated, RefusedError):
                    raise translated from failed
                last = translated
            self._rotate()
            if attempt % len(self._endpoints) == len(self._endpoints) - 1:
                await asyncio.sleep(BACK_OFF_S)
        raise last

    async def stream(self, act: Callable[[grpc.aio.Channel], Any]) -> AsyncIterator[Any]:
        """The responses of ``act(channel)`` from the endpoint in use; the caller resumes after a failure."""
        try:
            async for response in act(self._channel(self._endpoints[0])):
                yield response
        except grpc.RpcError as failed:
            self._rotate()
            raise translate(failed) from failed

    async def close(self) -> None:
        opened, self._open = self._open, {}
        for _, channel in opened.values():
            await channel.close()

    def _rotate(self) -> None:
        self._endpoints.append(self._endpoints.pop(0))

    def _channel(self, endpoint: Endpoint) -> grpc.aio.Channel:
        """The open channel, made anew when the certificate files have changed."""
        files = self._tls.read() if self._tls else None
        known = self._open.get(endpoint)
        if known is None or known[0] != files:
            made = open_channel(endpoint, self._tls, name=self._names(endpoint))
            known = self._open[endpoint] = (files, made)
        return known[1]
